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

from collections.abc import Callable
from typing import TypeAlias

from absl import flags

from dancejax import choices, registries, runs
from dancejax.applications import continual, loads, settings as kinds
from dancejax.runs.jobs import Job

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

    def whole() -> None:
        result = continual.learn(
            given, run=work.run, say=common.say, begin=lambda train: common.start(work, {}, train)
        )
        show(result, work)

    def begin() -> None:
        job = continual.prepare(given, run=work.run, say=common.say)
        common.start(work, {}, job.train)

    def show_finished() -> None:
        job = continual.prepare(given, run=work.run)
        if courses := continual.finished(job):
            result = continual.result_of(job, courses)
            result.write(work.path)
            show(result, work)

    every = parts(given, work)

    def plan() -> tuple[str, loads.Loads]:
        job = continual.prepare(given, run=work.run, say=common.say)
        return continual.plan(job), loads.of_continual(job)

    program = jobs.Program(
        work.path,
        [job for job, _ in every],
        prepare=lambda _: prepare({job.name: made for job, made in every}, given, work),
        whole=whole,
        begin=begin,
        show=show_finished,
        describe=describe,
        plan=plan,
    )
    jobs.run(how, program)


def show(result: continual.Result, work: settings.Work) -> None:
    """Show the table, and say where the curve is."""
    common.show(result.table())
    common.say(f"curve: {work.path / 'curve.png'}")


Made: TypeAlias = "continual.Part | int"
"""A part, or the number of the order whose experts are trained."""


def parts(given: continual.Settings, work: settings.Work) -> list[tuple[Job, Made]]:
    """The experts of each order, if some are needed, and each method in each order."""
    found: list[tuple[Job, Made]] = []
    for order in range(given.orders):
        name = f"order-{order}-experts"
        if given.experts_needed:
            folder = work.path / continual.experts_folder(order)
            argv = jobs.command({"workdir": [work.path], "orders": [order + 1], "cells": [name]})
            found.append((Job(name, folder, argv, continual.EXPERTS), order))
        for part in [part for part in given.parts() if part.order == order]:
            after = (name,) if given.experts_of(part.method) else ()
            job = Job(
                f"order-{order}-{part.method}",
                work.path / part.name,
                jobs.command({"workdir": [work.path], **flags_of(part)}),
                continual.COURSE,
                after,
            )
            found.append((job, part))
    return found


def flags_of(part: continual.Part) -> dict[str, list[object]]:
    """What one part is made by, which stays the same when there are more."""
    whole = part.method == continual.WHOLE
    bound: dict[str, list[object]] = {} if whole else {"upper_bound": [], "whole_epochs": []}
    return {
        "orders": [part.order + 1],
        "methods": ["random" if whole else part.method],  # random: no part of the upper bound
        **bound,
        "cells": [f"order-{part.order}-{part.method}"],
    }


def prepare(
    every: dict[str, Made], given: continual.Settings, work: settings.Work
) -> Callable[[str], None]:
    """Read the data; returns what makes a part in its folder."""
    job = continual.prepare(given, run=work.run, say=common.say)

    def make(name: str) -> None:
        part = every[name]
        if isinstance(part, int):
            continual.ready_experts(job, part, say=common.say)
        else:
            course = continual.carry_out(job, part, say=common.say)
            common.show(continual.result_of(job, [course]).table())

    return make


def describe(job: Job) -> str:
    """What a finished part came to: its final accuracy, or how many experts there are."""
    found = runs.read_json(job.folder / job.result)
    if "experts" in found:
        return f"{found['experts']} experts a step"
    course = continual.Course.from_json(found)
    finals = [course.curve(number)[-1] for number in range(course.networks)]
    return f"{sum(finals) / len(finals):.1f} %"


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
