"""Searches for the best network of a space with small sets in place of the whole set.

    python -m launch.nas --dataset=cifar10 --space=dm720 --condensed=runs/dm50/condensed \\
        --coresets=random,herding --workdir=runs/nas

Every network is trained on every condensed set and coreset, and on the whole set for as many steps
(early stopping). The one that does best on a part of the training images is chosen and trained on
the whole set; --whole trains all of them on it and says how far the rankings agree. A space is a
product of options ("depth=2,3 width=32,64"). Networks can be trained side by side (--engine=local
--parallel=N, or --engine=slurm; --status says how far they are). The same command goes on after an
interruption.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from dancejax import choices, registries
from dancejax.applications import cross, nas, settings as kinds
from dancejax.applications.programs import nas as program

from . import common, flagtypes, jobs, settings

FLAGS = flags.FLAGS


def read(*, shared: bool) -> tuple[nas.Settings, list[Path], settings.Work]:
    """The search, the folders of its sets, and the work folder."""
    folders = cross.find_folders(FLAGS.condensed or ())
    given = nas.Settings(
        settings.data(),
        FLAGS.space,
        sets=cross.find_sets(FLAGS.condensed) if FLAGS.condensed else {},
        coresets=FLAGS.coresets or (),
        ipc=FLAGS.ipc,
        early_stopping=FLAGS.early_stopping,
        whole=FLAGS.whole,
        whole_epochs=FLAGS.whole_epochs,
        validation=FLAGS.validation,
        share=FLAGS.top_share,
        resamples=FLAGS.resamples,
        network=settings.network(),
        experts=settings.experts(),
        training=kinds.EvaluationSettings(
            FLAGS.protocol,
            FLAGS.epochs,
            FLAGS.batch_size,
            FLAGS.evaluation_learning_rate,
            repeats=1,
        ),
        other_data=FLAGS.other_data,
        seed=FLAGS.seed,
    )
    return given, list(folders.values()), settings.work(shared=shared)


def main() -> None:
    how = jobs.read()
    given, folders, work = read(shared=how.shared)
    jobs.run(how, work, program.Nas(given, folders, work.run, common.say))


def define_flags() -> None:
    flags.DEFINE_string(
        "space",
        None,
        "options of the network with their values, as 'depth=2,3 width=32,64', or a name: "
        f"{', '.join(choices.SPACES)}",
        required=True,
    )
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns")
    flagtypes.define_choices("coresets", None, "real images as proxies", [*registries.CORESETS])
    flags.DEFINE_integer("ipc", 50, "images a class of the coresets", lower_bound=1)
    flags.DEFINE_bool("early_stopping", True, "the whole set for as many steps is a proxy, too")
    flags.DEFINE_bool("whole", False, "train every network on the whole set")
    flags.DEFINE_integer(
        "whole_epochs", choices.WHOLE_EPOCHS, "epochs on the whole set", lower_bound=1
    )
    flagtypes.define_number(
        "validation", 0.1, "share of the training images that choose", above=0, below=1
    )
    flagtypes.define_number("top_share", 0.05, "of the networks that are the top", above=0)
    flags.DEFINE_integer("resamples", 1000, "of the bootstrap interval", lower_bound=1)


def define_training() -> None:
    """How networks are trained on the proxies."""
    flags.DEFINE_enum("protocol", "dm", choices.HARD, "of training on every proxy")
    flags.DEFINE_integer("epochs", choices.SEARCH_EPOCHS, "epochs on a set", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "batch size (default: the protocol's)", lower_bound=1)
    flagtypes.define_number(
        "evaluation_learning_rate", None, "learning rate (default: the protocol's)", above=0
    )


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_training()
    settings.define_other_data()
    define_flags()
    define_training()
    jobs.define(
        f"convnet-depth=2-width=32; {choices.PROXIES}: the coresets, which come first; "
        f"{choices.CHOSEN}: what was chosen, on the whole set, which comes last"
    )
    common.run(main, backend=lambda: jobs.read().computes)
