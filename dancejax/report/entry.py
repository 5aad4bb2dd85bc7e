"""What a report is made of: runs, and evaluations under the same settings."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancejax.condensed import CondensedSet
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Run:
    """A condensed set or coreset with what its folder says of making it.

    cost: result.json of the run, or nothing. losses: the lines of its metrics.jsonl.
    """

    made: CondensedSet
    folder: Path
    cost: dict[str, Any]
    losses: tuple[dict[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """Evaluations under the same settings: one condensed set, or several of different seeds.

    dataset, method, ipc (None: the whole set); network and training: as `evaluate` describes them;
    runs: the sets, empty for the whole set and where no folder had them; results: one `evaluate`
    result each. images: of the training split, None where unknown. checkpoints: of the
    evaluations that have several checkpoints, the best one's mean accuracy. varying: names of
    settings that differ between the entries of a report of this data set, method and IPC.
    """

    dataset: str
    method: str
    ipc: int | None
    network: dict[str, Any]
    training: dict[str, Any]
    protocol: str | None
    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]
    images: int | None = None
    checkpoints: tuple[float, ...] = ()
    varying: frozenset[str] = frozenset()

    @property
    def accuracies(self) -> list[float]:
        """Of the last epoch, in percent, all networks of all sets."""
        return [value for result in self.results for value in result["accuracies"]]

    @property
    def by_set(self) -> list[list[float]]:
        """The accuracies, a list for each condensed set."""
        found: dict[str, list[float]] = {}
        for result in self.results:
            found.setdefault(result["train"]["fingerprint"], []).extend(result["accuracies"])
        return list(found.values())

    @property
    def mean(self) -> float:
        """Over the sets of their means over networks."""
        return statistics.fmean(map(statistics.fmean, self.by_set))

    @property
    def std(self) -> float | None:
        """Sample deviation over the networks of all sets together; None for a single one."""
        return _deviation(self.accuracies)

    @property
    def std_over_sets(self) -> float | None:
        """Sample deviation of the sets' mean accuracies; None for a single set."""
        return _deviation([statistics.fmean(own) for own in self.by_set])

    @property
    def std_over_networks(self) -> float | None:
        """Sample deviation over networks within a set, pooled; None for one network each."""
        variances = [statistics.variance(own) for own in self.by_set if len(own) > 1]
        return statistics.fmean(variances) ** 0.5 if variances else None

    @property
    def best(self) -> float | None:
        """The best epoch's accuracy, chosen on the test set; None of experts."""
        if any("best_over_epochs_mean" not in result for result in self.results):
            return None
        return statistics.fmean(result["best_over_epochs_mean"] for result in self.results)

    @property
    def best_over_checkpoints(self) -> float | None:
        """The best checkpoint's accuracy, chosen on the test set; None where none was evaluated."""
        return statistics.fmean(self.checkpoints) if self.checkpoints else None

    @property
    def test_images(self) -> int | None:
        """How many images it was tested on, where that is known."""
        return self.results[0].get("test_images")

    @property
    def form(self) -> str | None:
        """The form of the export that was evaluated; None for the set itself."""
        origin = self.results[0]["train"].get("origin")
        return str(origin.get("form", "")) or None if isinstance(origin, dict) else None

    @property
    def settings(self) -> Json:
        """How the sets were made."""
        return self.runs[0].made.settings if self.runs else {}


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
