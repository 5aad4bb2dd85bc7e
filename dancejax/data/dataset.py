"""ImageDataset: one split of a labelled image set in memory, checked; seeded subsets and splits."""

import dataclasses
import functools
import hashlib
import json
from typing import NamedTuple

import numpy as np

from dancejax.errors import UserError

SPLITS = ("train", "test")
TEST_FRACTION = 0.2


class Arrays(NamedTuple):
    """What a source reads, before normalisation constants are known."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int32 [N]
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """One split of a labelled image set; arrays are read-only.

    images: uint8 [N, H, W, C] in 0..255, C 1 or 3; labels: int32 [N] in 0..len(classes)-1;
    mean, std: C numbers each for pixels in [0, 1], std > 0. Networks see
    (images / 255 - mean) / std. Raises UserError where any of this does not hold.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True

    def __post_init__(self) -> None:
        check_split(self.split)
        check_arrays(self.name, Arrays(self.images, self.labels, self.classes))
        channels = self.images.shape[-1]
        mean, std = tuple(map(float, self.mean)), tuple(map(float, self.std))
        if not len(mean) == len(std) == channels:
            raise UserError(
                f"{self.name}: mean has {len(mean)} and std {len(std)} numbers for images of "
                f"{channels} channels; give one of each a channel."
            )
        if not np.isfinite(mean + std).all() or min(std) <= 0:
            raise UserError(
                f"{self.name}: mean {mean} and std {std} must be finite and std positive; "
                "channel_statistics computes both from the images."
            )
        object.__setattr__(self, "images", _read_only(self.images))
        object.__setattr__(self, "labels", _read_only(self.labels))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

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


def check_arrays(name: str, arrays: Arrays) -> None:
    """Raises UserError unless images, labels and classes are what ImageDataset promises."""
    images, labels, classes = arrays
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"{name}: images are {images.dtype} {list(images.shape)}; "
            "they must be uint8 [N, H, W, C] with 1 or 3 channels last."
        )
    if 0 in images.shape:
        raise UserError(f"{name}: there are no pixels in images of shape {list(images.shape)}.")
    if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{name}: labels are {labels.dtype} {list(labels.shape)}; "
            f"they must be int32 [{len(images)}], one an image."
        )
    if len(set(classes)) != len(classes) or not all(isinstance(c, str) and c for c in classes):
        raise UserError(f"{name}: class names must be different, non-empty strings.")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise UserError(
            f"{name}: labels run from {labels.min()} to {labels.max()}, but with {len(classes)} "
            f"class names they must lie in 0..{len(classes) - 1}."
        )


def subset(dataset: ImageDataset, per_class: int, *, seed: int) -> ImageDataset:
    """A class-balanced random subset of per_class images of each class, in the original order.

    The same seed draws the same images; one class's draw does not depend on the other classes.
    Raises UserError where a class has fewer images.
    """
    if per_class < 1:
        raise UserError(f"per_class is {per_class}; it must be at least 1.")
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


def stratified_split(
    labels: np.ndarray, classes: tuple[str, ...], *, seed: int
) -> dict[str, np.ndarray]:
    """Seeded split of 0..N-1 into sorted int64 indices {"train", "test"}, each class by itself.

    labels: int [N] in 0..len(classes)-1. A fifth of each class (rounded) is for testing, at least
    one image and never all. Raises UserError naming a class with fewer than two images.
    """
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for name, order in zip(classes, _class_orders(labels, len(classes), seed), strict=True):
        if len(order) < 2:
            raise UserError(
                f"Class {name!r} has {len(order)} image(s), too few to split into train and "
                "test; give at least two, or make the split yourself."
            )
        held_out = max(1, round(TEST_FRACTION * len(order)))
        parts["test"].append(order[:held_out])
        parts["train"].append(order[held_out:])
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def _class_orders(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """For each class a seeded random order of its indices."""
    if seed < 0:
        raise UserError(f"The seed is {seed}; it must not be negative.")
    return [
        np.random.default_rng([seed, c]).permutation(np.flatnonzero(labels == c))
        for c in range(num_classes)
    ]


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
