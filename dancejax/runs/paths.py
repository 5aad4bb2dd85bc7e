"""Paths as users give them, and the user's own folders: expanded and looked up in one place."""

import os
from pathlib import Path

from dancejax.errors import UserError
from dancejax.runs.notes import say_once


def expand(path: str | os.PathLike[str], name: str = "the path") -> Path:
    """Expand `~` and `~user` in a path.

    Args:
      path: relative or absolute; relative ones stay relative.
      name: what the path is for, as in "--workdir"; errors begin with it.

    Returns:
      The path, which need not exist.

    Raises:
      UserError: the path is empty, holds a NUL character, or names a home folder that nobody has.
    """
    text = os.fspath(path)
    if not text:
        raise UserError(f"{name} is empty; give a path, or leave it out.")
    if "\0" in text:
        raise UserError(f"{name} holds a NUL character; give the path of a file or folder.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{name} is {text!r}, but there is no such home folder; write the path out in full."
        ) from error


def closed(place: str | os.PathLike[str]) -> Path:
    """Return what permission is missing for: the outermost folder around a place that cannot be
    entered, else the place itself."""
    found = [p for p in Path(place).parents if os.path.isdir(p) and not os.access(p, os.X_OK)]
    return found[-1] if found else Path(place)


def home() -> Path | None:
    """Return the user's home folder, or None where the system does not know one.

    A HOME that is empty or relative leads nowhere that could be meant.
    """
    given = os.environ.get("HOME")
    if given is not None and not os.path.isabs(given):
        return None
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_home() -> Path | None:
    """Return the user's cache folder by the XDG base directory specification.

    An XDG_CACHE_HOME that is empty or relative counts as unset. None where there is no home folder
    either.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    own = home()
    return None if own is None else own / ".cache"


def cache_folder(name: str) -> Path | None:
    """Return our folder of this name in the user's cache folder; None, and it is said, without one.

    It need not exist yet.
    """
    home = cache_home()
    if home is None:
        say_once(
            "There is no home folder, so that nothing is kept for the next start: neither decoded "
            "images nor compiled programs. XDG_CACHE_HOME=FOLDER gives it a place."
        )
        return None
    return home / "dancejax" / name
