"""Runs a grid of methods, IPCs and seeds over one data set and prints one table.

    python -m launch.sweep --dataset=fashion_mnist_mini --width=32 --steps=300 --batch_real=64 \\
        --methods=dm,m3d,dance,random --ipcs=1,10 --epochs=300,100 --workdir=runs/sweep

One pool of experts serves all cells. The same command goes on after an interruption; more methods,
IPCs or seeds add to what is there. Cells are made one after another, side by side with
--engine=local --parallel=N, or as jobs of a Slurm cluster with --engine=slurm; --status says how
far they are. An ablation is the same command with variants:

    ... --methods=dance --ipcs=10 --variant=factor=1 --variant=calibration=false --variant=experts=1

--ablation=dance-components makes a table of the papers, theirs beside.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from dancejax import choices, methods, registries
from dancejax.applications import grid, settings as kinds
from dancejax.applications.programs import sweep as program
from dancejax.errors import UserError
from dancejax.types import Json

from . import common, flagtypes, jobs, method_flags, settings

FLAGS = flags.FLAGS
ABLATIONS = {
    f"{method}-{name}": (method, table)
    for method in registries.METHODS
    for name, table in methods.ablations(method).items()
}
"""The tables of the papers that vary a method, by the names that --ablation takes."""


def read(*, shared: bool) -> tuple[grid.Settings, settings.Work]:
    """The grid, and the work folder; shared: other processes may have it."""
    columns = {"methods": FLAGS.methods, "ipcs": FLAGS.ipcs, "variants": FLAGS.variant}
    if FLAGS.ablation is not None:
        if settings.by_hand("methods") is not None:
            raise UserError("--ablation names the methods; leave --methods out.")
        columns = ablation(FLAGS.ablation, settings.by_hand("ipcs"), FLAGS.variant)
    cells = grid.Settings(
        settings.data(),
        **columns,
        seeds=FLAGS.seeds,
        steps=FLAGS.steps,
        config=method_flags.read(),
        network=settings.network(),
        experts=settings.experts(),
        evaluation=kinds.EvaluationSettings(protocol=FLAGS.protocol, repeats=FLAGS.repeats),
        epochs=FLAGS.epochs or (),
        seed=FLAGS.seed,
    )
    return cells, settings.work(shared=shared)


def ablation(name: str, ipcs: Sequence[int] | None, variants: Sequence[str]) -> Json:
    """Methods, IPCs and variants of a table of the papers; IPCs given by hand replace its own."""
    method, table = ABLATIONS[name]
    rows = [",".join(f"{k}={v}".lower() for k, v in row.items()) for row in table.rows.values()]
    return {
        "methods": (*table.beside, method),
        "ipcs": ipcs or table.ipcs,
        "variants": [*(f"{method}:{row}" for row in rows), *variants],
        "plain": table.plain,
    }


def main() -> None:
    how = jobs.read()
    cells, work = read(shared=how.shared)
    jobs.run(how, work, program.Sweep(cells, work.run, common.say))


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_training()
    settings.define_expert_dir()
    method_flags.define()
    every = [*registries.METHODS, *registries.CORESETS]
    flagtypes.define_choices("methods", every, "methods and coresets", every)
    flagtypes.define_integers("ipcs", [1, 10, 50], "images per class", lower_bound=1)
    flagtypes.define_integers("seeds", [0], "a condensed set each", lower_bound=0)
    flags.DEFINE_multi_string(
        "variant",
        [],
        "settings that differ from the rest, as name=value,name=value: a further column of the "
        "grid for the methods that have them, or with METHOD: before it for that one; may be "
        "repeated. experts=N uses N of the pool, iterations=N makes so many",
    )
    flags.DEFINE_enum(
        "ablation",
        None,
        [*ABLATIONS],
        "a table of the papers as the grid, with its methods, IPCs and variants: "
        + "; ".join(f"{name}: {table.source}" for name, (_, table) in ABLATIONS.items()),
    )
    flags.DEFINE_integer("steps", None, "iterations (default: the paper's)", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "networks per evaluation", lower_bound=1)
    flags.DEFINE_enum(
        "protocol",
        None,
        choices.PROTOCOLS,
        "of the evaluation; with _soft after its name the experts label each set first (default: "
        "the paper's of each method)",
    )
    flagtypes.define_integers(
        "epochs",
        None,
        "of the evaluation: one number, or one per IPC (default: the protocol's)",
        lower_bound=1,
        repeats=True,
    )
    jobs.define(f"dm-ipc10-seed0; {choices.EXPERTS}: the experts, which come first")
    common.run(main, backend=lambda: jobs.read().computes)
