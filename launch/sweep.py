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

from absl import flags

from dancejax import coreset, methods, runs, sweep
from dancejax.errors import UserError

from . import common, pretrain
from .condense import config_fields, define_config

FLAGS = flags.FLAGS


def epochs_of(ipcs: list[int]) -> dict[int, dict[str, Any]]:
    """--epochs as overrides of the protocol by IPC."""
    try:
        values = [int(value) for value in FLAGS.epochs]
    except ValueError as error:
        raise UserError(f"--epochs must be whole numbers, not {FLAGS.epochs}.") from error
    if len(values) not in (0, 1, len(ipcs)):
        raise UserError(f"--epochs needs one number, or one for each of the {len(ipcs)} IPCs.")
    if not values:
        return {ipc: {} for ipc in ipcs}
    return {ipc: {"epochs": values[i if len(values) > 1 else 0]} for i, ipc in enumerate(ipcs)}


def whole_numbers(name: str) -> list[int]:
    try:
        return [int(value) for value in FLAGS[name].value or []]
    except ValueError as error:
        raise UserError(f"--{name} must be whole numbers, not {FLAGS[name].value}.") from error


def main() -> None:
    ipcs, seeds = whole_numbers("ipcs"), whole_numbers("seeds")
    overrides = epochs_of(ipcs)
    cells = [
        sweep.Cell(method, ipc, seed, variant)
        for ipc in ipcs
        for method in FLAGS.methods
        for variant in sweep.variants_of(method, FLAGS.variant)
        for seed in seeds
    ]
    for variant in FLAGS.variant:
        if not any(cell.variant == variant for cell in cells):
            sweep.Cell(FLAGS.methods[0], ipcs[0], 0, variant)
    workdir = common.open_workdir()
    dataset, test = common.load("train"), common.load("test")
    for ipc in ipcs:
        coreset.check_ipc(dataset, ipc)
    network = common.network(dataset)
    settings = common.given(*config_fields())
    common.start(workdir, {}, dataset)
    most = max(cell.experts_needed(network, FLAGS.experts) for cell in cells)
    expert_dir = pretrain.pool_folder(workdir, most) if most else workdir / "experts"
    whole_pool = FLAGS.expert_dir and not FLAGS["experts"].present
    rows: list[dict[str, Any]] = []
    kept = earlier_rows(workdir, cells)
    for number, cell in enumerate(cells, 1):
        common.say(f"{number}/{len(cells)} {cell.folder(Path()).name}")
        made = sweep.make(
            cell,
            dataset,
            network,
            expert_dir=expert_dir,
            workdir=workdir,
            steps=FLAGS.steps,
            experts_used=None if whole_pool else FLAGS.experts,
            settings=settings,
            forgetting_config=pretrain.training_config(dataset, cutmix=0.0),
            placement=FLAGS.data_placement,
            devices=FLAGS.devices,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
        )
        rows.append(
            sweep.row(
                cell,
                made,
                test,
                network,
                workdir=workdir,
                repeats=FLAGS.repeats,
                overrides=overrides[cell.ipc],
                protocol=FLAGS.protocol,
                devices=FLAGS.devices,
            )
        )
        runs.write_json(workdir / "result.json", rows + kept)
        runs.write_bytes(workdir / "table.md", (sweep.table(rows + kept) + "\n").encode())
    print(sweep.table(rows + kept))


def earlier_rows(workdir: Path, cells: list[sweep.Cell]) -> list[dict[str, Any]]:
    """Lines of an earlier call's table for cells that are not among these."""
    if not (workdir / "result.json").exists():
        return []
    rows = runs.read_json(workdir / "result.json")
    names = [field.name for field in dataclasses.fields(sweep.Cell)]
    return [r for r in rows if sweep.Cell(**{n: r[n] for n in names if n in r}) not in cells]


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    pretrain.define_training()
    pretrain.define_expert_dir()
    define_config()
    every = [*methods.METHODS, *coreset.CORESETS]
    flags.DEFINE_list("methods", every, f"some of {', '.join(every)}")
    flags.DEFINE_list("ipcs", ["1", "10", "50"], "images per class")
    flags.DEFINE_list("seeds", ["0"], "a condensed set each")
    flags.DEFINE_multi_string(
        "variant",
        [],
        "settings that differ from the rest, as name=value,name=value: a further column of the "
        "grid for the methods that have them; may be repeated. experts=N uses N of the pool",
    )
    flags.DEFINE_integer("steps", None, "iterations (default: the paper's)", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "networks per evaluation", lower_bound=1)
    flags.DEFINE_enum("protocol", None, ["dm", "dance"], "default: the paper's of each method")
    flags.DEFINE_list("epochs", [], "of the evaluation: one number, or one per IPC")
    common.run(main)
