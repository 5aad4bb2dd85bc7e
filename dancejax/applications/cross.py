"""Condensed sets evaluated on several networks, in one table."""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from dancejax import names, networks, registries, runs
from dancejax.applications import assess
from dancejax.applications.assess import Tested
from dancejax.applications.settings import Begin, DataSettings, EvaluationSettings, Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run
from dancejax.types import Json

BATCH_NORM = ("resnet10", "densenet121")
"""Networks that have batch norm in the papers' tables across networks."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """A table.

    Attributes:
      sets: condensed sets, the lines, by name.
      networks: the columns, as `registries.parse_network` reads them.
      data: the data set that the sets are of.
      evaluation: how; what is not given, a set may record.
      options: of all networks that do not say otherwise.
      seed: of the networks.
      other_data: whether sets of other data are taken.
    """

    sets: dict[str, CondensedSet]
    networks: Sequence[str]
    data: DataSettings
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    other_data: bool = False


def find_sets(entries: Sequence[Path]) -> dict[str, CondensedSet]:
    """Read the condensed sets of `find_folders`."""
    return {label: assess.load_set(path) for label, path in find_folders(entries).items()}


def find_folders(entries: Sequence[Path]) -> dict[str, Path]:
    """Find folders of condensed sets, by the name of their run's folder.

    Args:
      entries: each a path if there is something of that name, else a pattern.

    Raises:
      UserError: there is no set, or two have the same name.
    """
    found: list[Path] = []
    for entry in entries:
        matches = [entry] if entry.exists() else sorted(map(Path, glob.glob(str(entry))))
        if not matches:
            raise UserError(f"there is no condensed set {entry}; check the path.")
        found += matches
    labels = [p.absolute().parent.name if p.name == "condensed" else p.name for p in found]
    if len(set(labels)) < len(labels):
        again = next(label for label in labels if labels.count(label) > 1)
        raise UserError(f"two condensed sets are called {again!r}; rename a folder.")
    return dict(zip(labels, found, strict=True))


class Job(NamedTuple):
    """What is checked and loaded; `carry_out` does one cell of it.

    Attributes:
      settings: of the table.
      modules: the networks by what names them.
      test: the test set.
      abouts: what results say of each set.
      run: with the work folder.
    """

    settings: Settings
    modules: dict[str, nn.Module]
    test: Dataset
    abouts: dict[str, Json]
    run: Run


class Cell(NamedTuple):
    """A set on a network: what can be computed by itself."""

    label: str
    network: str

    @property
    def name(self) -> str:
        """Of its folder below the work folder."""
        return f"{self.label}-{self.network.replace(':', '-')}"


def cells(settings: Settings) -> list[Cell]:
    """Return the cells of a table, those of a set one after another."""
    return [Cell(label, text) for label in settings.sets for text in settings.networks]


def prepare(settings: Settings, *, run: Run) -> Job:
    """Load the data and check everything; nothing is written.

    Args:
      settings: the table.
      run: with the work folder.

    Raises:
      UserError: an unknown network, or a set that cannot be evaluated so or is of other data.
    """
    sets = settings.sets
    modules = {text: _network(text, settings) for text in settings.networks}
    data, abouts = assess.check_sources(sets, settings.data, other_data=settings.other_data)
    test = data.load("test")
    for made in sets.values():
        assess.check(made, test, assess.recorded(settings.evaluation, made))
    return Job(settings, modules, test, abouts, run)


def carry_out(job: Job, cell: Cell) -> Json:
    """Evaluate a set on a network, in the cell's folder.

    Returns:
      The cell's line, as `table` takes them.
    """
    settings, made = job.settings, job.settings.sets[cell.label]
    how = assess.recorded(settings.evaluation, made)
    network, about = job.modules[cell.network], job.abouts[cell.label]
    tested = Tested(made, job.test, network, made.method, about)
    found = assess.assess(tested, how, seed=settings.seed, run=job.run.within(cell.name))
    return _line(cell, found.to_dict())


def finished(settings: Settings, folder: Path) -> list[Json]:
    """Read the lines of the finished cells, from their folders."""
    paths = {cell: folder / cell.name / "result.json" for cell in cells(settings)}
    return [_line(cell, runs.read_json(path)) for cell, path in paths.items() if path.exists()]


def write(rows: Sequence[Json], folder: Path) -> None:
    """Write result.json and table.md."""
    runs.write_json(folder / "result.json", list(rows))
    runs.write_bytes(folder / "table.md", (table(rows) + "\n").encode())


def evaluate(
    settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None
) -> list[Json]:
    """Evaluate every set on every network, in folders of their own.

    Args:
      settings: the table.
      run: with a folder, for result.json and table.md, too; the same call goes on after an
        interruption, and more sets or networks add to what is there.
      say: takes what is evaluated next.
      begin: called when everything is checked and nothing is written yet.

    Returns:
      A line for each set and network, as `table` takes them.

    Raises:
      UserError: as `prepare`.
    """
    job = prepare(settings, run=run)
    if begin is not None:
        begin(None)
    rows: list[Json] = []
    labels = list(settings.sets)
    for cell in cells(settings):
        number = labels.index(cell.label) + 1
        say(f"{cell.label} ({number} of {len(labels)} sets) on {cell.network}")
        if run.folder is None:
            rows.append(carry_out(job, cell))
            continue
        with runs.owned(run.folder / cell.name):
            rows.append(carry_out(job, cell))
        write(rows, run.folder)
    return rows


def _network(text: str, settings: Settings) -> nn.Module:
    name, options = registries.parse_network(text)
    if name in BATCH_NORM:
        options.setdefault("norm", "batch")
    first = next(iter(settings.sets.values()))
    return networks.create(
        name, first.num_classes, first.image_shape, **{**settings.options, **options}
    )


def _line(cell: Cell, result: Json) -> Json:
    kept = ("protocol", "accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    return {
        "set": cell.label,
        "network": cell.network,
        **{name: result[name] for name in kept},
        "epochs": result["training"]["epochs"],
    }


def table(rows: Sequence[Json]) -> str:
    """Show accuracies by "set" (lines) and "network" (columns) as a Markdown table."""
    columns = list(dict.fromkeys(row["network"] for row in rows))
    lines = ["| " + " | ".join(["set", *columns]) + " |", "|---" * (1 + len(columns)) + "|"]
    for label in dict.fromkeys(row["set"] for row in rows):
        own = {row["network"]: row for row in rows if row["set"] == label}
        cells = [_accuracy(own[c]) if c in own else "-" for c in columns]
        lines.append("| " + " | ".join(map(names.markdown, [label, *cells])) + " |")
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> str:
    """A row's accuracy; one network has no deviation."""
    spread = f" +- {row['accuracy_std']:.1f}" if row.get("repeats", 2) > 1 else ""
    return f"{row['accuracy_mean']:.1f}{spread}"
