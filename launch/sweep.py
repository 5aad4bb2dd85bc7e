"""Runs a grid of methods, IPCs and seeds over one data set and prints one table.

    python -m launch.sweep --dataset=fashion_mnist_mini --width=32 --steps=300 --batch_real=64 \\
        --methods=dm,m3d,dance,random --ipcs=1,10 --epochs=300,100 --workdir=runs/sweep

One pool of experts serves all cells. The same command goes on after an interruption; more methods,
IPCs or seeds add to what is there. An ablation is the same command with variants:

    ... --methods=dance --ipcs=10 --variant=factor=1 --variant=calibration=false --variant=experts=1
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
from absl import flags

from dancejax import condensation, coreset, methods, runs
from dancejax.applications import grid
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError

from . import common, flagtypes, pretrain
from .condense import config_fields, define_config

FLAGS = flags.FLAGS


def epochs_of(ipcs: list[int]) -> dict[int, dict[str, Any]]:
    """--epochs as overrides of the protocol by IPC."""
    values: list[int] = FLAGS.epochs or []
    if len(values) not in (0, 1, len(ipcs)):
        raise UserError(f"--epochs needs one number, or one for each of the {len(ipcs)} IPCs.")
    if not values:
        return {ipc: {} for ipc in ipcs}
    return {ipc: {"epochs": values[i if len(values) > 1 else 0]} for i, ipc in enumerate(ipcs)}


def cells_of(ipcs: list[int]) -> list[grid.Cell]:
    """The grid that the flags name."""
    cells = [
        grid.Cell(method, ipc, seed, variant)
        for ipc in ipcs
        for method in FLAGS.methods
        for variant in grid.variants_of(method, FLAGS.variant)
        for seed in FLAGS.seeds
    ]
    for variant in FLAGS.variant:
        if not any(cell.variant == variant for cell in cells):
            grid.Cell(FLAGS.methods[0], ipcs[0], 0, variant)
    return cells


def check_cells(cells: list[grid.Cell], dataset: Dataset, network: nn.Module) -> int:
    """Check every cell before the first is made; how many experts the grid needs."""
    by_hand = common.given(*config_fields())
    for cell in cells:
        coreset.check_ipc(dataset, cell.ipc)
        if cell.method not in methods.METHODS:
            continue
        config = grid.plan_of(cell, dataset, FLAGS.steps, by_hand).settings
        method = methods.create(cell.method, network=network, **config)
        condensation.initial_pixels(dataset, cell.ipc, method.factor)
    whole_pool = FLAGS.expert_dir and not FLAGS["experts"].present
    usual = 1 if whole_pool else FLAGS.experts
    most = max(cell.experts_needed(network, usual) for cell in cells)
    if most:
        pretrain.check_pool(dataset, most)
    return most


def main() -> None:
    overrides = epochs_of(FLAGS.ipcs)
    cells = cells_of(FLAGS.ipcs)
    workdir = common.check_workdir()
    dataset, test = common.load_train(), common.load("test")
    network = common.network(dataset)
    most = check_cells(cells, dataset, network)
    kept = earlier_rows(workdir, cells)
    common.start({}, dataset)
    expert_dir = pretrain.pool_folder(workdir, most, dataset) if most else workdir / "experts"
    whole_pool = FLAGS.expert_dir and not FLAGS["experts"].present
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells, 1):
        common.say(f"{number}/{len(cells)} {cell.folder(Path()).name}")
        made = grid.make(
            cell,
            dataset,
            network,
            expert_dir=expert_dir,
            workdir=workdir,
            steps=FLAGS.steps,
            experts_used=None if whole_pool else FLAGS.experts,
            settings=common.given(*config_fields()),
            forgetting_config=pretrain.training_config(dataset, cutmix=0.0),
            placement=FLAGS.data_placement,
            devices=FLAGS.devices,
            class_chunk=FLAGS.class_chunk,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
        )
        rows.append(
            grid.row(
                cell,
                made,
                test,
                network,
                workdir=workdir,
                repeats=FLAGS.repeats,
                overrides=overrides[cell.ipc],
                protocol=FLAGS.protocol,
                devices=FLAGS.devices,
                checkpoint_seconds=FLAGS.checkpoint_seconds,
            )
        )
        runs.write_json(workdir / "result.json", rows + kept)
        runs.write_bytes(workdir / "table.md", (grid.table(rows + kept) + "\n").encode())
    common.show(grid.table(rows + kept))


def earlier_rows(workdir: Path, cells: list[grid.Cell]) -> list[dict[str, Any]]:
    """Lines of an earlier call's table for cells that are not among these.

    Lines that are none of this version's are left out, and that is said.
    """
    if not (workdir / "result.json").exists():
        return []
    rows = runs.read_json(workdir / "result.json")
    names = [field.name for field in dataclasses.fields(grid.Cell)]
    kept = []
    for row in rows if isinstance(rows, list) else [rows]:
        try:
            grid.table([row])
            if grid.Cell(**{n: row[n] for n in names if n in row}) not in cells:
                kept.append(row)
        except (KeyError, TypeError, ValueError, AttributeError, UserError):
            common.say(f"left out of {workdir / 'result.json'}: an entry that is no line of a grid")
    return kept


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    pretrain.define_training()
    pretrain.define_expert_dir()
    define_config()
    every = [*methods.METHODS, *coreset.CORESETS]
    flagtypes.define_choices("methods", every, "methods and coresets", every)
    flagtypes.define_integers("ipcs", [1, 10, 50], "images per class", lower_bound=1)
    flagtypes.define_integers("seeds", [0], "a condensed set each", lower_bound=0)
    flags.DEFINE_multi_string(
        "variant",
        [],
        "settings that differ from the rest, as name=value,name=value: a further column of the "
        "grid for the methods that have them; may be repeated. experts=N uses N of the pool",
    )
    flags.DEFINE_integer("steps", None, "iterations (default: the paper's)", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "networks per evaluation", lower_bound=1)
    flags.DEFINE_enum("protocol", None, ["dm", "dance"], "default: the paper's of each method")
    flagtypes.define_integers(
        "epochs", None, "of the evaluation: one number, or one per IPC (default: the protocol's)",
        lower_bound=1, repeats=True,
    )  # fmt: skip
    common.run(main)
