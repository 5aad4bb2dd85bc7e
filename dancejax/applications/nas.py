"""Architecture search with small sets: which network is best, found without the whole set.

Every network of a space is trained on each proxy - condensed sets, coresets, the whole set for as
few steps - and the one chosen that does best on validation images, which are a part of the training
images. Test images choose nothing.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax

from dancejax import condensed, runs, training
from dancejax.applications import coresets, pool, spaces, trials
from dancejax.applications.ranking import EARLY, WHOLE, Proxy, Result
from dancejax.applications.searches import (
    CHOSEN,
    NETWORKS,
    PROXIES,
    Job,
    Settings,
    prepare,
)
from dancejax.applications.settings import Begin, NetworkSettings, Say, quiet
from dancejax.applications.trials import Outcome, Trial
from dancejax.condensed import CondensedSet
from dancejax.coreset import CORESETS, Means
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run, integrity
from dancejax.training import TrainConfig, experts
from dancejax.types import Json

__all__ = [
    "CHOSEN",
    "NETWORKS",
    "PROXIES",
    "RECORD",
    "Job",
    "Result",
    "Search",
    "Settings",
    "make_coresets",
    "plan",
    "prepare",
    "search",
]

RECORD = "record.json"
"""In the folder of a network, of the coresets and of the end, when they are finished."""
KEPT_PROGRAMS = 16
"""Networks whose compiled programs are kept at once: those of all would fill the memory."""
WRITE_SECONDS = 20.0
"""Between two writings of the tables, which draw bootstrap samples."""


class Prepared(NamedTuple):
    """A proxy at hand: its description, what is trained on, how, and for how many steps at most."""

    about: Proxy
    train: CondensedSet | Dataset
    config: TrainConfig
    limit: int | None = None


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
    make_coresets(job, say)
    at_work = Search(job)
    say(
        f"{len(job.networks)} networks on {', '.join(p.about.title for p in at_work.proxies)}; "
        f"{len(job.validation)} of the training images choose"
    )
    return at_work.run_to_end(say)


def _proxies(job: Job) -> list[Prepared]:
    """The proxies in the order of the table; raises UserError if a coreset is not there."""
    settings, config = job.settings, job.training

    def steps(images: int, epochs: int) -> int:
        return epochs * training.steps_per_epoch(images, config.batch_size)

    sets = {name: _coreset(job, name) for name in settings.coresets} | dict(settings.sets)
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


def _coreset(job: Job, name: str) -> CondensedSet:
    """A coreset that is there, of the training images without those for validation."""
    settings, folder = job.settings, job.folder / PROXIES / name / "condensed"
    if not (folder / "manifest.json").exists():
        raise UserError(f"there is no {folder}; make it first, with --cells={PROXIES}.")
    made = condensed.load(folder)
    integrity.check_same(
        {"ipc": made.ipc, "dataset": made.source["fingerprint"]},
        {"ipc": settings.ipc, "dataset": job.train.fingerprint},
        folder.parent,
    )
    return made


def make_coresets(job: Job, say: Say = quiet) -> None:
    """Choose the coresets that are not there yet, each in a folder of its own.

    Args:
      job: of `prepare`.
      say: takes what is trained for them.
    """
    settings, train = job.settings, job.train
    folder = runs.open_workdir(job.folder / PROXIES) if settings.coresets else None
    for name in settings.coresets:
        run = job.run.within(f"{PROXIES}/{name}").opened()
        assert run.folder is not None
        if (run.folder / "condensed" / "manifest.json").exists():
            continue
        network, found = settings.network.create(train), None
        if CORESETS[name].needs == "experts":
            one = dataclasses.replace(settings.experts, count=1)
            own = job.run.within(f"{PROXIES}/experts")
            pool.train(train, job.validation, network, one, seed=settings.seed, say=say, run=own)
            assert own.folder is not None
            found = experts.load_pool(own.folder, count=1, dataset=train)
        config = settings.experts.training(train, cutmix=0.0)
        means = Means(experts=found, network=network, config=config, run=run)
        coresets.make(name, train, settings.ipc, seed=settings.seed, means=means)
    if folder is not None:
        runs.write_json(folder / RECORD, {"coresets": [*settings.coresets]})


class Search:
    """A search at work: its proxies, and the networks that are trained so far.

    Args:
      job: of `prepare`; the coresets are there (`make_coresets`).

    Raises:
      UserError: a coreset is not there, or is another one.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.proxies = job, _proxies(job)
        names = [proxy.about.name for proxy in self.proxies]
        self.validation: dict[str, list[float]] = {name: [] for name in names}
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.test: dict[str, float] = {}
        self.done: list[str] = []

    def run_to_end(self, say: Say) -> Result:
        """Train the networks that are not finished, and the chosen ones on the whole set."""
        job, due = self.job, runs.Every(WRITE_SECONDS)
        log = job.run.log()
        log.rewind("nas", 0)
        total = len(job.networks) * len(self.proxies)
        with runs.Progress("nas", total, enabled=job.run.progress) as bar:
            for number, name in enumerate(job.networks, 1):
                with runs.owned(job.network_folder(name)):
                    self.train(name, lambda: bar.update(bar.done + 1))
                self._log(log)
                if number == 1 or due.due():
                    self.result().write(job.folder)
        log.close()
        self.train_chosen(say)
        result = self.result()
        result.write(job.folder)
        return result

    def train(self, name: str, tick: Callable[[], object] = lambda: None) -> Json:
        """Train a network on every proxy in its folder, or read what is finished.

        Args:
          name: of the network.
          tick: called after each proxy.

        Returns:
          What the network's record.json says: accuracies in percent.
        """
        for proxy in self.proxies:
            self._take(name, proxy)
            tick()
        self.done.append(name)
        folder = runs.open_workdir(self.job.network_folder(name))
        own = {proxy: found[-1] for proxy, found in self.validation.items()}
        record = {"validation": own, "test": self.test.get(name)}
        runs.write_json(folder / RECORD, record)
        if len(self.done) % KEPT_PROGRAMS == 0:
            jax.clear_caches()
        return record

    def read(self) -> bool:
        """Take in the networks that are finished, and write metrics.jsonl; nothing is trained.

        Returns:
          Whether there are some.
        """
        log = self.job.run.log()
        log.rewind("nas", 0)
        for name in self.job.networks:
            folder = self.job.network_folder(name)
            if all(trials.finished(folder / proxy.about.name) for proxy in self.proxies):
                for proxy in self.proxies:
                    self._take(name, proxy)
                self.done.append(name)
                self._log(log)
        log.close()
        for name in self._chosen() if self.done else []:
            if trials.finished(self.job.network_folder(name) / WHOLE):
                self.test[name] = self._on_whole(name)
        return bool(self.done)

    def train_chosen(self, say: Say) -> None:
        """Train on the whole set what the proxies chose, where that was not done.

        Args:
          say: takes what is trained.

        Raises:
          UserError: not all networks are trained.
        """
        if missing := len(self.job.networks) - len(self.done):
            raise UserError(f"{missing} networks are not trained yet; make them first.")
        for name, title in self._chosen().items():
            say(f"{name}, chosen by {title}, on the whole set")
            with runs.owned(self.job.network_folder(name)):
                self.test[name] = self._on_whole(name)
        if not self.job.settings.whole:
            folder = runs.open_workdir(self.job.folder / CHOSEN)
            runs.write_json(folder / RECORD, {"test": self.test})

    def _chosen(self) -> dict[str, str]:
        """What proxies chose and is not known to be trained on the whole set, with their titles."""
        result, found = self.result(), dict[str, str]()
        for about in result.proxies:
            found.setdefault(result.choice(about).network, about.title)
        return {name: title for name, title in found.items() if name not in self.test}

    def _take(self, name: str, proxy: Prepared) -> None:
        found, own = self._measured(name, proxy), proxy.about.name
        self.validation[own].append(found.accuracies[0][0])
        self.seconds[own].append(found.seconds)
        if own == WHOLE:
            self.test[name] = found.accuracies[0][1]

    def _on_whole(self, name: str) -> float:
        """Train a network on the whole set, and return its accuracy on the test images."""
        config = dataclasses.replace(self.job.training, epochs=self.job.settings.whole_epochs)
        about = Proxy(WHOLE, "", len(self.job.train), 0)
        return self._measured(name, Prepared(about, self.job.train, config)).accuracies[0][1]

    def _measured(self, name: str, proxy: Prepared) -> Outcome:
        """Train a network on a proxy in its folder, without a bar of its own."""
        job, whole = self.job, proxy.about.name == WHOLE
        tests = (job.validation, job.test) if whole else (job.validation,)
        network, seed = job.networks[name], job.settings.seed
        trial = Trial(proxy.train, tests, network, proxy.config, seed=seed, limit=proxy.limit)
        folder = job.network_folder(name) / proxy.about.name
        return trials.measure(
            trial, run=dataclasses.replace(job.run, folder=folder, progress=False)
        )

    def _log(self, log: runs.MetricsLog) -> None:
        """Write a line for the network that came last."""
        now = {proxy: found[-1] for proxy, found in self.validation.items()}
        best = {f"best_{proxy}": max(found) for proxy, found in self.validation.items()}
        log.write("nas", len(self.done), **now, **best)

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
    settings, config = job.settings, job.training
    early = [EARLY] if settings.early_stopping else []
    proxies = [*settings.coresets, *settings.sets, *early, *([WHOLE] if settings.whole else [])]
    lines = [
        f"{len(job.networks)} networks: {spaces.describe(spaces.parse(settings.space))}",
        f"{len(job.train)} training images, {len(job.validation)} for validation, "
        f"{len(job.test)} for testing; {config.epochs} epochs on sets, {settings.whole_epochs} on "
        f"the whole set, {job.early_steps} steps of early stopping",
        "",
        "| proxy | networks to train | there |",
        "|---|---|---|",
    ]
    for name in proxies:
        there = sum(trials.finished(job.network_folder(own) / name) for own in job.networks)
        lines.append(f"| {name} | {len(job.networks)} | {there} |")
    return "\n".join(lines)
