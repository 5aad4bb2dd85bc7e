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

from collections.abc import Callable
from pathlib import Path

from absl import flags

from dancejax import registries, runs
from dancejax.applications import cross, loads
from dancejax.runs.jobs import Job

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

    def whole() -> None:
        rows = cross.evaluate(
            table, run=work.run, say=common.say, begin=lambda _: common.start(work, {})
        )
        common.show(cross.table(rows))

    def begin() -> None:
        cross.prepare(table, run=work.run)
        common.start(work, {})

    def show() -> None:
        if rows := cross.finished(table, work.path):
            cross.write(rows, work.path)
            common.show(cross.table(rows))

    def plan() -> tuple[str, loads.Loads]:
        return "", loads.of_cross(cross.prepare(table, run=work.run))

    program = jobs.Program(
        work.path,
        parts(folders, table, work),
        prepare=lambda _: prepare(table, work),
        whole=whole,
        begin=begin,
        show=show,
        describe=lambda job: f"{runs.read_json(job.folder / job.result)['accuracy_mean']:.1f} %",
        plan=plan,
    )
    jobs.run(how, program)


def parts(folders: dict[str, Path], table: cross.Settings, work: settings.Work) -> list[Job]:
    """Each set on each network, with the command that makes it."""
    return [
        Job(
            cell.name,
            work.path / cell.name,
            jobs.command(
                {
                    "workdir": [work.path],
                    "condensed": [folders[cell.label].absolute()],
                    "networks": [cell.network],
                    "cells": [cell.name],
                }
            ),
            "result.json",
        )
        for cell in cross.cells(table)
    ]


def prepare(table: cross.Settings, work: settings.Work) -> Callable[[str], None]:
    """Read the data; returns what evaluates a set on a network in the cell's folder."""
    job, cells = cross.prepare(table, run=work.run), {c.name: c for c in cross.cells(table)}
    return lambda name: common.show(cross.carry_out(job, cells[name]))


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
