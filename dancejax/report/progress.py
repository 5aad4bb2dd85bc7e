"""Runs that are under way: how far they are, how fast, what is left, and which wait or failed."""

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dancejax import methods, runs
from dancejax.errors import UserError
from dancejax.report import files
from dancejax.runs import child, jobs
from dancejax.types import Record

QUIET = 120.0
"""Seconds without a line after which a run whose process is gone counts as stopped."""


class Seen(NamedTuple):
    """How far a run was when its log was last written."""

    step: int
    when: float


class Unfinished(NamedTuple):
    """A run without a result.

    Attributes:
      name: its folder, as given.
      kind: what its log is of, as "dance".
      step: the last one logged.
      steps: of the whole run; None where that is not known.
      rate: steps a second between two looks; None at the first look.
      losses: of the last line.
      quiet_for: seconds since the last line.
      stopped: whether its process is gone.
      trouble: what is wrong, or what it waits for; "" for neither.
    """

    name: str
    kind: str
    step: int
    steps: int | None
    rate: float | None
    losses: dict[str, float]
    quiet_for: float
    stopped: bool
    trouble: str

    @property
    def state(self) -> str:
        """In words."""
        if self.trouble:
            return self.trouble
        ago = runs.duration(self.quiet_for)
        return f"stopped {ago} ago; the same command goes on" if self.stopped else "under way"

    @property
    def left(self) -> str:
        """Time left in words, "" where that is not known."""
        if self.stopped or not self.rate or self.steps is None:
            return ""
        return runs.duration(max(0, self.steps - self.step) / self.rate)


class Watch:
    """Looks at folders again and again, and tells rates from what it saw before."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(folders)
        self._first: dict[tuple[Path, str], Seen] = {}

    def look(self, now: float | None = None) -> list[Unfinished]:
        """Return the runs that have a log and no result, in the order of their paths, and then the
        parts of programs that a cluster or another process has been given, and that have no log.

        Args:
          now: seconds since the epoch; None for the clock's.
        """
        now = time.time() if now is None else now
        found = []
        for path in files.named(self._folders, "metrics.jsonl"):
            if not (path.parent / "result.json").exists():
                run = self._unfinished(path, now)
                found += [] if run is None else [run]
        given = [path.parent for path in files.named(self._folders, jobs.RECORD)]
        return found + [_given(folder, now) for folder in given if _has_nothing(folder)]

    def busy(self) -> bool:
        """Whether a process works in one of the folders, or below."""
        return any(map(_alive, files.named(self._folders, ".lock")))

    def _unfinished(self, log: Path, now: float) -> Unfinished | None:
        try:
            when, text = log.stat().st_mtime, log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None  # being put in place
        line = _last(text)
        if line is None:
            return None
        kind, step = str(line.get("kind", "")), int(line["step"])
        seen = self._first.setdefault((log, kind), Seen(step, when))
        rate = (step - seen.step) / (when - seen.when) if when > seen.when else None
        losses = {k: float(v) for k, v in line.items() if k != "step" and _number(v)}
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        above = self._above(log.parent)
        return Unfinished(
            name=str(log.parent),
            kind=kind,
            step=step,
            steps=_steps(above, kind),
            rate=rate if rate and rate > 0 else None,
            losses=losses,
            quiet_for=max(0.0, now - when),
            stopped=now - when > QUIET and not any(_alive(f / ".lock") for f in above),
            trouble=f"failed: {wrong[0]} is not finite" if wrong else _failure(log.parent),
        )

    def _above(self, folder: Path) -> list[Path]:
        """A folder and those above it, up to the one that was given."""
        chain = [folder, *folder.parents]
        tops = [i for i, f in enumerate(chain) if f in self._folders]
        return chain[: max(tops, default=0) + 1]


def _failure(folder: Path) -> str:
    """Why the process of a part failed, and the last line that it said; "" if it did not."""
    try:
        about = runs.read_json(folder / child.FAILED)
    except UserError:
        return ""
    return ": ".join(["failed", about["reason"], *about["log"][-1:]])


def _has_nothing(folder: Path) -> bool:
    """Whether a part has written nothing yet that is its own."""
    return {path.name for path in folder.iterdir()} <= {
        jobs.RECORD,
        child.LOG,
        child.FAILED,
        ".lock",
    }


def _given(folder: Path, now: float) -> Unfinished:
    """A part of a program that has no log of steps yet."""
    number = jobs.record(folder).get("slurm")
    where = "" if number is None else f"given to Slurm: {number}"
    when = (folder / jobs.RECORD).stat().st_mtime
    return Unfinished(
        name=str(folder),
        kind="",
        step=0,
        steps=None,
        rate=None,
        losses={},
        quiet_for=max(0.0, now - when),
        stopped=not _alive(folder / ".lock"),
        trouble=_failure(folder) or where,
    )


def _last(text: str) -> Record | None:
    """The last whole line of a log that has a step."""
    for line in reversed(text.splitlines()):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("step"), int):
            return value
    return None


def _steps(above: Sequence[Path], kind: str) -> int | None:
    """How many steps a condensation has, by the nearest configuration that says so."""
    if kind not in methods.METHODS:
        return None
    for folder in above:
        try:
            config = runs.read_json(folder / "config.json")
        except UserError:
            continue
        parts = [config.get(k) for k in ("settings", "flags")] if isinstance(config, dict) else []
        for part in parts:
            steps = part.get("steps") if isinstance(part, dict) else None
            if isinstance(steps, int):
                return steps
    return None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _alive(lock: Path) -> bool:
    """Whether the process that a lock names is there; not asked of the lock, which that holds."""
    try:
        name, number = lock.read_text(encoding="utf-8", errors="replace").split()
        os.kill(int(number), 0)
    except (OSError, ValueError):
        return False
    return name == "process"
