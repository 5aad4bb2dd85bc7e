"""Dataset condensation by distribution matching in JAX: DM, IDM, M3D and DANCE.

Data:
  `Dataset` (`Dataset.from_arrays`, `Dataset.split`) and the room `data`, whose `load` reads data
  sets by name, folders and files.
Networks and methods:
  the rooms `networks` and `methods`, each with `create`; own Flax modules work everywhere.
Verbs:
  `train_experts`, `condense`, `evaluate`; the room `coreset` chooses real images instead.
Results:
  `Experts`, `CondensedSet` (which the room `exchange` writes in other forms) and `Evaluation`.
How a call is run:
  `Run`: folder, devices, memory, checkpoints, progress.
Errors:
  `UserError`: what is wrong and what to do, in one sentence.

The names, in `__init__.pyi`, are loaded when they are used.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
