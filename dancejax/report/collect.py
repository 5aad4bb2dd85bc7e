"""Finds what runs left behind: condensed sets, their cost and losses, and their evaluations."""

import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dancejax import condensed, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError


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
    result each. images: of the training split, None where unknown.
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

    @property
    def accuracies(self) -> list[float]:
        """Of the last epoch, in percent, all networks of all sets."""
        return [value for result in self.results for value in result["accuracies"]]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Sample deviation over the networks; None for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def best(self) -> float | None:
        """The best epoch's accuracy, chosen on the test set; None of experts."""
        if any("best_over_epochs_mean" not in result for result in self.results):
            return None
        return statistics.fmean(result["best_over_epochs_mean"] for result in self.results)

    @property
    def settings(self) -> dict[str, Any]:
        """How the sets were made."""
        return self.runs[0].made.settings if self.runs else {}


def collect(folders: Sequence[Path]) -> list[Entry]:
    """Everything evaluated in the folders and below, pools of experts as the whole set, too.

    Raises UserError for a missing folder, a damaged file, or if there is nothing.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; give the --workdir of a run.")
    sets = {}
    for path in _files(folders, "manifest.json"):
        if (path.parent / "images.npy").exists():
            made = _run(path.parent)
            sets[condensed.fingerprint(made.made)] = made
    images = {
        about["fingerprint"]: about["images"]
        for path in _files(folders, "config.json")
        if (about := _dataset_of(runs.read_json(path))) is not None
    }
    groups: dict[str, list[tuple[dict[str, Any], Run | None]]] = {}
    for path in _files(folders, "result.json"):
        result = runs.read_json(path)
        if isinstance(result, dict) and "accuracies" in result and "train" in result:
            run = sets.get(result["train"]["fingerprint"])
            groups.setdefault(_group(result, run), []).append((result, run))
    if not groups:
        listing = ", ".join(map(str, folders))
        raise UserError(f"there are no evaluations in {listing}; run launch.evaluate first.")
    return [_entry(group, images) for group in groups.values()]


def _files(folders: Sequence[Path], name: str) -> Iterator[Path]:
    """Files of a name, once each, in a fixed order, hidden folders left out."""
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob(name)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if not hidden and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _run(path: Path) -> Run:
    folder = path.parent if path.name == "condensed" else path
    cost = runs.read_json(folder / "result.json") if (folder / "result.json").exists() else {}
    lines = []
    if (folder / "metrics.jsonl").exists():
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue  # a line that was being written when the machine stopped
            if isinstance(value, dict):
                lines.append(value)
    made = condensed.load(path)
    own = tuple(line for line in lines if line.get("kind") == made.method)
    return Run(made, folder, cost if isinstance(cost, dict) else {}, own)


def _dataset_of(config: Any) -> dict[str, Any] | None:
    settings = config.get("settings") if isinstance(config, dict) else None
    about = settings.get("dataset") if isinstance(settings, dict) else None
    return about if isinstance(about, dict) and {"fingerprint", "images"} <= about.keys() else None


def _group(result: dict[str, Any], run: Run | None) -> str:
    """What evaluations of several seeds have in common."""
    train = result["train"]
    settings = {k: v for k, v in run.made.settings.items() if k != "seed"} if run else train
    source = run.made.source if run else {}
    parts = (train["name"], train["method"], train["ipc"], settings, source)
    about = (result["network"], result["training"], result.get("protocol"), result["test"])
    return json.dumps([*parts, *about], sort_keys=True)


def _entry(group: list[tuple[dict[str, Any], Run | None]], images: dict[str, int]) -> Entry:
    results = tuple(result for result, _ in group)
    found = tuple(run for _, run in group if run is not None)
    train = results[0]["train"]
    source = found[0].made.source["fingerprint"] if found else train["fingerprint"]
    return Entry(
        dataset=train["name"],
        method=train["method"],
        ipc=train["ipc"],
        network=results[0]["network"],
        training=results[0]["training"],
        protocol=results[0].get("protocol"),
        runs=found,
        results=results,
        images=images.get(source),
    )
