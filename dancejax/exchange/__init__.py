"""Condensed sets for others and from others: `export` in the forms that tools read, `read` back,
and `read_foreign` for what other programs made."""

from dancejax.exchange.foreign import read_foreign
from dancejax.exchange.plausible import PIXELS
from dancejax.exchange.readers import is_export, read, read_test
from dancejax.exchange.writers import FORMS, WITH_TEST, clear, ensure, export

__all__ = [
    "FORMS", "PIXELS", "WITH_TEST", "clear", "ensure", "export", "is_export", "read",
    "read_foreign", "read_test",
]  # fmt: skip
