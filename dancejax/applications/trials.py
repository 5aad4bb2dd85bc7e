"""Trials: networks trained from scratch on one set and tested on several.

What continual learning and architecture search repeat. An evaluation (`evaluation.evaluate`)
follows networks on one test set along their training; a trial tests them at the end on as many
sets as wanted, may stop before the last epoch, and measures the time.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from dancejax import condensed, evaluation, keys, networks, runs, training
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.runs import Run, integrity, parallel
from dancejax.training import TrainConfig, TrainState, loop
from dancejax.types import Json, Tree

ACCURACIES, TIMES = "accuracies.json", "times.json"


class Trial(NamedTuple):
    """What is trained and tested.

    Attributes:
      train: what networks are trained on.
      tests: what they are tested on, of the same classes and image shape; a set may lack classes.
      network: what is trained.
      config: how.
      networks: how many.
      seed: of their initialisation and training.
      limit: steps after which training stops (None: after the last epoch).
    """

    train: CondensedSet | Dataset
    tests: tuple[Dataset, ...]
    network: nn.Module
    config: TrainConfig
    networks: int = 1
    seed: int = 0
    limit: int | None = None

    def record(self) -> Json:
        """What tells the trial from others, as JSON; more networks may be added to it."""
        return {
            "train": condensed.describe(self.train),
            "tests": [{"name": t.name, "fingerprint": t.fingerprint} for t in self.tests],
            "network": networks.identity(self.network),
            "training": dataclasses.asdict(self.config),
            "seed": self.seed,
            "limit": self.limit,
        }


class Outcome(NamedTuple):
    """What a trial came to.

    Attributes:
      accuracies: percent, a tuple for each network with a number for each test set.
      seconds: that training took, summed over networks; without compiling, where the call trained
        for more than one epoch.
    """

    accuracies: tuple[tuple[float, ...], ...]
    seconds: float


def measure(trial: Trial, *, run: Run) -> Outcome:
    """Train and test the networks of a trial.

    Args:
      trial: what is trained and tested.
      run: with a folder, finished networks and checkpoints of those under way are kept there, and
        the same call goes on after an interruption, bit for bit.

    Raises:
      UserError: the folder belongs to another trial, or a loss is not finite.
    """
    run = run.opened()
    record = integrity.plain(trial.record())
    kept = _Kept(run.folder, record)
    missing = [n for n in range(trial.networks) if n not in kept.accuracies]
    if missing:
        data = evaluation.training_set(trial.train, trial.config)
        job = loop.Job(
            "train",
            trial.network,
            trial.config,
            data,
            trial.networks,
            trial.seed,
            keys.EVALUATION,
            record,
            limit=trial.limit,
        )
        mean, std = trial.train.mean, trial.train.std
        tests = tuple(dataclasses.replace(test, mean=mean, std=std) for test in trial.tests)
        loop.train(job, missing, _Tester(job, tests, kept), run)
    own = range(trial.networks)
    return Outcome(tuple(kept.accuracies[n] for n in own), sum(kept.seconds[n] for n in own))


def finished(folder: Path) -> int:
    """Return how many networks of a trial a folder holds."""
    path = folder / ACCURACIES
    return len(integrity.read_manifest(path)["networks"]) if path.exists() else 0


class _Kept:
    """Accuracies of finished networks in accuracies.json, and their seconds in times.json."""

    def __init__(self, folder: Path | None, record: Json) -> None:
        self.record, self._folder = record, folder
        self.accuracies: dict[int, tuple[float, ...]] = {}
        self.seconds: dict[int, float] = {}
        found, times = parallel.primary_says(self._read)
        for number, values in found.items():
            self.accuracies[int(number)] = tuple(values)
            self.seconds[int(number)] = times.get(number, 0.0)

    def _read(self) -> tuple[Json, Json]:
        if self._folder is None or not (self._folder / ACCURACIES).exists():
            return {}, {}
        found = integrity.read_manifest(self._folder / ACCURACIES)
        integrity.check_same(found["trial"], self.record, self._folder / ACCURACIES)
        times = self._folder / TIMES
        return found["networks"], runs.read_json(times) if times.exists() else {}

    def add(self, members: list[int], accuracies: list[tuple[float, ...]], seconds: float) -> None:
        """Keep what networks that were trained side by side came to."""
        self.accuracies |= dict(zip(members, accuracies, strict=True))
        self.seconds |= {n: seconds / len(members) for n in members}
        if self._folder is not None:
            own = sorted(self.accuracies)
            runs.write_json(self._folder / TIMES, {str(n): self.seconds[n] for n in own})
            about = {"trial": self.record, "networks": {str(n): self.accuracies[n] for n in own}}
            runs.write_json(self._folder / ACCURACIES, integrity.seal(integrity.plain(about)))


class _Tester(loop.Observer):
    """Tests networks after their last step, and takes the time between epochs."""

    def __init__(self, job: loop.Job, tests: tuple[Dataset, ...], kept: _Kept) -> None:
        self.job, self.tests, self.kept = job, tests, kept
        self.placed: list[Any] = []

    def begin(self, team: loop.Team, session: runs.Session) -> Tree:
        self.session, self.began = session, time.monotonic()
        self.marks: list[tuple[int, float]] = []
        return ()

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        step = min(epoch * self.job.steps_per_epoch, self.job.steps)
        self.marks.append((step, time.monotonic()))
        return extra

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        seconds = self._seconds()
        if not self.placed:
            tests = map(training.train_data, self.tests)
            self.placed = [loop.place(test, self.session) for test in tests]
        found = [
            100
            * training.accuracy_in_parts(
                state.variables, test, network=self.job.network, mesh=self.session.mesh
            )
            for test in self.placed
        ]
        own = [tuple(float(test[i]) for test in found) for i in range(len(team.members))]
        self.kept.add(team.members, own, seconds)
        return True

    def _seconds(self) -> float:
        """What all steps take, by those of the epochs after the first of this call."""
        if len(self.marks) < 2:
            return time.monotonic() - self.began
        (first, then), (last, now) = self.marks[0], self.marks[-1]
        return (now - then) / (last - first) * self.job.steps
