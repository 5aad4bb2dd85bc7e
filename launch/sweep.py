"""Runs a grid of methods, IPCs and seeds over one data set and prints one table.

    python -m launch.sweep --dataset=fashion_mnist_mini --width=32 --steps=300 --batch_real=64 \\
        --methods=dm,m3d,dance,random --ipcs=1,10 --epochs=300,100 --workdir=runs/sweep

One pool of experts serves all cells. The same command goes on after an interruption; more methods,
IPCs or seeds add to what is there. An ablation is the same command with variants:

    ... --methods=dance --ipcs=10 --variant=factor=1 --variant=calibration=false --variant=experts=1
"""

from absl import flags

from dancejax import coreset, methods
from dancejax.applications import grid
from dancejax.applications.settings import EvaluationSettings

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def read() -> tuple[grid.Settings, settings.Work]:
    """The grid, and the work folder."""
    cells = grid.Settings(
        settings.data(),
        FLAGS.methods,
        FLAGS.ipcs,
        FLAGS.seeds,
        FLAGS.variant,
        steps=FLAGS.steps,
        config=settings.config(),
        network=settings.network(),
        experts=settings.experts(),
        evaluation=EvaluationSettings(protocol=FLAGS.protocol, repeats=FLAGS.repeats),
        epochs=FLAGS.epochs or (),
        seed=FLAGS.seed,
    )
    return cells, settings.work()


def main() -> None:
    cells, work = read()
    rows = grid.sweep(
        cells,
        run=work.run,
        say=common.say,
        begin=lambda train: common.start(work, {}, train),
    )
    common.show(grid.table(rows))


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_training()
    settings.define_expert_dir()
    settings.define_config()
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
        "epochs",
        None,
        "of the evaluation: one number, or one per IPC (default: the protocol's)",
        lower_bound=1,
        repeats=True,
    )
    common.run(main)
