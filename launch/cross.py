"""Evaluates condensed sets on several networks: the papers' cross-architecture tables.

    python -m launch.cross --dataset=cifar10 --condensed='runs/sweep/*-ipc10-*/condensed' \\
        --networks=convnet,resnet10,densenet121 --workdir=runs/cross

A network's options follow its name: resnet18:width=16:norm=batch. ResNet-10 and DenseNet-121 have
batch norm unless told otherwise, as in the papers' tables. Each set is a line of the table,
each network a column. The same command goes on after an interruption; more sets or networks add to
what is there.
"""

from absl import flags

from dancejax import networks
from dancejax.applications import cross

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def read() -> tuple[cross.Settings, settings.Work]:
    """The table, and the work folder."""
    work = settings.work()
    table = cross.Settings(
        cross.find_sets(FLAGS.condensed),
        FLAGS.networks,
        settings.data(),
        evaluation=settings.evaluation(),
        options=settings.precision(),
        seed=FLAGS.seed,
        other_data=FLAGS.other_data,
    )
    return table, work


def main() -> None:
    table, work = read()
    rows = cross.evaluate(
        table, run=work.run, say=common.say, begin=lambda _: common.start(work, {})
    )
    common.show(cross.table(rows))


if __name__ == "__main__":
    settings.define_data()
    settings.define_precision()
    settings.define_run()
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns", required=True)
    flagtypes.define_texts(
        "networks",
        f"networks to train, NAME or NAME:OPTION=VALUE: {', '.join(networks.NETWORKS)}",
        required=True,
    )
    settings.define_placement()
    settings.define_evaluation(3, "networks of each kind to train", test_points=5)
    settings.define_other_data()
    common.run(main)
