"""Data sets: `load` reads the embedded set, TFDS, image folders and .npz into `Dataset`.

`Dataset.from_arrays` makes one of arrays. The names, in `__init__.pyi`, are
loaded when they are used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
