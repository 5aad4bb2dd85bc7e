"""A report of what was measured, beside the papers' numbers."""

from dancejax.report.collect import collect
from dancejax.report.content import Content, gather, watch
from dancejax.report.entry import Entry, Run
from dancejax.report.pages import Page, to_html, to_markdown, write
from dancejax.report.progress import Unfinished, Watch
from dancejax.report.tables import summary

__all__ = [
    "Content",
    "Entry",
    "Page",
    "Run",
    "Unfinished",
    "Watch",
    "collect",
    "gather",
    "summary",
    "to_html",
    "to_markdown",
    "watch",
    "write",
]
