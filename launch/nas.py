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

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from dancejax import choices, registries, runs
from dancejax.applications import cross, loads, nas, settings as kinds, spaces
from dancejax.runs.jobs import Job

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

    def whole() -> None:
        result = nas.search(
            given, run=work.run, say=common.say, begin=lambda train: common.start(work, {}, train)
        )
        show(result, work)

    def begin() -> None:
        job = nas.prepare(given, run=work.run, say=common.say)
        common.start(work, {}, job.train)

    def show_finished() -> None:
        found = nas.Search(nas.prepare(given, run=work.run))
        if found.read():
            found.result().write(work.path)
            show(found.result(), work)

    def plan() -> tuple[str, loads.Loads]:
        job = nas.prepare(given, run=work.run, say=common.say)
        return nas.plan(job), loads.of_nas(job)

    program = jobs.Program(
        work.path,
        parts(given, folders, work),
        prepare=lambda _: prepare(given, work),
        whole=whole,
        begin=begin,
        show=show_finished,
        describe=describe,
        plan=plan,
    )
    jobs.run(how, program)


def show(result: nas.Result, work: settings.Work) -> None:
    """Show the tables, and say where all networks are."""
    common.show(result.table())
    common.say(f"all networks: {work.path / 'ranking.csv'}")


def networks(given: nas.Settings) -> dict[str, str]:
    """Each network of the space as a space of its own, by the name of its folder."""
    found = {}
    for options in spaces.members(spaces.parse(given.space)):
        name = spaces.name_of(given.network.chosen, options)
        own = spaces.describe({option: (value,) for option, value in options.items()})
        found[spaces.folder_of(name)] = own
    return found


def parts(given: nas.Settings, folders: Sequence[Path], work: settings.Work) -> list[Job]:
    """The coresets, the networks, and what is chosen among them: each with its command."""

    def job(name: str, folder: Path, after: Sequence[str], **changes: list[object]) -> Job:
        argv = jobs.command({"workdir": [work.path], **sets, **changes, "cells": [name]})
        return Job(name, folder, argv, nas.RECORD, tuple(after))

    joined = ",".join(str(path.absolute()) for path in folders)
    sets: dict[str, list[object]] = {"condensed": [joined]} if joined else {}
    apart: dict[str, list[object]] = {"top_share": [], "resamples": []}
    first: list[Job] = []
    if given.coresets:
        only: dict[str, list[object]] = {**apart, "whole": [], "whole_epochs": []}
        first = [job(choices.PROXIES, work.path / choices.PROXIES, (), **only)]
    after = [other.name for other in first]
    base = work.path / nas.NETWORKS
    every = [
        job(name, base / name, after, space=[space], **apart)
        for name, space in networks(given).items()
    ]
    last: list[Job] = []
    if not given.whole:
        last = [job(choices.CHOSEN, work.path / choices.CHOSEN, [other.name for other in every])]
    return [*first, *every, *last]


def prepare(given: nas.Settings, work: settings.Work) -> Callable[[str], None]:
    """Read the data; returns what makes a part in its folder."""
    job = nas.prepare(given, run=work.run, say=common.say)
    names = {spaces.folder_of(name): name for name in job.networks}

    @functools.cache
    def search() -> nas.Search:
        return nas.Search(job)

    def make(name: str) -> None:
        if name == choices.PROXIES:
            nas.make_coresets(job, common.say)
        elif name == choices.CHOSEN:
            found = nas.Search(job)
            found.read()
            found.train_chosen(common.say)
        else:
            common.show(search().train(names[name]))

    return make


def describe(job: Job) -> str:
    """What a finished part came to: validation accuracies, or which there are."""
    found = runs.read_json(job.folder / job.result)
    if job.name == choices.PROXIES:
        return ", ".join(found["coresets"])
    accuracies = found["test"] if job.name == choices.CHOSEN else found["validation"]
    return ", ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())


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
