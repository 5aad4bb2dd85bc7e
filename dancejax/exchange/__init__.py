"""Condensed sets for others and from others.

`export` writes the forms that tools read, `read` reads them back, and `read_foreign` reads what
other programs made. The names, in `__init__.pyi`, are loaded when they are used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
