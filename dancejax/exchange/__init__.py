"""Condensed sets for others and from others: `export` in the forms that tools read, `read` back,
and `read_foreign` for what other programs made."""

from dancejax.exchange.readers import is_export, read, read_foreign
from dancejax.exchange.writers import FORMS, export

__all__ = ["FORMS", "export", "is_export", "read", "read_foreign"]
