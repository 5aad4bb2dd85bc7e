"""All that a report shows, found in folders, once or again and again."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dancejax.errors import UserError
from dancejax.report import analyses
from dancejax.report.analyses import Analysis
from dancejax.report.collect import collect
from dancejax.report.entry import Entry
from dancejax.report.progress import Unfinished, Watch


@dataclasses.dataclass(frozen=True)
class Content:
    """What a report is of.

    Attributes:
      entries: evaluations, of `collect`.
      analyses: sections of analyses and applications.
      unfinished: runs that are under way or have stopped.
      busy: whether more is to come.
      notes: sentences about files that were passed over.
    """

    entries: Sequence[Entry]
    analyses: Sequence[Analysis] = ()
    unfinished: Sequence[Unfinished] = ()
    busy: bool = False
    notes: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """What is there and what is under way, in a sentence."""
        parts = [f"{len(self.entries)} settings evaluated"]
        for run in self.unfinished:
            of = f" of {run.steps}" if run.steps is not None else ""
            left = f", {run.left} left" if run.left else ""
            parts.append(f"{run.name}: {run.kind} {run.step}{of}{left} ({run.state})")
        return "; ".join(parts)


def gather(folders: Sequence[Path], look: Watch | None = None) -> Content:
    """Find all that a report shows in folders and below.

    Args:
      folders: work folders.
      look: knows the runs that are under way; None where those are of no interest.

    Raises:
      UserError: a folder is missing, or there is nothing to report.
    """
    notes: list[str] = []
    unfinished = () if look is None else tuple(look.look())
    busy = look is not None and look.busy()
    found = analyses.find([folder for folder in folders if folder.is_dir()], notes)
    entries: Sequence[Entry] = ()
    try:
        entries = collect(folders, notes=notes)
    except UserError:
        if not (found or unfinished or busy):
            raise
    return Content(entries, tuple(found), unfinished, busy, tuple(dict.fromkeys(notes)))


def watch(folders: Sequence[Path], seconds: float) -> Iterator[Content]:
    """Yield what a report shows, every so often as long as a run is under way, and at its end.

    Args:
      folders: work folders.
      seconds: between two looks.

    Raises:
      UserError: a folder is missing, or there is nothing to report.
    """
    look = Watch(folders)
    while (content := gather(folders, look)).busy:
        yield content
        time.sleep(seconds)
    yield content
