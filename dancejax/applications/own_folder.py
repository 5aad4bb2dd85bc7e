"""One data set as a whole job: a plan, experts, condensation, evaluation, pictures and a report.

`condense` does all of it. `prepare` checks everything and chooses what nobody gave; the other
functions are the parts that follow, for programs that do something in between.
"""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn

from dancejax import (
    condensation,
    condensed,
    coreset,
    figures,
    initialisation,
    methods,
    networks,
    records,
    report,
    runs,
)
from dancejax.applications import assess, budget, plan, pool, sides
from dancejax.applications.assess import Assessment, Tested
from dancejax.applications.resolve import Chosen, Settings, choose, listing, settings_for
from dancejax.applications.settings import NetworkSettings, Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Method
from dancejax.report import gallery
from dancejax.runs import Run, parallel
from dancejax.training import protocols
from dancejax.training.experts import (
    Experts,
    expert_training,
    finished,
    load_pool,
    read_description,
)
from dancejax.types import Json

__all__ = [
    "Job",
    "Outcome",
    "Settings",
    "carry_out",
    "compare",
    "condense",
    "make",
    "prepare",
    "ready_experts",
    "settings_for",
]

LONG = 5.0
"""Seconds of an iteration that are worth a word."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job that is checked: settings that hold, and what is made of them.

    Attributes:
      settings: with what the preset chose.
      preset: one of PRESETS.
      init: what the stored images start from.
      train: the training set.
      test: the test set, where the result is evaluated.
      method: made for the network.
      network: what is trained; of several in turns the first, by which the result is evaluated.
      used: how many experts of the pool are used (None: all).
      run: with the job's folder.
      fitted: the plan that fills the minutes given, if some are.
    """

    settings: Settings
    preset: str
    init: str | CondensedSet
    train: Dataset
    test: Dataset | None
    method: Method
    network: nn.Module
    used: int | None
    run: Run
    fitted: plan.Plan | None = None

    @property
    def steps(self) -> int:
        """Iterations."""
        assert self.settings.steps is not None
        return self.settings.steps

    def about(self) -> Json:
        """What config.json says."""
        return {
            "method": self.method.name,
            "preset": self.preset,
            "steps": self.steps,
            **dataclasses.asdict(self.method.config),
            "network": networks.identity(self.network),
            **records.networks_of(self.method),
        }


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
      made: the condensed set.
      train: what it was made from.
      experts: those it was made with, if any; of several networks' the first one's.
      evaluations: by "random images" and the method's name; empty where nothing was.
      summary: a table of them as Markdown; empty likewise.
    """

    made: CondensedSet
    train: Dataset
    experts: Experts | None
    evaluations: dict[str, Assessment]
    summary: str = ""


def condense(
    settings: Settings, *, run: Run, say: Say = quiet, command: str = "this notebook"
) -> Outcome:
    """Condense a data set, from its images to a report.

    Args:
      settings: what is given by hand.
      run: with a folder for all that is written; the same call goes on after an interruption.
      say: takes sentences about what is chosen and done.
      command: what the report says that it was made by.

    Raises:
      UserError: what is given does not fit together, or the folder holds another run.
    """
    return carry_out(prepare(settings, run=run, say=say), say=say, command=command)


def prepare(settings: Settings, *, run: Run, say: Say = quiet, estimate: bool | None = None) -> Job:
    """Choose what nobody gave, and check everything before hours of work; nothing is written.

    Args:
      settings: what is given by hand.
      run: with a folder.
      say: takes what is chosen, and what it will take.
      estimate: whether to time a few steps of each part (None: with auto, by counting alone).
    """
    if run.folder is None:
        raise UserError("a whole job needs a folder; give Run(FOLDER).")
    source = settings.source
    if settings.preset != "paper":
        source = source.sized(say)
    train, settings = source.load("train"), dataclasses.replace(settings, source=source)
    if settings.minutes is not None:
        job, chosen = _within(settings, train, run, say)
    else:
        chosen = choose(settings, train, say)
        job = _job(chosen, train, run)
    if chosen.plan is not None:
        say(_listed_choice(job, chosen.plan))
    initialisation.initial_pixels(
        train, settings.ipc, job.method.factor, init=job.init, seed=settings.seed
    )
    records.check_resume(
        run.folder, job.method, train, ipc=settings.ipc, init=job.init, seed=settings.seed
    )
    _warn_of_long_steps(job, say)
    wanted = job.preset == "auto" if estimate is None else estimate
    if wanted and settings.minutes is None:  # else what it takes was said
        say(_expectation(job, (plan.estimate if estimate else plan.counted)(_work(job), run)))
    return job


def _within(settings: Settings, train: Dataset, run: Run, say: Say) -> tuple[Job, Chosen]:
    """The job whose amounts fill the minutes that are given, timed here or as its folder has it."""
    assert settings.minutes is not None and run.folder is not None
    usual = choose(settings, train, quiet)
    if usual.preset != "auto":
        raise UserError("--minutes is for --preset=auto, which chooses settings; give that, too.")
    job, about = _job(usual, train, run), _planned_for(settings, usual.method, train)
    found = budget.read(run.folder, about)
    if found is None:
        assert usual.plan is not None
        paper = methods.paper(usual.method, train, settings.ipc)
        _, full = dataclasses.replace(usual.settings.evaluation, epochs=None).training(
            usual.method, train, decoded=settings.ipc * job.method.factor**2
        )
        most = {
            "expert_epochs": expert_training(min(train.image_shape[:2])).epochs,
            "steps": paper.steps,
            "epochs": full.epochs,
        }
        seconds, timed = 60 * settings.minutes, plan.estimate(_work(job), run)
        found, expected = budget.fit(usual.plan, timed, seconds, most=most, given=settings.given)
        say(_expectation(job, expected))
        if expected.seconds + expected.evaluation > seconds:
            say(f"{settings.minutes:g} minutes are too few for it; the least amounts are taken")
    chosen = choose(settings, train, say, found)
    return dataclasses.replace(_job(chosen, train, run), fitted=found), chosen


def _planned_for(settings: Settings, method: str, train: Dataset) -> Json:
    """What a plan for a time was made for."""
    return {
        "minutes": settings.minutes,
        "ipc": settings.ipc,
        "method": method,
        "dataset": train.fingerprint,
    }


def _job(chosen: Chosen, train: Dataset, run: Run) -> Job:
    """Make the network and the method; a pool that is there is checked, and says its network."""
    settings, test = chosen.settings, None
    if chosen.preset == "auto" if settings.evaluate is None else settings.evaluate:
        test = settings.source.load("test")
    modules = []
    for network in settings.network.each:
        folder = settings.experts.of(network).folder
        if folder is not None and methods.needs_experts(chosen.method):
            pool.check(settings.experts.of(network), network, train, chosen.used)
            network = NetworkSettings().over(read_description(folder)["network"])
        modules.append(network.create(train))
    method = methods.create(chosen.method, network=modules, **chosen.config)
    preset, first = chosen.preset, modules[0]
    return Job(settings, preset, chosen.init, train, test, method, first, chosen.used, run)


def _listed_choice(job: Job, chosen: plan.Plan) -> str:
    """What holds of what was chosen for a data set: what was given comes first."""
    settings = job.settings
    values = {
        **dataclasses.asdict(chosen),
        "batch_real": job.method.config.batch_real,
        "experts": settings.experts.number,
        "expert_epochs": settings.experts.epochs,
        "steps": job.steps,
        "epochs": settings.evaluation.epochs,
        "repeats": settings.evaluation.networks,
    }
    if settings.network.chosen != "convnet" or settings.experts.folder:
        del values["width"]  # the network's own, or the pool's
    else:
        values["width"] = settings.network.options["width"]
    if not job.method.needs_experts:
        del values["experts"], values["expert_epochs"]
    images, classes = len(job.train), job.train.num_classes
    return f"chosen for {images} images in {classes} classes: {listing(values)}"


def _warn_of_long_steps(job: Job, say: Say) -> None:
    """Say beforehand where an iteration takes long on this machine, and what shortens it."""
    seconds, name = plan.step_seconds(job.method, job.train, job.network, job.settings.ipc)
    if seconds > LONG:
        say(
            f"an iteration will take about {runs.duration(seconds)} on this machine, mostly by "
            f"--{name}={getattr(job.method.config, name)}; a smaller --{name} shortens it"
        )


def _work(job: Job) -> plan.Work:
    """What is left to be done, for an estimate."""
    settings, folder = job.settings, job.run.folder
    experts, factor = settings.experts, job.method.factor
    assert folder is not None
    pools = experts.folder or folder / "experts"
    available = min(finished(pools / network.folder) for network in settings.network.each)
    missing = 0 if experts.folder else max(0, experts.number - available)
    _, evaluation = settings.evaluation.training(
        job.method.name, job.train, decoded=settings.ipc * factor**2, factor=factor
    )
    return plan.Work(
        job.method,
        job.train,
        job.network,
        ipc=settings.ipc,
        steps=job.steps,
        expert_training=experts.training(job.train),
        expert_count=missing if job.method.needs_experts else 0,
        pool_size=max(1, available) if job.used is None else job.used,
        evaluation=evaluation,
        repeats=settings.evaluation.networks if job.test is not None else 0,
    )


def _expectation(job: Job, found: plan.Estimate) -> str:
    """What the run will take, in words: the result is evaluated, and random images."""
    rest, memory = "counted roughly; --dry_run times a few steps of each", found.step_memory_mb
    if memory is not None:
        rest = f"a step takes {memory:.0f} MB, the images {job.train.images.nbytes / 2**20:.0f} MB"
    return (
        f"expected: experts {runs.duration(found.experts)}, condensation "
        f"{runs.duration(found.condensation)}, evaluation {runs.duration(2 * found.evaluation)}, "
        f"compiling and pictures {runs.duration(found.setup)}, in all about "
        f"{runs.duration(found.seconds + found.evaluation)}, more on a busy machine; {rest}"
    )


def carry_out(job: Job, *, say: Say = quiet, command: str = "this notebook") -> Outcome:
    """Do a job that `prepare` made; arguments as of `condense`."""
    settings, folder = job.settings, job.run.folder
    assert folder is not None
    sides.keep(folder, settings.source, job.train)
    if job.fitted is not None:
        budget.write(folder, _planned_for(settings, job.method.name, job.train), job.fitted)
    experts = ready_experts(job, say=say)
    amount = f"{settings.ipc} images per class, {job.steps} iterations"
    say(f"{job.method.name} on {job.train.name}, {amount}")
    made, used = make(job, experts), next(iter(experts), None)
    if job.preset == "auto":
        tested = Tested(made, job.train, job.network, job.method.name)
        made = assess.record(tested, settings.evaluation)
    assess.drop_earlier(folder, made, say)
    condensed.save(made, folder / "condensed")
    figures.save_metrics(
        folder / "losses.png",
        folder / "metrics.jsonl",
        job.method.name,
        title=methods.title(job.method.name),
    )
    if job.test is None:
        return Outcome(made, job.train, used, {})
    evaluations = compare(job, made, job.test, say=say)
    return Outcome(made, job.train, used, evaluations, _report(job, say, command))


def ready_experts(job: Job, *, say: Say = quiet) -> list[Experts]:
    """Read the experts of each network of a job, of which those that are missing are trained."""
    if not job.method.needs_experts:
        return []
    settings, found = job.settings, []
    for network in settings.network.each:
        folder = pool.ready(
            job.train,
            settings.source,
            network,
            settings.experts.of(network),
            seed=settings.seed,
            say=say,
            run=job.run.within("experts").within(network.folder),
        )
        paths = settings.experts.trajectories
        found.append(load_pool(folder, count=job.used, dataset=job.train, trajectories=paths))
    return found


def make(job: Job, experts: Sequence[Experts]) -> CondensedSet:
    """Condense the data set of a job with the experts of each network; none are needed for some."""
    settings, every = job.settings, job.settings.picture_every
    every = max(1, job.steps // 10) if every is None else every
    return condensation.condense(
        job.method,
        job.train,
        ipc=settings.ipc,
        steps=job.steps,
        experts=list(experts) or None,
        init=job.init,
        seed=settings.seed,
        run=dataclasses.replace(job.run, picture_every=every),
    )


def compare(
    job: Job, made: CondensedSet, test: Dataset, *, say: Say = quiet
) -> dict[str, Assessment]:
    """Evaluate a condensed set and as many random images, which are saved beside it."""
    settings, how, name = job.settings, job.settings.evaluation, job.method.name
    random = job.run.within("random").opened()
    chosen = coreset.random(job.train, settings.ipc, seed=settings.seed)
    chosen = assess.record(Tested(chosen, test, job.network, name), how)
    assert random.folder is not None
    condensed.save(chosen, random.folder / "condensed")
    found = {}
    for text, taken, run in (("random images", chosen, random), (name, made, job.run)):
        tested = Tested(taken, test, job.network, name)
        _, config = how.training(name, test, **protocols.size_of(taken))
        say(f"evaluation: {text}, {how.networks} networks of {config.epochs} epochs")
        own = run.within("evaluation")
        found[text] = assess.assess(tested, how, seed=settings.seed, run=own)
    return found


def _report(job: Job, say: Say, command: str) -> str:
    """Draw pictures and write the report; returns its table, empty on processes that write none."""
    folder = job.run.folder
    if folder is None or not parallel.is_primary():
        return ""
    gallery.save_evolution(folder / "pictures", folder / "pictures")
    extra = job.settings.experts.folder
    content = report.gather([folder, *([extra] if extra else [])])
    title = f"{job.train.name}: {job.settings.ipc} images per class"
    pages = runs.open_workdir(folder / "report")
    report.write(content, pages, report.Page(title, command))
    say(f"report: {pages / 'report.html'}")
    return report.summary(content.entries)
