"""A report of what was measured, beside the papers' numbers."""

from dancejax.report.collect import collect
from dancejax.report.entry import Entry, Run
from dancejax.report.pages import to_html, to_markdown, write
from dancejax.report.tables import summary

__all__ = ["Entry", "Run", "collect", "summary", "to_html", "to_markdown", "write"]
