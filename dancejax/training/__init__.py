"""Training networks on labelled sets: the step, the loop, experts and the papers' protocols.

The names, in `__init__.pyi`, are loaded when they are used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
