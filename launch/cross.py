"""Evaluates condensed sets on several networks: the papers' cross-architecture tables.

    python -m launch.cross --dataset=cifar10 --condensed='runs/sweep/*-ipc10-*/condensed' \\
        --networks=convnet,resnet10,densenet121 --workdir=runs/cross

A network's options follow its name: resnet18:width=16:norm=batch. ResNet-10 and DenseNet-121 have
batch norm unless told otherwise, as in the papers' tables. Each set is a line of the table,
each network a column. The same command goes on after an interruption; more sets or networks add to
what is there.
"""

import glob
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import networks, runs
from dancejax.applications import grid
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError

from . import common, flagtypes
from .evaluate import (
    assess,
    check_source,
    define_other_data,
    define_protocol,
    load_set,
    own_settings,
)

FLAGS = flags.FLAGS


BATCH_NORM = ("resnet10", "densenet121")
"""Networks that have batch norm in the papers' tables across networks."""


def find_sets() -> dict[str, CondensedSet]:
    """The sets that --condensed names, by the name of their run's folder.

    An entry is a path if there is something of that name, else a pattern.
    """
    found: list[Path] = []
    for entry in FLAGS.condensed:
        matches = [entry] if entry.exists() else sorted(map(Path, glob.glob(str(entry))))
        if not matches:
            raise UserError(f"there is no condensed set {entry}; check the path.")
        found += matches
    names = [p.absolute().parent.name if p.name == "condensed" else p.name for p in found]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two condensed sets are called {again!r}; rename a folder.")
    return {name: load_set(path) for name, path in zip(names, found, strict=True)}


def main() -> None:
    workdir = common.check_workdir()
    sets = find_sets()
    first = next(iter(sets.values()))
    chosen = {}
    for text in FLAGS.networks:
        name, options = networks.parse(text)
        if name in BATCH_NORM:
            options.setdefault("norm", "batch")
        chosen[text] = networks.create(
            name, first.num_classes, first.image_shape, **{**common.precision_options(), **options}
        )
    abouts = {label: check_source(made, label) for label, made in sets.items()}
    test = common.load_as(first, "test")
    common.start({})
    rows: list[dict[str, Any]] = []
    for number, (label, made) in enumerate(sets.items(), 1):
        for text, network in chosen.items():
            common.say(f"{label} ({number} of {len(sets)} sets) on {text}")
            folder = runs.open_workdir(workdir / f"{label}-{text.replace(':', '-')}")
            with own_settings(made):
                result = assess(
                    made, test, network, folder, method=made.method, about=abouts[label]
                )
            rows.append({"set": label, "network": text, **_short(result)})
            runs.write_json(workdir / "result.json", rows)
            table = grid.cross_table(rows)
            runs.write_bytes(workdir / "table.md", (table + "\n").encode())
    common.show(table)


def _short(result: dict[str, Any]) -> dict[str, Any]:
    names = ("protocol", "accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    return {**{name: result[name] for name in names}, "epochs": result["training"]["epochs"]}


if __name__ == "__main__":
    common.define_data()
    common.define_precision()
    common.define_run()
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns", required=True)
    flagtypes.define_texts(
        "networks",
        f"networks to train, NAME or NAME:OPTION=VALUE: {', '.join(networks.NETWORKS)}",
        required=True,
    )
    flags.DEFINE_integer("repeats", 3, "networks of each kind to train", lower_bound=1)
    common.define_placement()
    define_protocol(points=5)
    define_other_data()
    common.run(main)
