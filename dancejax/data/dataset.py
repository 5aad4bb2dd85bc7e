"""Dataset: one split of a labelled image set in memory, checked; seeded subsets and splits."""

import dataclasses
import functools
import hashlib
import json
from typing import Any, ClassVar

import numpy as np

from dancejax import checks
from dancejax.data import arrays, known
from dancejax.data.arrays import Arrays
from dancejax.data.normalisation import channel_statistics, known_constants
from dancejax.data.splitting import TEST_FRACTION, content_split, image_digests
from dancejax.errors import UserError
from dancejax.text import printable, printable_names

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a labelled image set; arrays are read-only.

    images: uint8 [N, H, W, C] in 0..255, C 1 or 3; labels: int32 [N] in 0..len(classes)-1;
    mean, std: C numbers each for pixels in [0, 1], std > 0. Networks see
    (images / 255 - mean) / std. flip: whether a mirrored image keeps its label, so that training
    may mirror images; no part of the fingerprint. Names are made printable. Raises UserError where
    any of this does not hold.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True

    HINT: ClassVar[str] = "data.load and Dataset.from_arrays make one"
    """How a caller who has something else gets one."""

    def __post_init__(self) -> None:
        check_split(self.split)
        checks.instance("flip", self.flip, bool, np.bool_, hint="give True or False")
        arrays.check_arrays(self.name, Arrays(self.images, self.labels, self.classes))
        mean, std = _constants(self.name, self.mean, self.std, self.images.shape[-1])
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "images", _read_only(self.images))
        object.__setattr__(self, "labels", _read_only(self.labels))
        object.__setattr__(self, "classes", printable_names(tuple(self.classes)))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        classes: Any = None,
        name: str = "arrays",
        split: str = "train",
        channels_first: bool = False,
        flip: bool | None = None,
    ) -> "Dataset":
        """Make a data set of one's own arrays, as an .npz file of them would be read.

        Args:
          images: [N, H, W] or [N, H, W, C] with C 1 or 3; uint8, or floating-point in [0, 1], which
            is rounded to the nearest of 0..255. uint8 arrays are not copied.
          labels: integers of any type, [N] or [N, 1].
          classes: one string a class, for labels 0..C-1. None takes the distinct labels in
            ascending order, each called by its value.
          name: of the data set; one with known normalisation constants gets them.
          split: what the images are for, "train" or "test".
          channels_first: images are [N, C, H, W], as PyTorch has them.
          flip: whether a mirrored image keeps its label; None: by the name, see `known.flip`.

        Returns:
          The data set, with mean and std of its images. `train_test_split` cuts it in two.

        Raises:
          UserError: anything is not so.
        """
        checks.instance("name", name, str, hint="give the data set's name as text")
        made = arrays.build(
            images, labels, classes=classes, name=name, channels_first=channels_first
        )
        constants = known_constants(name, made.images.shape[-1])
        constants = constants or channel_statistics(made.images)
        return cls(name, split, *made, *constants, known.flip(name) if flip is None else flip)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.images.shape[1:]

    @functools.cached_property
    def class_counts(self) -> np.ndarray:
        """Images of each class, int64 [num_classes]."""
        return np.bincount(self.labels, minlength=self.num_classes)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over image shape, pixels, labels and class names, in order."""
        header = json.dumps([self.images.shape, list(self.classes)])
        digest = hashlib.sha256(header.encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, "<i4").data)
        return digest.hexdigest()


def check_split(split: str) -> None:
    """Raises UserError unless split is "train" or "test"."""
    if split not in SPLITS:
        raise UserError(f"There is no split {split!r}; ask for 'train' or 'test'.")


def subset(dataset: Dataset, per_class: int, *, seed: int) -> Dataset:
    """A class-balanced random subset of per_class images of each class, in the original order.

    The same seed draws the same images; one class's draw does not depend on the other classes.
    Raises UserError where a class has fewer images.
    """
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    checks.whole("per_class", per_class, 1)
    short = np.flatnonzero(dataset.class_counts < per_class)
    if len(short):
        raise UserError(
            f"{dataset.name}: class {dataset.classes[short[0]]!r} has "
            f"{dataset.class_counts[short[0]]} images in the {dataset.split} split, fewer than "
            f"the {per_class} asked for; ask for fewer per class."
        )
    drawn = [
        order[:per_class] for order in _class_orders(dataset.labels, dataset.num_classes, seed)
    ]
    index = np.sort(np.concatenate(drawn))
    return dataclasses.replace(dataset, images=dataset.images[index], labels=dataset.labels[index])


def train_test_split(
    dataset: Dataset, fraction: float = TEST_FRACTION, *, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Cut a data set into a training and a test split, drawn by the images' content.

    The same draw as of .npz files without test images: see `splitting.content_split`.

    Args:
      dataset: of any split; classes of at least two different images.
      fraction: of the images, for testing, between 0 and 1.
      seed: of the draw.

    Returns:
      (training split, test split) with the mean and std of the training images, but of names with
      known constants these.

    Raises:
      UserError: a class is too small, or an argument is out of range.
    """
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    index = content_split(
        image_digests(dataset.images),
        dataset.labels,
        dataset.classes,
        seed=seed,
        fraction=fraction,
    )
    images = {part: dataset.images[i] for part, i in index.items()}
    constants = known_constants(dataset.name, dataset.image_shape[-1])
    mean, std = constants or channel_statistics(images["train"])
    train, test = (
        dataclasses.replace(
            dataset,
            split=part,
            images=images[part],
            labels=dataset.labels[index[part]],
            mean=mean,
            std=std,
        )
        for part in SPLITS
    )
    return train, test


def _class_orders(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """For each class a seeded random order of its indices."""
    checks.whole("seed", seed)
    return [
        np.random.default_rng([seed, c]).permutation(np.flatnonzero(labels == c))
        for c in range(num_classes)
    ]


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _constants(
    name: str, mean: Any, std: Any, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Normalisation constants, one finite number a channel, std positive."""
    try:
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: mean and std must be numbers, one a channel.") from error
    if not len(mean) == len(std) == channels:
        raise UserError(
            f"{name}: mean has {len(mean)} and std {len(std)} numbers for images of "
            f"{channels} channels; give one of each a channel."
        )
    if not np.isfinite(mean + std).all() or min(std) <= 0:
        raise UserError(
            f"{name}: mean {mean} and std {std} must be finite and std positive; "
            "channel_statistics computes both from the images."
        )
    return mean, std
