"""Labelled images as NumPy arrays of anybody's making: checked, and brought to one form.

The common road of .npz files and of `Dataset.from_arrays`. Nothing about an array is taken for
granted before its type and number of axes are known.
"""

from collections.abc import Iterable, Set
from typing import Any, NamedTuple

import numpy as np

from dancejax.errors import UserError
from dancejax.text import printable_names

_BLOCK = 4096


class Arrays(NamedTuple):
    """What a source reads, before normalisation constants are known."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int32 [N]
    classes: tuple[str, ...]


class Numbering(NamedTuple):
    """Which label stands for which class."""

    values: np.ndarray  # int64 [C], ascending: the label of each class
    classes: tuple[str, ...]


def build(
    images: Any, labels: Any, *, classes: Any = None, name: str, channels_first: bool = False
) -> Arrays:
    """Bring images and labels to the form that `Dataset` holds.

    Args:
      images: [N, H, W] or [N, H, W, C] with C 1 or 3, uint8 or floating-point in [0, 1].
      labels: integers [N] or [N, 1].
      classes: names, one a class, for labels 0..C-1; None names classes by their labels.
      name: stands in errors.
      channels_first: images are [N, C, H, W].

    Raises:
      UserError: anything is not so.
    """
    pixels = to_pixels(as_array(images, f"{name}: images"), f"{name}: images", channels_first)
    found = to_labels(as_array(labels, f"{name}: labels"), f"{name}: labels", len(pixels))
    numbering = number_classes(found, classes, name)
    result = Arrays(pixels, to_numbers(found, numbering, name), numbering.classes)
    check_arrays(name, result)
    return result


def as_array(values: Any, name: str) -> np.ndarray:
    """Convert values to an array.

    Args:
      values: anything that NumPy takes.
      name: stands in errors.

    Raises:
      UserError: NumPy cannot take them, as ragged lists.
    """
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{name} cannot be made an array ({type(error).__name__}); give a NumPy array, all "
            "images of one size."
        ) from error


def check_pixels(images: np.ndarray, name: str, channels_first: bool = False) -> None:
    """Check that shape and type are those of images; the values are not looked at.

    Args:
      images: [N, H, W] or [N, H, W, C], or with channels_first [N, C, H, W].
      name: stands in errors.
      channels_first: where C is.

    Raises:
      UserError: they are not.
    """
    shape = list(images.shape)
    if images.ndim not in (3, 4) or (
        images.ndim == 4 and images.shape[1 if channels_first else -1] not in (1, 3)
    ):
        raise UserError(f"{name} have the shape {shape}; {_shape_advice(images, channels_first)}")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UserError(
            f"{name} are {_type(images)}; they must be uint8 in 0..255 or floating-point in [0, 1]."
        )
    if len(images) == 0:
        raise UserError(f"{name} are empty; give at least one image a class.")
    if 0 in images.shape:
        raise UserError(f"{name} have the shape {shape}: there are no pixels in them.")


def _shape_advice(images: np.ndarray, channels_first: bool) -> str:
    if channels_first:
        return "with channels first it must be [N, 1, H, W] or [N, 3, H, W]."
    wanted = "it must be [N, H, W], [N, H, W, 1] or [N, H, W, 3], channels last"
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return f"{wanted}: images.transpose(0, 2, 3, 1) brings them there."
    return f"{wanted}."


def to_pixels(images: np.ndarray, name: str, channels_first: bool = False) -> np.ndarray:
    """Convert images to uint8 [N, H, W, C].

    Args:
      images: as for `check_pixels`; floating-point values in [0, 1] are rounded to the nearest of
        0..255.
      name: stands in errors.
      channels_first: images are [N, C, H, W].

    Raises:
      UserError: as `check_pixels`, and for floating-point values outside of [0, 1].
    """
    check_pixels(images, name, channels_first)
    if images.ndim == 3:
        images = images[..., None]
    elif channels_first:
        images = np.moveaxis(images, 1, -1)
    if images.dtype == np.uint8:
        return images
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        if not ((block >= 0) & (block <= 1)).all():
            raise UserError(
                f"{name} are floating-point, but not all in [0, 1]; divide by 255, or store uint8."
            )
        result[start : start + _BLOCK] = np.rint(block.astype(np.float64) * 255)
    return result


def to_labels(labels: np.ndarray, name: str, count: int) -> np.ndarray:
    """Convert labels to int64 [N].

    Args:
      labels: integers of any type, [N] or [N, 1].
      name: stands in errors.
      count: N, the number of images.

    Raises:
      UserError: the labels are anything else.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise UserError(
            f"{name} is {_type(labels)} {list(labels.shape)}; labels must be integers [N] or "
            f"[N, 1]{_label_advice(labels)}."
        )
    if len(labels) != count:
        raise UserError(f"{name} has {len(labels)} labels for {count} images; give one an image.")
    if count == 0:
        raise UserError(f"{name} is empty; give at least one image a class.")
    if labels.max() > np.iinfo(np.int64).max:
        raise UserError(f"{name} has the label {labels.max()}; labels must be below 2**63.")
    return labels.astype(np.int64)


def _label_advice(labels: np.ndarray) -> str:
    if labels.dtype.kind in "US" and labels.ndim == 1:
        return ": classes, labels = numpy.unique(labels, return_inverse=True) makes them so"
    if labels.dtype.kind in "fiu" and labels.ndim == 2:
        return ": labels.argmax(axis=1), if each row has one number a class"
    if labels.dtype.kind == "f" and labels.ndim == 1:
        return ": labels.astype(int), if they are whole numbers"
    return ""


def number_classes(labels: np.ndarray, classes: Any, name: str) -> Numbering:
    """Find the classes of the training labels.

    Args:
      labels: int64 [N], N > 0, of the training split.
      classes: names given for labels 0..C-1, or None: every distinct label is a class, in
        ascending order, called by its value.
      name: stands in errors.

    Raises:
      UserError: names are not different, non-empty strings, labels lie outside of 0..C-1, a class
        has no training image, or there are fewer than two.
    """
    present = np.unique(labels)
    if classes is None:
        values, names = present, tuple(map(str, present.tolist()))
    else:
        names = _class_names(classes, name)
        values = np.arange(len(names))
        if present[0] < 0 or present[-1] >= len(names):
            raise UserError(
                f"{name}: labels run from {present[0]} to {present[-1]}, but there are "
                f"{len(names)} class names, which are for labels 0..{len(names) - 1}; give one "
                "name a class."
            )
        if len(missing := np.setdiff1d(values, present)):
            raise UserError(
                f"{name}: class {missing[0]} ({names[missing[0]]!r}) has no training images; "
                "add some, or remove its name and number the others 0..C-1."
            )
    if len(names) < 2:
        raise UserError(f"{name} has only one class; condensation needs two at least.")
    return Numbering(values, names)


def _class_names(classes: Any, name: str) -> tuple[str, ...]:
    """Names given for classes, made printable."""
    given = classes
    if isinstance(given, np.ndarray):
        given = given.tolist() if given.ndim == 1 else None
    # A set has no order that labels could go by.
    if isinstance(given, str | Set) or not isinstance(given, Iterable):
        given = [None]
    names = list(given)
    check_names(name, names)
    return printable_names(names)


def check_names(name: str, names: Iterable[Any]) -> None:
    """Check class names; `name` stands in errors.

    Raises:
      UserError: they are not all different, non-empty strings.
    """
    names = list(names)
    if not all(isinstance(c, str) and c for c in names) or len(set(names)) != len(names):
        raise UserError(
            f"{name}: class names must be different, non-empty strings, one string a class."
        )


def to_numbers(labels: np.ndarray, numbering: Numbering, name: str) -> np.ndarray:
    """Return the class numbers of labels.

    Args:
      labels: int64 [N].
      numbering: which label stands for which class.
      name: stands in errors.

    Returns:
      int32 [N] in 0..C-1.

    Raises:
      UserError: a label stands for no class.
    """
    values = numbering.values
    index = np.minimum(np.searchsorted(values, labels), len(values) - 1)
    if len(odd := labels[values[index] != labels]):
        raise UserError(
            f"{name} has the label {odd[0]}, but the training images have no class {odd[0]}, only "
            f"{values[0]}..{values[-1]}; every class needs training images."
        )
    return index.astype(np.int32)


def check_arrays(name: str, arrays: Arrays) -> None:
    """Check that arrays are what `Dataset` promises; `name` stands in errors.

    Raises:
      UserError: images, labels or classes are not.
    """
    images, labels, classes = arrays
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise UserError(
            f"{name}: images are {type(images).__name__} and labels {type(labels).__name__}; both "
            "must be NumPy arrays, and Dataset.from_arrays makes them so."
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"{name}: images are {_type(images)} {list(images.shape)}; "
            "they must be uint8 [N, H, W, C] with 1 or 3 channels last."
        )
    if 0 in images.shape:
        raise UserError(f"{name}: there are no pixels in images of shape {list(images.shape)}.")
    if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{name}: labels are {_type(labels)} {list(labels.shape)}; "
            f"they must be int32 [{len(images)}], one an image."
        )
    check_names(name, classes)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise UserError(
            f"{name}: labels run from {labels.min()} to {labels.max()}, but with {len(classes)} "
            f"class names they must lie in 0..{len(classes) - 1}."
        )


def _type(array: np.ndarray) -> str:
    """An array's type in a word: structured types are said to be so, not listed."""
    return str(array.dtype) if array.dtype.names is None else "structured"
