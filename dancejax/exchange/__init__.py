"""Condensed sets for others and from others.

`export` writes the forms that tools read, `read` reads them back, and `read_foreign` reads what
other programs made.
"""

from dancejax.exchange.foreign import ReadOptions, read_foreign
from dancejax.exchange.form import Form
from dancejax.exchange.forms import FORMS, with_stored, with_test
from dancejax.exchange.plausible import PIXELS
from dancejax.exchange.readers import is_export, read, read_test
from dancejax.exchange.writers import ExportOptions, clear, ensure, export

__all__ = (
    "FORMS",
    "PIXELS",
    "ExportOptions",
    "Form",
    "ReadOptions",
    "clear",
    "ensure",
    "export",
    "is_export",
    "read",
    "read_foreign",
    "read_test",
    "with_stored",
    "with_test",
)
