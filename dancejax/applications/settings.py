"""Settings of whole jobs: a data set, a network, experts, an evaluation.

A field is None where nobody gave it by hand. What a preset chooses or a condensed set records then
fills it (`fill`, `NetworkSettings.over`), and after that the default: by hand > preset or record >
default.
"""

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn

from dancejax import data, methods, networks
from dancejax.applications import plan
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.data.huggingface import PREFIX, HuggingFace
from dancejax.errors import UserError
from dancejax.training import TrainConfig, experts, protocols
from dancejax.types import Record

Say = Callable[[str], None]
"""Takes a sentence for the user."""
Begin = Callable[[Dataset | None], object]
"""Called with the training set, if a job has one, when all is checked and nothing written yet."""
T = TypeVar("T", "ExpertSettings", "EvaluationSettings")


def quiet(text: str) -> None:
    """Say nothing."""


def fill(settings: T, lower: Record) -> T:
    """Fill the fields that are None from values of lower precedence, where they have these."""
    missing = {
        field.name: lower[field.name]
        for field in dataclasses.fields(settings)
        if field.name in lower and getattr(settings, field.name) is None
    }
    return dataclasses.replace(settings, **missing)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """A data set by name or path.

    Attributes:
      dataset: as `data.load` takes it.
      data_dir: folder of prepared data sets (None: TFDS's own).
      image_size: side to bring images to, pixels (None: as they are).
      flip: whether a mirrored image keeps its label (None: by the data set's name).
      hf_config: configuration of a Hugging Face data set (None: its default).
      hf_splits: names of its splits, for training and for testing (None: guessed).
      hf_columns: names of its columns, with images and with labels (None: guessed).

    Raises:
      UserError: a choice of Hugging Face data sets is given for another.
    """

    dataset: str
    data_dir: Path | None = None
    image_size: int | None = None
    flip: bool | None = None
    hf_config: str | None = None
    hf_splits: Sequence[str] | None = None
    hf_columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("hf_config", "hf_splits", "hf_columns"):
            if getattr(self, name) is not None and not self.dataset.startswith(PREFIX):
                raise UserError(
                    f"--{name} is for Hugging Face data sets; give --dataset={PREFIX}NAME or "
                    f"--dataset={PREFIX}FOLDER with it."
                )

    @property
    def source(self) -> str | HuggingFace:
        """What `data.load` takes."""
        if not self.dataset.startswith(PREFIX):
            return self.dataset
        path = self.dataset.removeprefix(PREFIX)
        return HuggingFace(path, self.hf_config, self.hf_splits or (), self.hf_columns or ())

    @property
    def name(self) -> str:
        """The data set's name, of which nothing is read; raises UserError where there is none."""
        return data.name_of(self.source, data_dir=self.data_dir)

    def load(self, split: str) -> Dataset:
        """Load "train" or "test"; the same again while somebody holds what was loaded."""
        held: weakref.WeakValueDictionary[str, Dataset]
        held = vars(self).setdefault("_held", weakref.WeakValueDictionary())
        found = held.get(split)
        if found is None:
            found = held[split] = data.load(
                self.source,
                data_dir=self.data_dir,
                split=split,
                image_size=self.image_size,
                flip=self.flip,
            )
        return found

    def sized(self, say: Say = quiet) -> "DataSettings":
        """Choose a size that suits the machine for images of several sizes."""
        if self.image_size is not None:
            return self
        sizes = data.image_sizes(self.source, data_dir=self.data_dir)
        if sizes is None or (size := plan.image_size(sizes)) is None:
            return self
        say(f"images are resized and centre-cropped to {size} (--image_size)")
        return dataclasses.replace(self, image_size=size)

    def like(self, made: CondensedSet) -> "DataSettings":
        """Take the image size and mirroring of a condensed set where they are not given."""
        size, flip = self.image_size, self.flip
        height, width, _ = made.image_shape
        if size is None and height == width:
            size = height
        if flip is None and "flip" in made.source:
            flip = made.source["flip"]
        return dataclasses.replace(self, image_size=size, flip=flip)


class Splits(NamedTuple):
    """A data set in memory, where a job takes `DataSettings`."""

    train: Dataset
    test: Dataset

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.train.name

    def load(self, split: str) -> Dataset:
        """Return "train" or "test"."""
        return self.train if split == "train" else self.test

    def sized(self, say: Say = quiet) -> "Splits":
        """Return the same: arrays have one size."""
        return self


Source = DataSettings | Splits


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """A network by name.

    Attributes:
      name: one of `networks.NETWORKS` (None: convnet).
      options: those given, as `networks.create` takes them.
      turns: further networks, which a condensation matches in turns with this one.
      folder: of its experts below those of all, where there are several networks.
    """

    name: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    turns: tuple["NetworkSettings", ...] = ()
    folder: str = ""

    @property
    def chosen(self) -> str:
        """The name that holds."""
        return self.name or "convnet"

    @property
    def each(self) -> tuple["NetworkSettings", ...]:
        """The networks that take turns, each alone; the first is what sets are evaluated by."""
        return (dataclasses.replace(self, turns=()), *self.turns)

    def over(self, lower: Record) -> "NetworkSettings":
        """Fill what is not given from a description ("name" and options) of lower precedence."""
        turns = tuple(own.over(lower) for own in self.turns)
        name = self.name or lower.get("name")
        if name != lower.get("name"):
            return dataclasses.replace(self, turns=turns)
        known = {k: v for k, v in lower.items() if k not in ("name", "num_classes")}
        return NetworkSettings(name, {**known, **self.options}, turns, self.folder)

    def create(self, dataset: Dataset) -> nn.Module:
        """Make the network for a data set."""
        return networks.create(
            self.chosen, dataset.num_classes, dataset.image_shape, **self.options
        )


@dataclasses.dataclass(frozen=True)
class ExpertSettings:
    """A pool of experts.

    Attributes:
      count: how many (None: default_count, or all of the pool in `folder`).
      epochs: of an expert (None: the paper's).
      batch_size: of an expert (None: the paper's).
      learning_rate: of SGD.
      snapshots: intermediate parameters kept of each (None: what the method needs).
      trajectories: whether the method needs the parameters after every epoch.
      folder: of a pool that is there (None: they are trained).
      default_count: how many are trained if nobody says.
    """

    count: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 0.01
    snapshots: int | None = None
    trajectories: bool = False
    folder: Path | None = None
    default_count: int = 5

    @property
    def number(self) -> int:
        """How many experts are trained."""
        return self.default_count if self.count is None else self.count

    @property
    def used(self) -> int | None:
        """How many experts of the pool are used; None: all of a pool that is there."""
        return self.count if self.folder else self.number

    def of(self, network: NetworkSettings) -> "ExpertSettings":
        """Return those of one of several networks, whose pool is in a folder of its own."""
        return dataclasses.replace(self, folder=self.folder and self.folder / network.folder)

    def training(self, dataset: Dataset, **overrides: Any) -> TrainConfig:
        """Return how an expert is trained; overrides: fields of TrainConfig."""
        given = {"epochs": self.epochs, "batch_size": self.batch_size}
        given = {name: value for name, value in given.items() if value is not None}
        return experts.expert_training(
            min(dataset.image_shape[:2]), learning_rate=self.learning_rate, **overrides, **given
        )


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How networks are trained on a set and tested.

    Attributes:
      protocol: "dm" or "dance" (None: the paper's of the set's method).
      epochs: of a network (None: the protocol's), as batch_size, learning_rate and draw.
      batch_size: images in a step.
      learning_rate: of SGD.
      draw: what draws its own augmentation, "batch" or "image".
      repeats: networks (None: default_repeats).
      test_points: epochs after which networks are tested.
      default_repeats: networks if nobody says.
    """

    protocol: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    draw: str | None = None
    repeats: int | None = None
    test_points: int = 5
    default_repeats: int = 10

    @property
    def networks(self) -> int:
        """How many networks are trained."""
        return self.default_repeats if self.repeats is None else self.repeats

    def training(
        self, method: str, dataset: Dataset, *, decoded: int | None = None, factor: int = 1
    ) -> tuple[str, TrainConfig]:
        """Return the protocol's name and how it trains on a set.

        Args:
          method: of the set; "" for real images.
          dataset: a split of the data set that the set is of.
          decoded: training images per class of the set.
          factor: tiles a side of its stored images.
        """
        given = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "draw": self.draw,
        }
        name = self.protocol or methods.protocol_of(method)
        config = protocols.protocol(
            name,
            dataset.name,
            flip=dataset.flip,
            side=min(dataset.image_shape[:2]),
            num_classes=dataset.num_classes,
            decoded=decoded,
            factor=factor,
            **{name: value for name, value in given.items() if value is not None},
        )
        return name, config
