"""What a run has beside its arguments: folder, log, progress, stop signals and checkpoints.

The names, in `__init__.pyi`, are loaded when they are used: `dancejax.data` needs no JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
