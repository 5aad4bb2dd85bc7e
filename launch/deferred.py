"""Imports that wait until they are used, so that --help and refused commands need no JAX.

While a program declares and reads its flags, modules of the library are carried out at their first
attribute (importlib's LazyLoader). `load` carries out the rest in one place, before the
program's work begins, so that no import is left to threads or to the middle of a run.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PROGRAMS = "dancejax.launch"


class _Finder(MetaPathFinder):
    """Finds modules as Python does, and has them wait."""

    def __init__(self) -> None:
        self.waiting: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("dancejax.") or name.startswith(_PROGRAMS):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = importlib.util.LazyLoader(spec.loader)
        self.waiting.append(name)
        return spec


_finder = _Finder()


def install() -> None:
    """Have imports wait from here on; without effect the second time."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def load() -> None:
    """Carry out what waits, and import as usual from here on."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in _finder.waiting:
        module = sys.modules.get(name)
        if module is not None:
            vars(module)
    _finder.waiting.clear()
