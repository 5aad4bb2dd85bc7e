"""What all of them state: their parts, how to make some, how to make all, and what to show."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from dancejax.applications.loads import Loads
from dancejax.applications.settings import Begin
from dancejax.data.dataset import Dataset
from dancejax.types import Json

Values = Mapping[str, Sequence[object]]
"""Settings by name; several values of one that may be repeated, none for one that is left out."""

Maker: TypeAlias = Callable[[str], Json | str | None]
"""Makes a part, by its name, in its folder; returns what it comes to, if that is to be shown."""


class Part(NamedTuple):
    """A part that can be made alone.

    Attributes:
      name: of the part.
      folder: the part's own.
      changes: the settings that differ for this part alone, so that it stays the same when there
        are more parts.
      result: a file in the folder that is there when the part is finished.
      after: names of the parts that must be finished before.
    """

    name: str
    folder: Path
    changes: Values
    result: str
    after: tuple[str, ...] = ()


class Program(Protocol):
    """An application with its settings and work folder."""

    @property
    def about(self) -> Json:
        """What config.json says of the settings, beside the flags."""
        return {}

    def parts(self) -> list[Part]:
        """Return all parts in an order in which they can be made; no data are read."""

    def make_all(self, begin: Begin) -> str:
        """Make all parts in this process, and return what they come to, to be shown.

        Args:
          begin: called when everything is checked and nothing is written yet.
        """

    def check(self) -> Dataset | None:
        """Check everything; return the training set, if there is one. Nothing is written."""

    def collect(self) -> str:
        """Write what the finished parts come to, and return it; "" where none is finished."""

    def maker(self, names: Sequence[str]) -> Maker:
        """Read and check what some parts need, by their names; return what makes one of them."""

    def describe(self, name: str, result: Json) -> str:
        """Return what there is to say of a finished part, in a few words.

        Args:
          name: of the part.
          result: what the part's result file says.
        """

    def plan(self) -> tuple[str, Loads]:
        """Check everything; return the plan in words ("" for none) and each part's loads."""


def folder_of(run_folder: Path | None) -> Path:
    """Return the work folder of a run that has one."""
    assert run_folder is not None
    return run_folder
