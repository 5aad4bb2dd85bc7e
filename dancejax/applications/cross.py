"""Condensed sets evaluated on several networks, in one table."""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn

from dancejax import names, networks, runs
from dancejax.applications import assess
from dancejax.applications.assess import Assessment, Tested
from dancejax.applications.settings import Begin, DataSettings, EvaluationSettings, Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.types import Json

BATCH_NORM = ("resnet10", "densenet121")
"""Networks that have batch norm in the papers' tables across networks."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """A table.

    Attributes:
      sets: condensed sets, the lines, by name.
      networks: the columns, as `networks.parse` reads them.
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


def evaluate(
    settings: Settings, *, run: runs.Run, say: Say = quiet, begin: Begin | None = None
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
      UserError: an unknown network, or a set of other data.
    """
    sets = settings.sets
    modules = {text: _network(text, settings) for text in settings.networks}
    data, abouts = assess.check_sources(sets, settings.data, other_data=settings.other_data)
    test = data.load("test")
    for made in sets.values():
        assess.check(made, test, assess.recorded(settings.evaluation, made))
    if begin is not None:
        begin(None)
    rows: list[dict[str, Any]] = []
    for number, (label, made) in enumerate(sets.items(), 1):
        how = assess.recorded(settings.evaluation, made)
        for text, network in modules.items():
            say(f"{label} ({number} of {len(sets)} sets) on {text}")
            tested = Tested(made, test, network, made.method, abouts[label])
            own = run.within(f"{label}-{text.replace(':', '-')}")
            found = assess.assess(tested, how, seed=settings.seed, run=own)
            rows.append({"set": label, "network": text, **_short(found)})
            if run.folder is not None:
                runs.write_json(run.folder / "result.json", rows)
                runs.write_bytes(run.folder / "table.md", (table(rows) + "\n").encode())
    return rows


def _network(text: str, settings: Settings) -> nn.Module:
    name, options = networks.parse(text)
    if name in BATCH_NORM:
        options.setdefault("norm", "batch")
    first = next(iter(settings.sets.values()))
    return networks.create(
        name, first.num_classes, first.image_shape, **{**settings.options, **options}
    )


def _short(found: Assessment) -> dict[str, Any]:
    result = found.to_dict()
    kept = ("protocol", "accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    return {**{name: result[name] for name in kept}, "epochs": result["training"]["epochs"]}


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
