"""Evaluates condensed sets on several networks: the papers' cross-architecture tables.

    python -m launch.cross --dataset=cifar10 --condensed='runs/sweep/*-ipc10-*/condensed' \\
        --networks=convnet,resnet10,densenet121 --workdir=runs/cross

A network's options follow its name: resnet18:width=16:norm=batch. ResNet-10 and DenseNet-121 have
batch norm unless told otherwise, as in the papers' tables. Each set is a line of the table,
each network a column; they can be made side by side (--engine=local --parallel=N, or
--engine=slurm; --status says how far they are). The same command goes on after an interruption;
more sets or networks add to what is there.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from dancejax import registries
from dancejax.applications import cross
from dancejax.applications.programs import cross as program

from . import common, flagtypes, jobs, settings

FLAGS = flags.FLAGS


def read(*, shared: bool) -> tuple[dict[str, Path], cross.Settings, settings.Work]:
    """Where the sets are, the table, and the work folder."""
    work = settings.work(shared=shared)
    folders = cross.find_folders(FLAGS.condensed)
    table = cross.Settings(
        cross.find_sets(FLAGS.condensed),
        FLAGS.networks,
        settings.data(),
        evaluation=settings.evaluation(),
        options=settings.precision(),
        seed=FLAGS.seed,
        other_data=FLAGS.other_data,
    )
    return folders, table, work


def main() -> None:
    how = jobs.read()
    folders, table, work = read(shared=how.shared)
    jobs.run(how, work, program.Cross(table, folders, work.run, common.say))


if __name__ == "__main__":
    settings.define_data()
    settings.define_precision()
    settings.define_run()
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns", required=True)
    flagtypes.define_texts(
        "networks",
        f"networks to train, NAME or NAME:OPTION=VALUE: {', '.join(registries.NETWORKS)}",
        required=True,
    )
    settings.define_placement()
    settings.define_evaluation(3, "networks of each kind to train", test_points=5)
    settings.define_other_data()
    jobs.define("SET-NETWORK")
    common.run(main, backend=lambda: jobs.read().computes)
