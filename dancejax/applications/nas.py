"""Architecture search with small sets: which network is best, found without the whole set.

Every network of a space is trained on each proxy - condensed sets, coresets, the whole set for as
few steps - and the one chosen that does best on validation images, which are a part of the training
images. Test images choose nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax

from dancejax import checks, condensed, coreset, runs, training
from dancejax.applications import assess, coresets, pool, spaces, trials
from dancejax.applications.ranking import EARLY, WHOLE, Proxy, Result
from dancejax.applications.settings import (
    Begin,
    DataSettings,
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Say,
    Source,
    quiet,
)
from dancejax.applications.trials import Outcome, Trial
from dancejax.condensed import CondensedSet
from dancejax.coreset import CORESETS, Means
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run, integrity
from dancejax.training import TrainConfig, experts

EPOCHS, WHOLE_EPOCHS = 200, 100
DM = EvaluationSettings("dm", EPOCHS, repeats=1)
KEPT_PROGRAMS = 16
"""Networks whose compiled programs are kept at once: those of all would fill the memory."""
WRITE_SECONDS = 20.0
"""Between two writings of the tables, which draw bootstrap samples."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """An architecture search; the defaults are DM's (WACV 2023, section 4.4).

    Attributes:
      source: the data set.
      space: as `spaces.parse` reads it.
      sets: condensed sets of the data set, by name.
      coresets: chosen from the training images, as proxies.
      ipc: images a class of the coresets, which also says how long early stopping trains.
      early_stopping: whether the whole set, trained on for as many steps as a coreset, is a proxy.
      whole: whether every network is trained on the whole set.
      whole_epochs: of training on the whole set.
      validation: share of the training images that choose.
      share: of the networks that are the top.
      resamples: of the bootstrap.
      network: what the space does not say.
      experts: for coresets that need one.
      training: of every network on every proxy: one protocol and number of epochs.
      other_data: whether sets of other data are taken.
      seed: of everything random.
    """

    source: Source
    space: str
    sets: Mapping[str, CondensedSet] = dataclasses.field(default_factory=dict)
    coresets: Sequence[str] = ("random",)
    ipc: int = 50
    early_stopping: bool = True
    whole: bool = False
    whole_epochs: int = WHOLE_EPOCHS
    validation: float = 0.1
    share: float = 0.05
    resamples: int = 1000
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)
    training: EvaluationSettings = DM
    other_data: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("ipc", "whole_epochs", "resamples"):
            checks.whole(name, getattr(self, name), 1)
        if not 0 < self.share <= 1:
            raise UserError(f"the top share must lie in (0, 1], not {self.share}.")
        for name in self.coresets:
            if name not in CORESETS:
                raise UserError(f"unknown coreset {name!r}; choose among {', '.join(CORESETS)}.")
        twice = {*self.sets} & {*self.coresets, EARLY, WHOLE}
        if twice:
            raise UserError(f"two proxies are called {min(twice)!r}; rename the set's folder.")
        if not (self.sets or self.coresets or self.early_stopping or self.whole):
            raise UserError("there is no proxy; give condensed sets or coresets.")


class Job(NamedTuple):
    """What is checked and loaded.

    Attributes:
      settings: of the search.
      networks: of the space, by name.
      train: the training images without those for validation.
      validation: images that choose.
      test: images that the chosen networks are tested on.
      run: with the work folder.
    """

    settings: Settings
    networks: Mapping[str, nn.Module]
    train: Dataset
    validation: Dataset
    test: Dataset
    run: Run

    @property
    def early_steps(self) -> int:
        """Steps that a network takes on a coreset, and by early stopping."""
        images = self.settings.ipc * self.train.num_classes
        config = _training(self)
        return config.epochs * training.steps_per_epoch(images, config.batch_size)


class Prepared(NamedTuple):
    """A proxy at hand: its description, what is trained on, how, and for how many steps at most."""

    about: Proxy
    train: CondensedSet | Dataset
    config: TrainConfig
    limit: int | None = None


def prepare(settings: Settings, *, run: Run, say: Say = quiet) -> Job:
    """Load the data and check everything; nothing is written.

    Args:
      settings: of the search.
      run: with the work folder.
      say: takes sentences about choices.

    Raises:
      UserError: a network that is not possible, or sets that do not fit the data.
    """
    if run.folder is None:
        raise UserError("an architecture search needs a folder; give Run(FOLDER).")
    source = settings.source.sized(say)
    if settings.sets and isinstance(source, DataSettings):
        source, _ = assess.check_sources(settings.sets, source, other_data=settings.other_data)
    whole, test = source.load("train"), source.load("test")
    for name, made in settings.sets.items():
        if made.classes != whole.classes or made.image_shape != whole.image_shape:
            raise UserError(f"the set {name!r} has other classes or images than {whole.name}.")
    train, validation = whole.split(settings.validation, seed=settings.seed)
    if settings.coresets:
        coreset.check_ipc(train, settings.ipc)
    found = spaces.create(spaces.parse(settings.space), train, settings.network)
    job = Job(settings, found, train, validation, test, run)
    _training(job)
    return job


def search(settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None) -> Result:
    """Train every network on every proxy, choose, and train what was chosen on the whole set.

    Args:
      settings: of the search.
      run: with a folder, for a folder of each network, result.json, ranking.csv, table.md and
        metrics.jsonl, which hold the networks so far while the rest is computed; the same call
        goes on after an interruption, and more proxies add to what is there.
      say: takes what is done, in sentences.
      begin: called with the training set when everything is checked and nothing is written yet.

    Raises:
      UserError: as `prepare`.
    """
    job = prepare(settings, run=run, say=say)
    if begin is not None:
        begin(job.train)
    proxies = _proxies(job, say)
    say(
        f"{len(job.networks)} networks on {', '.join(p.about.title for p in proxies)}; "
        f"{len(job.validation)} of the training images choose"
    )
    return _Search(job, proxies).run_to_end(say)


def _training(job: Job) -> TrainConfig:
    """How networks are trained on proxies."""
    return job.settings.training.training("", job.test)[1]


def _proxies(job: Job, say: Say) -> list[Prepared]:
    """The proxies in the order of the table; coresets are chosen, or read if they are there."""
    settings, config = job.settings, _training(job)

    def steps(images: int, epochs: int) -> int:
        return epochs * training.steps_per_epoch(images, config.batch_size)

    sets = {name: _coreset(job, name, say) for name in settings.coresets} | dict(settings.sets)
    found = []
    for name, made in sets.items():
        known = made.method if made.ipc == settings.ipc else ""
        decoded = len(made.labels) * made.factor**2
        about = Proxy(name, known, len(made.labels), steps(decoded, config.epochs))
        found.append(Prepared(about, made, config))
    count = len(job.train)
    whole = dataclasses.replace(config, epochs=settings.whole_epochs)
    if settings.early_stopping:
        limit = min(job.early_steps, steps(count, whole.epochs))
        found.append(Prepared(Proxy(EARLY, EARLY, count, limit), job.train, whole, limit))
    if settings.whole:
        about = Proxy(WHOLE, "whole_dataset", count, steps(count, whole.epochs))
        found.append(Prepared(about, job.train, whole))
    return found


def _coreset(job: Job, name: str, say: Say) -> CondensedSet:
    """A coreset of the training images without those for validation, in a folder of its own."""
    settings, train = job.settings, job.train
    run = job.run.within(f"proxies/{name}").opened()
    assert run.folder is not None
    if (run.folder / "condensed" / "manifest.json").exists():
        made = condensed.load(run.folder / "condensed")
        integrity.check_same(
            {"ipc": made.ipc, "dataset": made.source["fingerprint"]},
            {"ipc": settings.ipc, "dataset": train.fingerprint},
            run.folder,
        )
        return made
    network = settings.network.create(train)
    found = None
    if CORESETS[name].needs == "experts":
        one = dataclasses.replace(settings.experts, count=1)
        own = job.run.within("proxies/experts")
        pool.train(train, job.validation, network, one, seed=settings.seed, say=say, run=own)
        assert own.folder is not None
        found = experts.load_pool(own.folder, count=1, dataset=train)
    config = settings.experts.training(train, cutmix=0.0)
    means = Means(experts=found, network=network, config=config, run=run)
    return coresets.make(name, train, settings.ipc, seed=settings.seed, means=means)


class _Search:
    """A search at work: the networks so far, and their tables."""

    def __init__(self, job: Job, proxies: Sequence[Prepared]) -> None:
        self.job, self.proxies = job, proxies
        names = [proxy.about.name for proxy in proxies]
        self.validation: dict[str, list[float]] = {name: [] for name in names}
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.test: dict[str, float] = {}
        self.done: list[str] = []

    def run_to_end(self, say: Say) -> Result:
        """Train the networks that are not finished, and the chosen ones on the whole set."""
        job, due = self.job, runs.Every(WRITE_SECONDS)
        folder, log = job.run.folder, job.run.log()
        assert folder is not None
        log.rewind("nas", 0)
        total = len(job.networks) * len(self.proxies)
        with runs.Progress("nas", total, enabled=job.run.progress) as bar:
            for number, name in enumerate(job.networks, 1):
                for proxy in self.proxies:
                    self._train(name, proxy)
                    bar.update(bar.done + 1)
                self.done.append(name)
                best = {p: max(found) for p, found in self.validation.items()}
                now = {p: found[-1] for p, found in self.validation.items()}
                log.write("nas", number, **now, **{f"best_{p}": best[p] for p in best})
                if number == 1 or due.due():
                    self.result().write(folder)
                if number % KEPT_PROGRAMS == 0:
                    jax.clear_caches()
        log.close()
        self._train_chosen(say)
        result = self.result()
        result.write(folder)
        return result

    def _train(self, name: str, proxy: Prepared) -> None:
        found = self._measured(name, proxy)
        own = proxy.about.name
        self.validation[own].append(found.accuracies[0][0])
        self.seconds[own].append(found.seconds)
        if own == WHOLE:
            self.test[name] = found.accuracies[0][1]

    def _measured(self, name: str, proxy: Prepared) -> Outcome:
        """Train a network on a proxy in its folder, without a bar of its own."""
        job, whole = self.job, proxy.about.name == WHOLE
        tests = (job.validation, job.test) if whole else (job.validation,)
        network, seed = job.networks[name], job.settings.seed
        trial = Trial(proxy.train, tests, network, proxy.config, seed=seed, limit=proxy.limit)
        run = job.run.within(f"networks/{spaces.folder_of(name)}/{proxy.about.name}")
        return trials.measure(trial, run=dataclasses.replace(run, progress=False))

    def _train_chosen(self, say: Say) -> None:
        """Train on the whole set what the proxies chose, where that was not done."""
        config = dataclasses.replace(_training(self.job), epochs=self.job.settings.whole_epochs)
        about = Proxy(WHOLE, "", len(self.job.train), 0)
        for proxy in self.proxies:
            name = self.result().choice(proxy.about).network
            if name not in self.test:
                say(f"{name}, chosen by {proxy.about.title}, on the whole set")
                found = self._measured(name, Prepared(about, self.job.train, config))
                self.test[name] = found.accuracies[0][1]

    def result(self) -> Result:
        """What is computed so far."""
        settings, train = self.job.settings, self.job.train
        space = spaces.parse(settings.space)
        published = settings.ipc == 50 and space == spaces.parse("dm720")
        task = f"nas_{train.name}_720_convnets_50ipc"
        known = published and settings.network == NetworkSettings() and train.name == "cifar10"
        return Result(
            train.name,
            task if known else "",
            tuple(self.done),
            len(self.job.networks),
            tuple(proxy.about for proxy in self.proxies),
            {name: tuple(found) for name, found in self.validation.items()},
            dict(self.test),
            {name: tuple(found) for name, found in self.seconds.items()},
            settings.share,
            settings.resamples,
        )


def plan(job: Job) -> str:
    """Return what is to be done and what is there already, as Markdown; nothing is computed.

    Args:
      job: of `prepare`.
    """
    settings, config = job.settings, _training(job)
    early = [EARLY] if settings.early_stopping else []
    own = [*settings.coresets, *settings.sets, *early, *([WHOLE] if settings.whole else [])]
    lines = [
        f"{len(job.networks)} networks: {spaces.describe(spaces.parse(settings.space))}",
        f"{len(job.train)} training images, {len(job.validation)} for validation, "
        f"{len(job.test)} for testing; {config.epochs} epochs on sets, {settings.whole_epochs} on "
        f"the whole set, {job.early_steps} steps of early stopping",
        "",
        "| proxy | networks to train | there |",
        "|---|---|---|",
    ]
    base = job.run.within("networks").folder
    for name in own:
        paths = [base / spaces.folder_of(n) / name for n in job.networks] if base else []
        there = sum(trials.finished(path) for path in paths)
        lines.append(f"| {name} | {len(job.networks)} | {there} |")
    return "\n".join(lines)
