"""Dataset: one split of a labelled image set in memory, checked; subsets and splits of it."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from dancejax import checks
from dancejax.data import arrays, known
from dancejax.data.arrays import Arrays, Names
from dancejax.data.normalisation import channel_statistics, known_constants
from dancejax.data.provenance import Provenance
from dancejax.data.splitting import TEST_SHARE, content_split, image_digests
from dancejax.errors import UserError
from dancejax.text import printable, printable_names

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a labelled image set; arrays are read-only.

    Attributes:
      name: of the data set; made printable, as the names of classes are.
      split_name: "train" or "test".
      images: uint8 [N, H, W, C] in 0..255, C 1 or 3.
      labels: int32 [N] in 0..len(classes)-1.
      classes: names of the classes, all different.
      mean, std: C numbers each for pixels in [0, 1], std > 0. Networks see
        (images / 255 - mean) / std.
      flip: whether a mirrored image keeps its label, so that training may mirror images; no part
        of the fingerprint.
      provenance: name, licence and citation as the source states them, None where it does not; no
        part of the fingerprint either.

    Raises:
      UserError: any of this does not hold.
    """

    name: str
    split_name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True
    provenance: Provenance | None = None

    HINT: ClassVar[str] = "data.load and Dataset.from_arrays make one"
    """How a caller who has something else gets one."""

    def __post_init__(self) -> None:
        check_split(self.split_name)
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
        images: ArrayLike,
        labels: ArrayLike,
        *,
        classes: Names | None = None,
        name: str = "arrays",
        channels_first: bool = False,
        flip: bool | None = None,
    ) -> "Dataset":
        """Make a data set of arrays, as an .npz file of them would be read.

        Args:
          images: [N, H, W] or [N, H, W, C] with C 1 or 3; uint8, or floating-point in [0, 1], which
            is rounded to the nearest of 0..255. uint8 arrays are not copied.
          labels: integers of any type, [N] or [N, 1].
          classes: one string a class, for labels 0..C-1. None takes the distinct labels in
            ascending order, each called by its value.
          name: of the data set; one with known normalisation constants gets them.
          channels_first: images are [N, C, H, W], as PyTorch has them.
          flip: whether a mirrored image keeps its label; None: by the name, see `known.flip`.

        Returns:
          The data set, a training split with the mean and std of its images. `split` divides it.

        Raises:
          UserError: an argument is not as described.
        """
        checks.instance("name", name, str, hint="give the data set's name as text")
        made = arrays.build(
            images, labels, classes=classes, name=name, channels_first=channels_first
        )
        constants = known_constants(name, made.images.shape[-1])
        constants = constants or channel_statistics(made.images)
        return cls(name, "train", *made, *constants, known.flip(name) if flip is None else flip)

    @classmethod
    def from_huggingface(
        cls,
        loaded: object,
        *,
        split: str = "train",
        columns: Sequence[str] = (),
        name: str | None = None,
        image_size: int | None = None,
        flip: bool | None = None,
    ) -> "Dataset":
        """Make a data set of one in memory that the package `datasets` has loaded.

        Args:
          loaded: a `datasets.Dataset` with a column of images and one of labels (class labels,
            integers or text), or a `datasets.DatasetDict` of splits.
          split: "train" or "test", of a DatasetDict; no test images are drawn here.
          columns: names of the columns with images and with labels; empty: guessed, and said.
          name: of the data set (None: the one that it knows); one with known normalisation
            constants gets them.
          image_size: see `data.load`.
          flip: whether a mirrored image keeps its label; None: by the name, see `known.flip`.

        Returns:
          The split, uint8 [N, H, W, C], with the constants of the training split.

        Raises:
          UserError: an argument is not as described, or an image or label cannot be read.
        """
        from dancejax.data import pixels, tables  # decoding loads Pillow

        check_split(split)
        pixels.check_image_size(image_size)
        tables.check_columns(columns)
        found = tables.choose(loaded, "the Hugging Face data set", columns=columns)
        made = tables.read(found, split, image_size=image_size)
        name = tables.own_name(found) if name is None else name
        constants = known_constants(name, made.images.shape[-1])
        if constants is None:
            train = made
            if split != "train":
                train = tables.read(found, "train", image_size=image_size)
            constants = channel_statistics(train.images)
        mirrored = known.flip(name) if flip is None else flip
        return cls(name, split, *made, *constants, mirrored, tables.provenance(found))

    def split(self, share: float = TEST_SHARE, *, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Divide the data set into training and test images, drawn by the images' content.

        The same draw as of .npz files without test images: see `splitting.content_split`.

        Args:
          share: of the images, for testing, between 0 and 1.
          seed: of the draw, not negative.

        Returns:
          (train, test) with the mean and std of the training images; data sets whose name has known
          constants keep these.

        Raises:
          UserError: a class has fewer than two different images, or an argument is out of range.
        """
        index = content_split(
            image_digests(self.images), self.labels, self.classes, seed=seed, share=share
        )
        images = {part: self.images[i] for part, i in index.items()}
        constants = known_constants(self.name, self.image_shape[-1])
        mean, std = constants or channel_statistics(images["train"])
        train, test = (
            dataclasses.replace(
                self,
                split_name=part,
                images=images[part],
                labels=self.labels[index[part]],
                mean=mean,
                std=std,
            )
            for part in SPLITS
        )
        return train, test

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"Dataset({self.name!r}, {self.split_name}: {len(self)} images of "
            f"{height}x{width}x{channels}, {self.num_classes} classes)"
        )

    def _repr_html_(self) -> str:
        """Show the facts and the first image of each of at most ten classes in a notebook."""
        from dancejax import figures  # loads JAX, which reading data does without

        first = [np.flatnonzero(self.labels == c)[:1] for c in range(min(10, self.num_classes))]
        return figures.html(np.concatenate(self.images[np.concatenate(first)], 1) / 255, repr(self))

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.images.shape[1:]

    @functools.cached_property
    def class_counts(self) -> np.ndarray:
        """The number of images of each class, int64 [num_classes]."""
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
    """Raise UserError unless split is "train" or "test"."""
    if split not in SPLITS:
        raise UserError(f"There is no split {split!r}; ask for 'train' or 'test'.")


def subset(dataset: Dataset, per_class: int, *, seed: int) -> Dataset:
    """Draw a class-balanced random subset, in the original order.

    Args:
      dataset: the data set.
      per_class: images of each class.
      seed: the same one draws the same images; one class's draw does not depend on the others.

    Raises:
      UserError: a class has fewer images.
    """
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    checks.whole("per_class", per_class, 1)
    short = np.flatnonzero(dataset.class_counts < per_class)
    if len(short):
        raise UserError(
            f"{dataset.name}: class {dataset.classes[short[0]]!r} has "
            f"{dataset.class_counts[short[0]]} images in the {dataset.split_name} split, fewer "
            f"than the {per_class} asked for; ask for fewer per class."
        )
    drawn = [
        order[:per_class] for order in _class_orders(dataset.labels, dataset.num_classes, seed)
    ]
    index = np.sort(np.concatenate(drawn))
    return dataclasses.replace(dataset, images=dataset.images[index], labels=dataset.labels[index])


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
