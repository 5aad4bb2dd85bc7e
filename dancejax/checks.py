"""What callers of the library give: types and ranges, each refused in one sentence.

Text where a number belongs, None, or a fraction where things are counted would otherwise surface
deep inside JAX, or not at all.
"""

import numbers
import os
import types
import typing
from pathlib import Path
from typing import Any

from dancejax.errors import UserError


def whole(name: str, value: object, least: int = 0) -> int:
    """Return a count or seed as an int; NumPy's integers are taken, booleans are not.

    Raises:
      UserError: it is no whole number, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return int(value)


def number(name: str, value: object) -> float:
    """Return a number, whole or not. Raises UserError for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UserError(f"{name} must be a number, not {value!r}.")
    return value  # type: ignore[return-value]


def path(name: str, value: object) -> Path:
    """Return a path. Raises UserError for what names none."""
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{name} must be a path, not {value!r}.")
    return Path(value)


def instance(name: str, value: object, *kinds: type, hint: str) -> None:
    """Raise UserError unless a value is one of some kinds; the hint says how to make one."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{name} must be a {wanted}, not {type(value).__name__}: {hint}.")


def fields(made: object, owner: str) -> None:
    """Compare the fields of a dataclass with their annotated types.

    Whole numbers do where any number does, and NumPy's numbers as Python's.

    Raises:
      UserError: a field has another type.
    """
    for name, hint in typing.get_type_hints(type(made)).items():
        value = getattr(made, name)
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if not any(_fits(value, option) for option in options):
            wanted = " or ".join(_WORDS.get(option, "a sequence of numbers") for option in options)
            raise UserError(f"{name} of {owner} must be {wanted}, not {value!r}.")


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    type(None): "None",
}


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        wanted = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if kind in _WORDS:
        return isinstance(value, kind)
    return isinstance(value, tuple | list) and all(_fits(item, float) for item in value)
