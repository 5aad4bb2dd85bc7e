"""Reading condensed sets that other programs made."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dancejax.choices import PIXELS, SOFT_LABELS
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.exchange import files, plausible, readers, whitening
from dancejax.exchange.plausible import Units

_IMAGES = ("images", "x", "x_train", "data", "image")
_LABELS = ("labels", "y", "y_train", "targets", "label")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What the arrays of another program mean.

    Attributes:
      pixel_values: "unit" is [0, 1], "byte" 0 to 255, "normalised" (pixel - mean) / std,
        "whitened" after `whitening.fit`, which is undone.
      mean, std: of the normalisation, a number for each channel, or one for all; unless given the
        data set's, and none before a whitening.
      factor: tiles a side that each image is cut into. None takes the images for plain ones, but
        refuses what looks like collages.
      labels: another such file that has the labels; None: the same, or the one beside whose name
        has "labels" for "images".
      soft_labels: what labels of several numbers an image are, "shares" of the classes or "logits";
        None refuses them. Rows are of the images, or of all tiles in the order of decoding.
      method: the name that reports give the set.
      check_pixels: refuse pixel_values where another choice fits the data set far better.
    """

    pixel_values: str = "unit"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    factor: int | None = None
    labels: Path | None = None
    soft_labels: str | None = None
    method: str = "foreign"
    check_pixels: bool = True

    def __post_init__(self) -> None:
        if self.pixel_values not in PIXELS:
            raise UserError(
                f"unknown pixel values {self.pixel_values!r}; choose one of {', '.join(PIXELS)}."
            )
        if self.soft_labels is not None and self.soft_labels not in SOFT_LABELS:
            raise UserError(
                f"unknown soft labels {self.soft_labels!r}; choose one of {', '.join(SOFT_LABELS)}."
            )


DEFAULT = ReadOptions()


def read_foreign(path: Path, dataset: Dataset, options: ReadOptions = DEFAULT) -> CondensedSet:
    """Read another program's condensed set of a data set, to be evaluated as our own are.

    An export of ours, or a file out of one, is recognised and read as what it is; it says itself
    what its numbers mean.

    Args:
      path: a folder with a folder of images for each class (named as the data set's classes, or
        such that their order is that of the labels), an .npz, a .safetensors or a PyTorch .pt or
        .pth file with images and labels, or with images alone. Images are [n, h, w, c] or
        [n, c, h, w]. No code in a file is run.
      dataset: the training set that it was condensed from.
      options: what the numbers mean.

    Returns:
      The set, its images in [0, 1] units.

    Raises:
      UserError: for whatever does not fit the data set.
    """
    path = Path(path)
    if (own := readers.read_own(path)) is not None:
        _check_own(own, dataset, options, path)
        return own
    images, numbers, values = _read_arrays(path, dataset, options)
    soft = None
    if options.soft_labels is not None:
        soft = _shares(numbers, len(images), dataset.num_classes, path, options.soft_labels)
        numbers = soft.reshape(len(images), -1, dataset.num_classes).mean(1).argmax(1)
    numbers = _whole_labels(numbers, len(images), dataset.num_classes, path)
    if images.shape[1:] != dataset.image_shape:
        raise UserError(
            f"{path} has images of {list(images.shape[1:])}, {dataset.name} of "
            f"{list(dataset.image_shape)}; give the --image_size they were made for."
        )
    units = _units(values, dataset, options)
    if options.check_pixels:
        plausible.check_units(images, units, dataset, path)
    images = plausible.to_unit(images, units)
    factor = plausible.check_factor(images, options.factor, dataset, path)
    if soft is not None and len(soft) == len(images):
        soft = soft.repeat(factor**2, 0)
    return CondensedSet(
        images=np.ascontiguousarray(images),
        labels=numbers,
        classes=dataset.classes,
        mean=dataset.mean if units.whitening else tuple(units.mean.tolist()),
        std=dataset.std if units.whitening else tuple(units.std.tolist()),
        factor=factor,
        method=options.method,
        source=describe_source(dataset),
        settings={"imported": path.name, "pixel_values": values, "factor": factor},
        soft_labels=None if soft is None else soft.astype(np.float16),
    )


def _check_own(made: CondensedSet, dataset: Dataset, options: ReadOptions, path: Path) -> None:
    """Raise UserError for an export of other data, or options that it leaves no room for."""
    names = [field.name for field in dataclasses.fields(options)]
    given = [name for name in names if getattr(options, name) != getattr(DEFAULT, name)]
    if given:
        raise UserError(
            f"{path} is an export of ours, which says what its numbers mean; leave "
            f"{', '.join(given)} out."
        )
    if made.source.get("fingerprint") != dataset.fingerprint:
        raise UserError(
            f"{path} is an export of a set of {made.source.get('name', 'other data')!r}, not of "
            f"this {dataset.name!r}; give the data set and --image_size that it was made from."
        )


def _read_arrays(
    path: Path, dataset: Dataset, options: ReadOptions
) -> tuple[np.ndarray, np.ndarray, str]:
    """Images [n, h, w, c], labels as they are, and which of PIXELS the images are."""
    channels, values = dataset.image_shape[2], options.pixel_values
    if path.is_dir():
        names, images, found = files.class_folders(path, channels)
        numbers: np.ndarray = _match(names, dataset.classes, path)[found]
        values = "unit"
    else:
        images, numbers = _foreign_arrays(path, options.labels)
    return _channels_last(images, channels, path), numbers, values


def _units(values: str, dataset: Dataset, options: ReadOptions) -> Units:
    channels, whitened = dataset.image_shape[2], values == "whitened"
    mean = _per_channel("mean", options.mean, [0.0] if whitened else dataset.mean, channels)
    std = _per_channel("std", options.std, [1.0] if whitened else dataset.std, channels)
    if (std <= 0).any():
        raise UserError(f"std must be positive, not {std.tolist()}.")
    return Units(values, mean, std, whitening.fit(dataset, mean, std) if whitened else None)


def _match(names: list[str], classes: tuple[str, ...], path: Path) -> np.ndarray:
    """The label of each folder: by its class name, else by order if there are as many."""
    if set(names) <= set(classes):
        return np.array([classes.index(name) for name in names])
    if len(names) == len(classes):
        return np.arange(len(names))
    raise UserError(
        f"{path} has {len(names)} folders that are not named as the {len(classes)} classes are; "
        "name them so, or give one for each class."
    )


def _foreign_arrays(path: Path, labels: Path | None) -> tuple[np.ndarray, np.ndarray]:
    arrays = files.named_arrays(path)
    images = _pick(arrays, _IMAGES, path)
    if labels is not None:
        return images, _pick(files.named_arrays(labels), _LABELS, labels)
    if not set(_LABELS) & set(arrays):
        beside = path.with_name(path.name.replace("images", "labels", 1))
        if beside != path and beside.is_file():  # images_best.pt, labels_best.pt
            return images, _pick(files.named_arrays(beside), _LABELS, beside)
        raise UserError(f"{path} has no labels; give them in a file of their own with --labels.")
    return images, _pick(arrays, _LABELS, path)


def _pick(arrays: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    found = [name for name in names if name in arrays]
    if found:
        return arrays[found[0]]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise UserError(
        f"{path} has {', '.join(arrays) or 'no arrays'}; one must be called {names[0]}."
    )


def _channels_last(images: np.ndarray, channels: int, path: Path) -> np.ndarray:
    if images.dtype.kind not in "uifb":
        raise UserError(f"the images in {path} are {images.dtype}; they must be numbers.")
    if images.size == 0:
        raise UserError(f"{path} has no images: their shape is {list(images.shape)}.")
    if images.ndim == 4 and images.shape[3] == channels:
        return images
    if images.ndim == 4 and images.shape[1] == channels:
        return images.transpose(0, 2, 3, 1)
    raise UserError(
        f"{path} has images of shape {list(images.shape)}; with {channels} channels they must be "
        "[n, h, w, c] or [n, c, h, w]."
    )


def _shares(labels: np.ndarray, count: int, num_classes: int, path: Path, kind: str) -> np.ndarray:
    """Soft labels as shares of the classes, float64 [n, C]; n is a multiple of count."""
    wanted = f"{num_classes} numbers for each of the {count} images, or of their tiles"
    if labels.dtype.kind not in "uif" or labels.ndim != 2 or labels.shape[1] != num_classes:
        raise UserError(f"the labels of {path} are {list(labels.shape)}; soft ones are {wanted}.")
    if len(labels) == 0 or len(labels) % count or not np.isfinite(labels).all():
        raise UserError(f"the labels of {path} are no finite {wanted}: {list(labels.shape)}.")
    values = labels.astype(np.float64)
    if kind == "logits":
        values = np.exp(values - values.max(1, keepdims=True))
        return values / values.sum(1, keepdims=True)
    if (values < 0).any() or not np.allclose(values.sum(1), 1, atol=0.01):
        raise UserError(
            f"the labels of {path} are no shares, which add up to 1; --soft_labels=logits?"
        )
    return values


def _whole_labels(labels: np.ndarray, count: int, num_classes: int, path: Path) -> np.ndarray:
    """Labels as int32 [count]; raises UserError for all that are not one class an image."""
    wanted = f"one whole number an image, from 0 to {num_classes - 1}"
    if labels.dtype.kind not in "uifb":
        raise UserError(f"the labels of {path} are text or objects, not numbers; give {wanted}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and len(labels) == count:
        raise UserError(
            f"the labels of {path} are soft or one-hot ones, {list(labels.shape)}; say with "
            f"--soft_labels whether they are shares of the classes or logits, or give {wanted}, as "
            "labels.argmax(1)."
        )
    if labels.ndim != 1 or len(labels) != count:
        raise UserError(
            f"{path} has {count} images and labels of shape {list(labels.shape)}; give {wanted}."
        )
    values = labels.astype(np.float64)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        odd = labels[~np.isfinite(values) | (values != np.round(values))][0]
        raise UserError(f"the labels of {path} hold {odd:g}; give {wanted}.")
    if values.min() < 0 or values.max() >= num_classes:
        raise UserError(
            f"the labels of {path} run from {values.min():g} to {values.max():g}; give {wanted}."
        )
    return values.astype(np.int32)


def _per_channel(
    name: str, given: Sequence[float] | None, usual: Sequence[float], channels: int
) -> np.ndarray:
    values = np.array(usual if given is None else given, np.float32).reshape(-1)
    if len(values) == 1:
        values = values.repeat(channels)
    if len(values) != channels or not np.isfinite(values).all():
        raise UserError(
            f"{name} is {values.tolist()}; give {channels} numbers, one a channel, or one for all."
        )
    return values
