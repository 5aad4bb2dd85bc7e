"""Evaluates condensed sets on several networks: the papers' cross-architecture tables.

    python -m launch.cross --dataset=cifar10 --condensed='runs/sweep/*-ipc10-*/condensed' \\
        --networks=convnet,resnet10,densenet121 --workdir=runs/cross

A network's options follow its name: resnet18:width=16:norm=batch. Each set is a line of the table,
each network a column. The same command goes on after an interruption; more sets or networks add to
what is there.
"""

import glob
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import networks, runs, sweep
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError

from . import common
from .evaluate import assess, check_source, define_protocol, load_set

FLAGS = flags.FLAGS


def find_sets() -> dict[str, CondensedSet]:
    """The sets that --condensed names, by the name of their run's folder."""
    paths: list[Path] = []
    for pattern in FLAGS.condensed:
        found = sorted(glob.glob(str(Path(pattern).expanduser())))
        if not found:
            raise UserError(f"there is no condensed set {pattern}; check the path.")
        paths += map(Path, found)
    names = [p.absolute().parent.name if p.name == "condensed" else p.name for p in paths]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two condensed sets are called {again!r}; rename a folder.")
    return {name: load_set(path) for name, path in zip(names, paths, strict=True)}


def main() -> None:
    workdir = common.open_workdir()
    sets = find_sets()
    test = common.load_as(next(iter(sets.values())), "test")
    for label, made in sets.items():
        check_source(made, label, test)
    chosen = {}
    for text in FLAGS.networks:
        name, options = networks.parse(text)
        chosen[text] = networks.create(
            name, test.num_classes, test.image_shape, **{**common.precision_options(), **options}
        )
    common.start(workdir, {})
    rows: list[dict[str, Any]] = []
    for number, (label, made) in enumerate(sets.items(), 1):
        for text, network in chosen.items():
            common.say(f"{label} ({number} of {len(sets)} sets) on {text}")
            folder = runs.open_workdir(workdir / f"{label}-{text.replace(':', '-')}")
            result = assess(made, test, network, folder, method=made.method)
            rows.append({"set": label, "network": text, **_short(result)})
            runs.write_json(workdir / "result.json", rows)
            table = sweep.cross_table(rows)
            runs.write_bytes(workdir / "table.md", (table + "\n").encode())
    print(table)


def _short(result: dict[str, Any]) -> dict[str, Any]:
    names = ("protocol", "accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    return {**{name: result[name] for name in names}, "epochs": result["training"]["epochs"]}


if __name__ == "__main__":
    common.define_data()
    common.define_precision()
    common.define_run()
    flags.DEFINE_list("condensed", None, "folders of condensed sets or patterns", required=True)
    flags.DEFINE_list(
        "networks",
        None,
        f"networks to train, NAME or NAME:OPTION=VALUE: {', '.join(networks.NETWORKS)}",
        required=True,
    )
    flags.DEFINE_integer("repeats", 3, "networks of each kind to train", lower_bound=1)
    define_protocol(points=5)
    common.run(main)
