"""What an architecture search is of: its settings, and what they come to with the data."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn

from dancejax import checks, coreset, training
from dancejax.applications import assess, spaces
from dancejax.applications.ranking import EARLY, WHOLE
from dancejax.applications.settings import (
    DataSettings,
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Say,
    Source,
    quiet,
)
from dancejax.choices import CHOSEN as CHOSEN, PROXIES as PROXIES, SEARCH_EPOCHS, WHOLE_EPOCHS
from dancejax.condensed import CondensedSet
from dancejax.coreset import CORESETS
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run
from dancejax.training import TrainConfig

NETWORKS = "networks"
"""A folder below the work folder; PROXIES and CHOSEN are others, and the names of what makes the
coresets and ends the search."""
DM = EvaluationSettings("dm", SEARCH_EPOCHS, repeats=1)


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
    def folder(self) -> Path:
        """The work folder."""
        assert self.run.folder is not None
        return self.run.folder

    def network_folder(self, name: str) -> Path:
        """The folder of a network."""
        return self.folder / NETWORKS / spaces.folder_of(name)

    @property
    def training(self) -> TrainConfig:
        """How networks are trained on proxies."""
        return self.settings.training.training("", self.test)[1]

    @property
    def early_steps(self) -> int:
        """Steps that a network takes on a coreset, and by early stopping."""
        images = self.settings.ipc * self.train.num_classes
        config = self.training
        return config.epochs * training.steps_per_epoch(images, config.batch_size)


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
    settings.training.training("", test)  # refuses what cannot be
    return Job(settings, found, train, validation, test, run)
