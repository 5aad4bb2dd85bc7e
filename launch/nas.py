"""Searches for the best network of a space with small sets in place of the whole set.

    python -m launch.nas --dataset=cifar10 --space=dm720 --condensed=runs/dm50/condensed \\
        --coresets=random,herding --workdir=runs/nas

Every network is trained on every condensed set and coreset, and on the whole set for as many steps
(early stopping). The one that does best on a part of the training images is chosen and trained on
the whole set; --whole trains all of them on it and says how far the rankings agree. A space is a
product of options ("depth=2,3 width=32,64"). The same command goes on after an interruption.
"""

from absl import flags

from dancejax.applications import cross, nas, spaces
from dancejax.applications.settings import EvaluationSettings
from dancejax.coreset import CORESETS
from dancejax.training import protocols

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def read() -> tuple[nas.Settings, settings.Work, bool]:
    """The search, the work folder, and whether the plan is only shown."""
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
        training=EvaluationSettings(
            FLAGS.protocol,
            FLAGS.epochs,
            FLAGS.batch_size,
            FLAGS.evaluation_learning_rate,
            repeats=1,
        ),
        other_data=FLAGS.other_data,
        seed=FLAGS.seed,
    )
    return given, settings.work(), FLAGS.dry_run


def main() -> None:
    given, work, dry_run = read()
    if dry_run:
        job = nas.prepare(given, run=work.run, say=common.say)
        common.show(nas.plan(job))
        common.end_dry_run(work)
        return
    result = nas.search(
        given, run=work.run, say=common.say, begin=lambda train: common.start(work, {}, train)
    )
    common.show(result.table())
    common.say(f"all networks: {work.path / 'ranking.csv'}")


def define_flags() -> None:
    flags.DEFINE_string(
        "space",
        None,
        "options of the network with their values, as 'depth=2,3 width=32,64', or a name: "
        f"{', '.join(spaces.SPACES)}",
        required=True,
    )
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns")
    flagtypes.define_choices("coresets", None, "real images as proxies", [*CORESETS])
    flags.DEFINE_integer("ipc", 50, "images a class of the coresets", lower_bound=1)
    flags.DEFINE_bool("early_stopping", True, "the whole set for as many steps is a proxy, too")
    flags.DEFINE_bool("whole", False, "train every network on the whole set")
    flags.DEFINE_integer("whole_epochs", nas.WHOLE_EPOCHS, "epochs on the whole set", lower_bound=1)
    flagtypes.define_number(
        "validation", 0.1, "share of the training images that choose", above=0, below=1
    )
    flagtypes.define_number("top_share", 0.05, "of the networks that are the top", above=0)
    flags.DEFINE_integer("resamples", 1000, "of the bootstrap interval", lower_bound=1)
    flags.DEFINE_bool("dry_run", False, "show the plan and what of it is there, and stop")


def define_training() -> None:
    """How networks are trained on the proxies."""
    flags.DEFINE_enum("protocol", "dm", protocols.HARD, "of training on every proxy")
    flags.DEFINE_integer("epochs", nas.EPOCHS, "epochs on a set", lower_bound=1)
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
    common.run(main)
