"""Learns classes step by step with a small memory, made by several methods and coresets.

    python -m launch.continual --dataset=cifar100 --methods=dm,dance,herding,random --steps=5 \\
        --workdir=runs/continual

At each step the new classes alone are condensed, or images of them chosen; they join the memory,
on which networks are trained from scratch (GDumb) and tested on all classes seen. Each method in
each of the --orders is a folder of its own, and can be made side by side with others
(--engine=local --parallel=N, or --engine=slurm; --status says how far they are). The same command
goes on after an interruption; --dry_run says what it would do.
"""

from __future__ import annotations

from absl import flags

from dancejax import choices, registries
from dancejax.applications import continual, settings as kinds
from dancejax.applications.programs import continual as program

from . import common, flagtypes, jobs, method_flags, settings

FLAGS = flags.FLAGS


def read(*, shared: bool) -> tuple[continual.Settings, settings.Work]:
    """What is learnt, and the work folder."""
    training = kinds.EvaluationSettings(
        FLAGS.protocol,
        FLAGS.epochs,
        FLAGS.batch_size,
        FLAGS.evaluation_learning_rate,
        repeats=FLAGS.repeats,
    )
    given = continual.Settings(
        settings.data(),
        FLAGS.methods,
        steps=FLAGS.steps,
        orders=FLAGS.orders,
        ipc=FLAGS.ipc,
        paper_ipc=FLAGS.paper_ipc,
        iterations=FLAGS.iterations,
        config=method_flags.read(),
        network=settings.network(),
        experts=settings.experts(),
        training=training,
        whole_epochs=FLAGS.whole_epochs if FLAGS.upper_bound else None,
        seed=FLAGS.seed,
    )
    return given, settings.work(shared=shared)


def main() -> None:
    how = jobs.read()
    given, work = read(shared=how.shared)
    jobs.run(how, work, program.Continual(given, work.run, common.say))


def define_flags() -> None:
    every = [*registries.METHODS, *registries.CORESETS]
    flagtypes.define_choices(
        "methods", ["dm", "dance", "herding", "random"], "methods and coresets", every
    )
    flags.DEFINE_integer("steps", 5, "in how many the classes come", lower_bound=1)
    flags.DEFINE_integer(
        "orders", 5, "orders of the classes: permutations with seeds 0, 1, ...", lower_bound=1
    )
    flags.DEFINE_integer("ipc", 20, "images a class in the memory", lower_bound=1)
    flags.DEFINE_integer(
        "paper_ipc",
        10,
        "the methods' settings are their papers' at so many images a class",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "iterations", None, "of a condensation (default: each paper's)", lower_bound=1
    )
    flags.DEFINE_bool(
        "upper_bound", False, "train on all images of the classes seen, too, in each order"
    )
    flags.DEFINE_integer("whole_epochs", 100, "epochs of the upper bound", lower_bound=1)


def define_training() -> None:
    """How networks are trained on the memory."""
    flags.DEFINE_integer("repeats", 3, "networks after each step of each order", lower_bound=1)
    flags.DEFINE_enum(
        "protocol", choices.CONTINUAL_PROTOCOL, choices.HARD, "of training on the memory"
    )
    flags.DEFINE_integer("epochs", None, "epochs (default: the protocol's)", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "batch size (default: the protocol's)", lower_bound=1)
    flagtypes.define_number(
        "evaluation_learning_rate", None, "learning rate (default: the protocol's)", above=0
    )


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_training()
    method_flags.define()
    define_flags()
    define_training()
    jobs.define("order-0-dm; order-0-experts: the experts of its steps, which come first")
    common.run(main, backend=lambda: jobs.read().computes)
