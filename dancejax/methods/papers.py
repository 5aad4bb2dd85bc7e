"""What a paper says about running its method; each method's file says it in `paper`."""

import dataclasses
from typing import Any, Protocol

import numpy as np

from dancejax import augment
from dancejax.methods.settings import Ablation as Ablation
from dancejax.types import Json

LARGE = 128
"""Image side in pixels from which on the papers' settings for ImageNet subsets hold."""
TINY = 49
"""Image side in pixels from which on, up to LARGE, those for TinyImageNet hold."""


class DatasetLike(Protocol):
    """A data set, as far as the papers' settings depend on it."""

    @property
    def name(self) -> str: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def flip(self) -> bool: ...
    @property
    def class_counts(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """A data set that is not at hand: what `paper` asks of one.

    Attributes:
      name: of the data set; the papers treat "cifar10" and "cifar100" apart.
      image_shape: (h, w, c).
      flip: whether a mirrored image keeps its label.
      class_counts: images of each class, int [C]; empty where they are not known.
    """

    name: str = "cifar10"
    image_shape: tuple[int, int, int] = (32, 32, 3)
    flip: bool = True
    class_counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))


@dataclasses.dataclass(frozen=True)
class Paper:
    """How a method's paper runs it on a data set at an IPC.

    Attributes:
      steps: iterations.
      settings: fields of the method's Config.
      init: name of the start, one of `initialisation.INITS`.
      protocol: how networks are trained on the result, one of `training.protocols.PROTOCOLS`.
      title: the method's name as people write it.
      network: options of ConvNet that are not its defaults.
      architecture: name of the network that is matched under.
      networks: how many are behind a published mean accuracy; 0 where that is not known.
      experts: how many of a pool the paper uses; 0 where it uses none.
      published: False for defaults that no paper states.
    """

    steps: int
    settings: dict[str, Any]
    init: str
    protocol: str
    title: str
    network: dict[str, Any] = dataclasses.field(default_factory=dict)
    architecture: str = "convnet"
    networks: int = 0
    experts: int = 0
    published: bool = True


def side(dataset: DatasetLike) -> int:
    """Return the shorter side of a data set's images in pixels."""
    return min(dataset.image_shape[:2])


def unmirrored(strategy: str, dataset: DatasetLike) -> Json:
    """Return the setting that keeps an augmentation from mirroring, where a data set asks for it.

    Args:
      strategy: the augmentation, operations joined by underscores.
      dataset: of digits, for instance, which must not be mirrored.

    Returns:
      {"augmentation": the strategy without "flip"}; {} where images may be mirrored, or are not.
    """
    if dataset.flip or "flip" not in augment.parse(strategy):
        return {}
    return {"augmentation": augment.without(strategy, "flip")}
