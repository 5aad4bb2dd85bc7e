"""A report of what was measured, beside the papers' numbers.

The names, in `__init__.pyi`, are loaded when they are used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
