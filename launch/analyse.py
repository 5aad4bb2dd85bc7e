"""Analyses condensed sets as the papers' figures and tables do, each with a plot and a CSV file.

    python -m launch.analyse --dataset=cifar10 --condensed='runs/sweep/*-ipc10-seed0/condensed' \\
        --analyses=moments,discrepancy --workdir=runs/analyses

Each analysis is a folder of the work folder: analysis.json, rows.csv, plot.svg. Analyses that need
trained networks take those of --expert_dir that no set was made with, or train some in
WORKDIR/experts. Analyses can be done side by side (--engine=local --parallel=N, or --engine=slurm;
--status says how far they are). The same command goes on after an interruption; analyses that are
there already are not done again.
"""

from __future__ import annotations

from collections.abc import Callable

from absl import flags

from dancejax import analysis, choices, registries, runs
from dancejax.applications import analyse, cross, loads
from dancejax.runs.jobs import Job

from . import common, flagtypes, jobs, settings

FLAGS = flags.FLAGS


def define_config() -> None:
    """A flag for each setting of the analyses."""
    for name, users in analysis.setting_users().items():
        meanings = [
            f"{owner}: {s.meaning}" + ("" if s.default is None else f" (default: {s.default:g})")
            for owner, s in users.items()
        ]
        kind = next(iter(users.values())).kind
        define = flags.DEFINE_integer if kind is int else flagtypes.define_number
        define(name, None, "; ".join(meanings))


def read(*, shared: bool) -> tuple[analyse.Settings, settings.Work]:
    """What is analysed, and the work folder."""
    work = settings.work(shared=shared)
    given = analyse.Settings(
        cross.find_folders(FLAGS.condensed),
        FLAGS.analyses,
        settings.data(),
        network=settings.network(),
        experts=settings.experts(),
        config={n: FLAGS[n].value for n in analysis.setting_users() if FLAGS[n].present},
        seed=work.seed,
        other_data=FLAGS.other_data,
    )
    return given, work


def main() -> None:
    how = jobs.read()
    given, work = read(shared=how.shared)
    about = {"analyses": given.analyses, "sets": list(given.folders)}

    def whole() -> None:
        found = analyse.analyse(
            given,
            run=work.run,
            say=common.say,
            begin=lambda train: common.start(work, about, train),
        )
        common.show(analyse.summary(found))

    def begin() -> None:
        job = analyse.prepare(given, run=work.run)
        common.start(work, about, job.material.train)

    def show() -> None:
        paths = {name: work.path / name / analyse.RESULT for name in given.analyses}
        found = {name: runs.read_json(path) for name, path in paths.items() if path.exists()}
        common.show(analyse.summary(found))

    def plan() -> tuple[str, loads.Loads]:
        return "", loads.of_analyses(analyse.prepare(given, run=work.run))

    program = jobs.Program(
        work.path,
        parts(given, work),
        prepare=lambda _: prepare(given, work),
        whole=whole,
        begin=begin,
        show=show,
        describe=describe,
        plan=plan,
    )
    jobs.run(how, program)


def parts(given: analyse.Settings, work: settings.Work) -> list[Job]:
    """The experts, if they are trained here, and the analyses: each with its command."""
    folders = ",".join(str(path.absolute()) for path in given.folders.values())
    shared: dict[str, list[object]] = {"workdir": [work.path], "condensed": [folders]}
    users = analysis.setting_users()
    found = []
    if given.own_experts:
        argv = jobs.command({**shared, "cells": [choices.EXPERTS]})
        found.append(Job(choices.EXPERTS, work.path / choices.EXPERTS, argv, "result.json"))
    for name in given.analyses:
        others: dict[str, list[object]] = {n: [] for n in users if name not in users[n]}
        argv = jobs.command({**shared, **others, "analyses": [name], "cells": [name]})
        needed = given.own_experts and "experts" in registries.ANALYSES[name].needs
        after = (choices.EXPERTS,) if needed else ()
        found.append(Job(name, work.path / name, argv, analyse.RESULT, after))
    return found


def prepare(given: analyse.Settings, work: settings.Work) -> Callable[[str], None]:
    """Read sets and data; returns what carries out an analysis in its folder."""
    job = analyse.prepare(given, run=work.run)

    def make(name: str) -> None:
        if name == choices.EXPERTS:
            analyse.train_experts(job, common.say)
        else:
            found = analyse.carry_out(analyse.check_experts(job, name), name, common.say)
            common.show(analyse.summary({name: found}))

    return make


def describe(job: Job) -> str:
    """What a finished part came to: an analysis's sentence, or how good the experts are."""
    found = runs.read_json(job.folder / job.result)
    if job.name == choices.EXPERTS:
        return f"{found['experts']} experts, {found['accuracy_mean']:.1f} %"
    return str(found["summary"])


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns", required=True)
    flagtypes.define_choices(
        "analyses", None, f"what to measure: {', '.join(registries.ANALYSES)}",
        list(registries.ANALYSES), required=True,
    )  # fmt: skip
    settings.define_training()
    settings.define_expert_dir()
    define_config()
    settings.define_other_data()
    jobs.define(f"moments; {choices.EXPERTS}: the experts, which come first")
    common.run(main, backend=lambda: jobs.read().computes)
