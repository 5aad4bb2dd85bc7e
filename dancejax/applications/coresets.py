"""A coreset as a job: what it needs is read or trained, and the chosen images are saved."""

import dataclasses

from dancejax import condensed, coreset, records
from dancejax.applications import pool
from dancejax.applications.settings import (
    Begin,
    ExpertSettings,
    NetworkSettings,
    Say,
    Source,
    quiet,
)
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.coreset import CORESETS, Means
from dancejax.data.dataset import Dataset
from dancejax.runs import Run
from dancejax.training import experts, loop


@dataclasses.dataclass(frozen=True)
class Settings:
    """A coreset.

    Attributes:
      name: one of `coreset.CORESETS`.
      source: the data set.
      ipc: images per class.
      seed: of everything random.
      network: what is trained for it.
      experts: how, or the pool whose first network gives features.
    """

    name: str
    source: Source
    ipc: int
    seed: int = 0
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)


def select(
    settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None
) -> CondensedSet:
    """Choose a coreset and save it.

    Args:
      settings: which.
      run: with a folder, for the set in condensed/; the same call goes on after an interruption.
      say: takes what is done, in sentences.
      begin: called with the training set when everything is checked and nothing is written yet.

    Raises:
      UserError: a class has fewer images, the folder holds another set, or the pool is of another
        network or data.
    """
    source = settings.source.sized(say)
    train = source.load("train")
    needs = CORESETS[settings.name].needs
    coreset.check_ipc(train, settings.ipc)
    if run.folder is not None:
        chosen = {"ipc": settings.ipc, "seed": settings.seed}
        wanted = {"method": settings.name, "source": dataset_source(train), "settings": chosen}
        records.check_set(run.folder / "condensed", wanted)
    if needs == "experts":
        pool.check(settings.experts, settings.network, train, 1)
    if begin is not None:
        begin(train)
    means = Means(run=run)
    if needs == "training":
        network = settings.network.create(train)
        config = settings.experts.training(train, cutmix=0.0)
        means = Means(network=network, config=config, run=run)
    elif needs == "experts":
        one = dataclasses.replace(settings.experts, count=1)
        folder = pool.ready(
            train,
            source,
            settings.network,
            one,
            seed=settings.seed,
            say=say,
            run=run.within("experts"),
        )
        found = experts.load_pool(folder, count=1, dataset=train)
        about = {"training": found.description["training"]}
        means = Means(experts=found, run=run, settings=about)
    return make(settings.name, train, settings.ipc, seed=settings.seed, means=means)


def make(name: str, dataset: Dataset, ipc: int, *, seed: int, means: Means) -> CondensedSet:
    """Choose a coreset and save it in the folder of the means' run."""
    chosen = coreset.choose(name, dataset, ipc, seed=seed, means=means)
    folder = means.run.folder
    if folder is not None:
        condensed.save(chosen, folder / "condensed")
        loop.clear(folder / "training")
    return chosen
