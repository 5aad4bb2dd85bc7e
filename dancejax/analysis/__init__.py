"""Analyses of condensed sets by name. A new one is a file here and a line of the registry.

The names, in `__init__.pyi`, are loaded when they are used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
