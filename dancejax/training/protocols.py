"""How the papers train networks on condensed sets: protocols by name."""

from typing import Any, Protocol

import numpy as np

from dancejax import augment
from dancejax.choices import HARD as HARD, PROTOCOLS as PROTOCOLS, SOFT as SOFT
from dancejax.data import known
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.training.config import TrainConfig, make_config
from dancejax.types import Json

_SINGLE: Json = {
    "epochs": 1000,
    "batch_size": 256,
    "milestones": (0.5,),
    "decay": 0.1,
    "reset_momentum": True,
    "augmentation": "color_crop_cutout_flip_scale_rotate",
    "mode": "single",
    "cutmix": 0.0,
}
_MULTI: Json = {"augmentation": "color_crop_flip_scale_rotate", "mode": "multi"}
_FIELDS: dict[str, Json] = {
    "dm": _SINGLE,
    "dance": _MULTI,
    "gdumb": _SINGLE,
    "ncfm": {
        **_MULTI,
        "batch_size": 128,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "weight_decay": 0.01,
        "milestones": (0.2, 0.4, 0.6, 0.8),
        "decay": 0.5,
    },
}
"""Fields of TrainConfig that are not its defaults, as far as no data set changes them."""
_TINY = 49
"""Image side from which on, up to _LARGE, those for TinyImageNet hold."""
_LARGE = 128
"""Image side from which on the papers' settings for ImageNet subsets hold."""


def without_soft(name: str) -> str:
    """Return the protocol of which this one is the form on soft labels, or the same."""
    return name.removesuffix(SOFT)


def protocol(
    name: str,
    dataset_name: str,
    *,
    flip: bool | None = None,
    side: int = 32,
    num_classes: int = 10,
    decoded: int | None = None,
    factor: int = 1,
    **overrides: Any,
) -> TrainConfig:
    """Return how a paper trains networks on a condensed set.

    dm (DM, IDM): 1000 epochs, batch 256 (128 from 128 pixels on, IDM's), rate x0.1 after half with
    a fresh momentum, one random augmentation of all kinds. dance (M3D, DANCE): 1500 epochs, batch
    64, rate x0.2 after 2/3 and 5/6, augmentation and CutMix; from 128 pixels on 3000, 2000, 1500,
    1000, 500 or 300 epochs for up to 1, 10, 50, 200, 500 or more decoded images per class, two
    thirds of that from 100 classes on. MNIST's tiles are not mixed by CutMix. gdumb (DM, IDM on
    continual learning, after GDumb): as dm, with batch 256 at any size. ncfm (NCFM): AdamW, 2000
    epochs, batch 128, rate x0.5 after each fifth, augmentation and CutMix as dance; on TinyImageNet
    2000, 300 or 40 epochs for 1, 10 or more stored images a class. With "_soft" after its name each
    trains on the set's soft labels.

    Args:
      name: one of PROTOCOLS.
      dataset_name: of the data set.
      flip: whether a mirrored image keeps its label; None goes by the data set's name.
      side: of the images, pixels.
      num_classes: classes of the data set.
      decoded: training images per class, those of the tiles; None where it is not known.
      factor: tiles a side of the stored images.
      **overrides: fields of TrainConfig that replace the protocol's.

    Raises:
      UserError: an unknown protocol, or a setting that makes no sense.

    References:
      Prabhu et al., GDumb: a simple approach that questions our progress in continual learning
      (ECCV 2020), as DM (WACV 2023, section 4.3) trains by it.
    """
    hard = without_soft(name)
    if hard not in HARD:
        raise UserError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}.")
    fields = {**_FIELDS[hard]}
    if hard == "dm" and side >= _LARGE:
        fields["batch_size"] = 128
    elif hard == "ncfm":
        fields["epochs"] = _ncfm_epochs(side, decoded)
    elif hard == "dance":
        fields["epochs"] = _dance_epochs(side, num_classes, decoded)
        if dataset_name == "mnist" and factor > 1:
            fields["cutmix"] = 0.0
    if not (known.flip(dataset_name) if flip is None else flip):
        fields["augmentation"] = augment.without(fields["augmentation"], "flip")
    fields["labels"] = "hard" if hard == name else "soft"
    return make_config(**{**fields, **overrides})


def _ncfm_epochs(side: int, decoded: int | None) -> int:
    """Fewer on TinyImageNet, from 10 stored images of four tiles a class on."""
    if not _TINY <= side < _LARGE or decoded is None:
        return 2000
    limits = ((4, 2000), (40, 300))
    return next((epochs for most, epochs in limits if decoded <= most), 40)


def _dance_epochs(side: int, num_classes: int, decoded: int | None) -> int:
    if side < _LARGE or decoded is None:
        return 1500
    limits = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
    epochs = next((epochs for most, epochs in limits if decoded <= most), 300)
    return epochs * 2 // 3 if num_classes >= 100 else epochs


class LabelledSet(Protocol):
    """A condensed set or a data set, as far as protocols look at it."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def num_classes(self) -> int: ...


def size_of(train: LabelledSet) -> Json:
    """What `protocol` has to know of a set: {"decoded": ..., "factor": ...}."""
    factor = int(getattr(train, "factor", 1))  # a data set has no tiles
    return {"decoded": int(np.bincount(train.labels).max()) * factor**2, "factor": factor}


def protocol_for(name: str, train: LabelledSet, test: Dataset, **overrides: Any) -> TrainConfig:
    """`protocol` for training on a set and testing on a split of its data set."""
    return protocol(
        name,
        test.name,
        flip=test.flip,
        side=min(train.image_shape[:2]),
        num_classes=train.num_classes,
        **size_of(train),
        **overrides,
    )
