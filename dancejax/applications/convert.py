"""Somebody else's condensed set as ours."""

import dataclasses
from pathlib import Path

from dancejax import condensed, exchange
from dancejax.applications.settings import DataSettings, Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.runs import Run


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is read, and how.

    Attributes:
      source: a file or folder of someone else's set, or an export of ours.
      data: what it was condensed from.
      reading: what its numbers mean.
    """

    source: Path
    data: DataSettings
    reading: exchange.ReadOptions = dataclasses.field(default_factory=exchange.ReadOptions)


def read(settings: Settings) -> CondensedSet:
    """Read the set; nothing is written.

    Args:
      settings: which, and how.

    Raises:
      UserError: a set that cannot be read so.
    """
    return exchange.read_foreign(settings.source, settings.data.load("train"), settings.reading)


def save(made: CondensedSet, *, run: Run, say: Say = quiet) -> Path:
    """Save a set in a run's folder, and return its own folder there.

    Args:
      made: the set.
      run: with a folder, which is there.
      say: takes what to look at.

    Raises:
      UserError: the folder holds another set.
    """
    assert run.folder is not None
    folder = run.folder / "condensed"
    condensed.check_place(folder)
    there = condensed.load(folder) if (folder / "manifest.json").exists() else made
    if condensed.fingerprint(there) != condensed.fingerprint(made):
        raise UserError(f"{folder} holds another set; choose another --workdir, or remove it.")
    condensed.save(made, folder)
    say(
        f"{len(made.images)} images of {made.num_classes} classes; look at "
        f"{folder / 'preview.png'} to see whether the pixels are right"
    )
    return folder
