"""Class-incremental learning with a memory that any method or coreset makes.

Classes come step by step; at each step the new ones alone are condensed, or images of them chosen,
and join the memory, from which nothing is dropped. Then networks are trained from scratch on the
memory (GDumb) and tested on all classes seen.

Each method in each order of the classes is a part with a folder of its own; so are the experts of
an order, which the parts of methods that need them read.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax import condensation, condensed, coreset, methods, multiformation, names, runs
from dancejax.applications import coresets, incremental, pool, trials
from dancejax.applications.courses import WHOLE, Course, Result, title
from dancejax.applications.parts import Part, Settings
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.applications.trials import Trial
from dancejax.condensed import CondensedSet
from dancejax.coreset import CORESETS, Means
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run, integrity
from dancejax.training import TrainConfig, experts, protocols
from dancejax.types import Json

__all__ = [
    "WHOLE",
    "Course",
    "Job",
    "Part",
    "Result",
    "Settings",
    "carry_out",
    "finished",
    "learn",
    "plan",
    "prepare",
    "ready_experts",
    "result_of",
    "trained_on",
]

RECORD = "part.json"
COURSE = "course.json"
"""What a finished part came to, in its folder."""
EXPERTS = "experts.json"
"""That the experts of an order are all there, in their folder."""


def experts_folder(order: int) -> str:
    """Return the folder of an order's experts below the work folder."""
    return f"order-{order}/experts"


class Job(NamedTuple):
    """What is checked and loaded; `carry_out` does one part of it.

    Attributes:
      settings: what is to be done.
      train: training images of all classes.
      test: test images of all classes.
      run: with the work folder.
    """

    settings: Settings
    train: Dataset
    test: Dataset
    run: Run

    def steps(self, order: int) -> list[np.ndarray]:
        """The labels of each step's classes."""
        return incremental.class_steps(self.train.num_classes, self.settings.steps, order)

    def within(self, part: Part) -> Run:
        """The run of a part."""
        return self.run.within(part.name)

    def experts_run(self, order: int, step: int) -> Run:
        """The run of a step's pool of experts."""
        return self.run.within(f"{experts_folder(order)}/step-{step + 1}")


def prepare(settings: Settings, *, run: Run, say: Say = quiet) -> Job:
    """Load the data and check everything; nothing is written.

    Args:
      settings: what is to be done.
      run: with the work folder.
      say: takes sentences about choices.

    Raises:
      UserError: settings that do not fit the data or each other, or parts that are there and were
        made otherwise.
    """
    if run.folder is None:
        raise UserError("continual learning needs a folder; give Run(FOLDER).")
    source = settings.source.sized(say)
    job = Job(settings, source.load("train"), source.load("test"), run)
    job.steps(0)
    coreset.check_ipc(job.train, settings.ipc)
    network = settings.network.create(job.train)
    settings.training.training("", job.test)
    if settings.experts_needed:
        settings.experts.training(job.train)
    for name in settings.methods:
        if name in methods.METHODS:
            config = settings.paper(name, job.train).settings
            method = methods.create(name, network=network, **config)
            multiformation.check_factor(method.factor, *job.train.image_shape[:2])
    for part in settings.parts():
        _check_record(job, part)
    return job


def _record(job: Job, part: Part) -> Json:
    """What the memory of a part is made of."""
    settings, method = job.settings, part.method
    experts_used = settings.experts_of(method)
    record: dict[str, Any] = {
        "method": method,
        "dataset": job.train.fingerprint,
        "classes": [labels.tolist() for labels in job.steps(part.order)],
        "ipc": settings.ipc,
        "seed": settings.seed + part.order,
    }
    if method == WHOLE:
        return record
    if method in methods.METHODS:
        paper = settings.paper(method, job.train)
        record |= {"iterations": paper.steps, "settings": paper.settings, "init": paper.init}
    if method in methods.METHODS or CORESETS[method].needs:
        record["network"] = dataclasses.asdict(settings.network)
    if experts_used or (method in CORESETS and CORESETS[method].needs):
        record["experts"] = experts_used
        record["training"] = dataclasses.asdict(settings.experts.training(job.train))
    return record


def _check_record(job: Job, part: Part) -> None:
    folder = job.within(part).folder
    if folder is not None and (folder / RECORD).exists():
        found = integrity.read_manifest(folder / RECORD)["memory"]
        integrity.check_same(found, integrity.plain(_record(job, part)), folder)


def learn(settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None) -> Result:
    """Make memories by all methods in all orders, train on them and test.

    Args:
      settings: what is to be done.
      run: with a folder, for a folder of each part, result.json, result.csv, table.md and
        curve.png; the same call goes on after an interruption, and more methods or orders add to
        what is there.
      say: takes what is done, in sentences.
      begin: called with the training set when everything is checked and nothing is written yet.

    Returns:
      The result, which the folder's files hold for the parts so far while the rest is computed.

    Raises:
      UserError: as `prepare`.
    """
    job = prepare(settings, run=run, say=say)
    if begin is not None:
        begin(job.train)
    courses: list[Course] = []
    parts = settings.parts()
    for number, part in enumerate(parts, 1):
        say(f"{number}/{len(parts)} order {part.order}: {title(part.method)}")
        if number == 1 or parts[number - 2].order != part.order:
            ready_experts(job, part.order, say=say)
        folder = job.within(part).folder
        assert folder is not None
        with runs.owned(folder):
            courses.append(carry_out(job, part, say=say))
        result = result_of(job, courses)
        if run.folder is not None:
            result.write(run.folder)
    return result


def result_of(job: Job, courses: Sequence[Course]) -> Result:
    """Return what some parts came to."""
    return Result(job.train.name, job.settings.ipc, job.settings.steps, tuple(courses))


def finished(job: Job) -> list[Course]:
    """Read what the finished parts came to, from their folders.

    Args:
      job: of `prepare`.
    """
    paths = [(job.within(part).folder or Path()) / COURSE for part in job.settings.parts()]
    return [Course.from_json(runs.read_json(path)) for path in paths if path.exists()]


def ready_experts(job: Job, order: int, *, say: Say = quiet) -> None:
    """Train the experts of an order, a pool for each step, where the methods need them.

    Args:
      job: of `prepare`.
      order: number of the order.
      say: takes what is trained.
    """
    settings = job.settings
    if not settings.experts_needed:
        return
    wanted = dataclasses.replace(settings.experts, count=settings.experts_needed, folder=None)
    for step, labels in enumerate(job.steps(order)):
        train, test = (
            incremental.of_classes(part, labels, renumbered=True) for part in (job.train, job.test)
        )
        own = job.experts_run(order, step)
        network = settings.network.create(train)
        pool.train(train, test, network, wanted, seed=settings.seed + order, say=say, run=own)
    if (folder := job.run.within(experts_folder(order)).folder) is not None:
        runs.write_json(folder / EXPERTS, {"experts": settings.experts_needed})


def carry_out(job: Job, part: Part, *, say: Say = quiet) -> Course:
    """Do one part: make its memory step by step, train on it and test.

    Args:
      job: of `prepare`.
      part: which; its experts are there (`ready_experts`).
      say: takes what is done.

    Raises:
      UserError: the part is there and was made otherwise, or its experts are missing.
    """
    _check_record(job, part)
    run, settings = job.within(part).opened(), job.settings
    assert run.folder is not None
    runs.write_json(
        run.folder / RECORD, integrity.seal(integrity.plain({"memory": _record(job, part)}))
    )
    steps = job.steps(part.order)
    network = settings.network.create(job.train)
    tests = [incremental.of_classes(job.test, labels, renumbered=False) for labels in steps]
    sets: list[CondensedSet] = []
    images, found = [], []
    for step in range(len(steps)):
        say(f"order {part.order}, {title(part.method)}: step {step + 1} of {len(steps)}")
        train = _memory(job, part, step, sets)
        images.append(len(train.labels))
        outcome = trials.measure(
            Trial(
                train,
                tuple(tests[: step + 1]),
                network,
                _training(job, part, **protocols.size_of(train)),
                networks=settings.training.networks,
                seed=settings.seed + part.order,
            ),
            run=run.within(f"step-{step + 1}/trained"),
        )
        found.append(outcome.accuracies)
    if isinstance(train, CondensedSet):
        condensed.save(train, run.folder / "condensed")
    course = Course(
        part.method,
        part.order,
        tuple(tuple(job.train.classes[label] for label in labels) for labels in steps),
        tuple(images),
        tuple(len(test) for test in tests),
        tuple(found),
    )
    runs.write_json(run.folder / COURSE, dataclasses.asdict(course))
    return course


def _memory(job: Job, part: Part, step: int, sets: list[CondensedSet]) -> CondensedSet | Dataset:
    """What networks are trained on after a step; adds the step's own set to `sets`."""
    steps = job.steps(part.order)
    if part.method == WHOLE:
        seen = np.concatenate(steps[: step + 1])
        return incremental.of_classes(job.train, seen, renumbered=False)
    sets.append(_make(job, part, step))
    return incremental.memory_of(sets, steps[: step + 1], job.train)


def _training(job: Job, part: Part, *, decoded: int, factor: int) -> TrainConfig:
    """How networks are trained on a memory, or on the whole set: `protocols.size_of` it."""
    how = job.settings.training
    if part.method == WHOLE:
        how = dataclasses.replace(how, epochs=job.settings.whole_epochs)
    return how.training(part.method, job.test, decoded=decoded, factor=factor)[1]


def trained_on(job: Job, part: Part, seen: np.ndarray, factor: int) -> tuple[int, TrainConfig]:
    """Foresee what networks are trained on after a step.

    Args:
      job: of `prepare`.
      part: which.
      seen: labels of the classes seen, int [c].
      factor: of the method.

    Returns:
      (training images, how).
    """
    counts = np.full(len(seen), job.settings.ipc * factor**2)
    if part.method == WHOLE:
        counts = job.train.class_counts[seen]
    config = _training(job, part, decoded=int(counts.max()), factor=factor)
    return int(counts.sum()), config


def _make(job: Job, part: Part, step: int) -> CondensedSet:
    """Make the set of a step's classes, or read it if it is there."""
    settings, method = job.settings, part.method
    labels, seed = job.steps(part.order)[step], settings.seed + part.order
    run = job.within(part).within(f"step-{step + 1}").opened()
    assert run.folder is not None
    folder = run.folder / "condensed"
    if (folder / "manifest.json").exists():
        return condensed.load(folder)
    train = incremental.of_classes(job.train, labels, renumbered=True)
    network, found = settings.network.create(train), None
    if count := settings.experts_of(method):
        where = job.experts_run(part.order, step).folder
        found = experts.load_pool(where or Path(), count=count, dataset=train)
    if method in CORESETS:
        config = settings.experts.training(train, cutmix=0.0)
        means = Means(experts=found, network=network, config=config, run=run)
        return coresets.make(method, train, settings.ipc, seed=seed, means=means)
    paper = settings.paper(method, job.train)
    made = condensation.condense(
        methods.create(method, network=found.network if found else network, **paper.settings),
        train,
        ipc=settings.ipc,
        steps=paper.steps,
        experts=found,
        init=paper.init,
        seed=seed,
        run=run,
    )
    condensed.save(made, folder)
    return made


def plan(job: Job) -> str:
    """Return what is to be done and what is there already, as Markdown; nothing is computed.

    Args:
      job: of `prepare`.
    """
    settings, sizes = job.settings, [len(labels) for labels in job.steps(0)]
    lines = [
        f"{job.train.name}: {job.train.num_classes} classes in {settings.steps} steps of "
        f"{', '.join(map(str, sizes))}; {settings.ipc} images a class in the memory, "
        f"{settings.ipc * job.train.num_classes} in the end",
        "",
        "| order | step | classes |",
        "|---|---|---|",
    ]
    for order in range(settings.orders):
        for step, labels in enumerate(job.steps(order), 1):
            named = ", ".join(names.markdown(job.train.classes[label]) for label in labels)
            lines.append(f"| {order} | {step} | {named} |")
    lines += ["", "| part | to make | there |", "|---|---|---|"]
    if settings.experts_needed:
        for order in range(settings.orders):
            pools = [job.experts_run(order, s).folder or Path() for s in range(settings.steps)]
            there = sum(map(experts.finished, pools))
            wanted = f"{settings.steps} x {settings.experts_needed} experts"
            lines.append(f"| order-{order}/experts | {wanted} | {there} |")
    return "\n".join([*lines, *(_planned(job, part) for part in settings.parts())])


def _planned(job: Job, part: Part) -> str:
    settings, steps = job.settings, job.settings.steps
    folder = job.within(part).folder or Path()
    own = [folder / f"step-{step + 1}" for step in range(steps)]
    there = sum((path / "condensed" / "manifest.json").exists() for path in own)
    trained = sum(trials.finished(path / "trained") for path in own)
    what = f"{steps} sets"
    if part.method in methods.METHODS:
        what += f" of {settings.paper(part.method, job.train).steps} iterations"
    networks = f"{steps} x {settings.training.networks} networks"
    wanted, found = f"{what}, {networks}", f"{there} sets, {trained} networks"
    if part.method == WHOLE:
        wanted, found = networks, f"{trained} networks"
    return f"| {part.name} | {wanted} | {found} |"
