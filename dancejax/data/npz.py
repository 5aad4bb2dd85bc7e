"""Data sets in one .npz file: x_train, y_train, x_test, y_test, or images and labels."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from dancejax.data.dataset import Arrays, check_arrays, stratified_split
from dancejax.errors import UserError

FOUR_KEYS = ("x_train", "y_train", "x_test", "y_test")
TWO_KEYS = ("images", "labels")
_BLOCK = 4096


def read(path: Path, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Reads one split ("train" or "test") of an .npz file.

    Keys: x_train, y_train, x_test, y_test (as Keras stores them), or images, labels, of which a
    fifth of each class is drawn with `seed` for testing; optionally classes (strings [C]).
    Images: [N, H, W], [N, H, W, 1] or [N, H, W, 3], uint8, or floating-point in [0, 1], which are
    rounded to the nearest of 0..255. Labels: integers 0..C-1, [N] or [N, 1], every class in the
    training split. Pixels are taken as they are: image_size, if given, must be their size.
    Pickled objects are never loaded. Raises UserError for any file that is not so.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}; give the path of an .npz file.")
    try:
        return parse(path.read_bytes(), str(path), split, image_size=image_size, seed=seed)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def parse(data: bytes, name: str, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """As `read`, from the bytes of an .npz file; `name` stands in errors."""
    arrays, keys = _arrays(data, name)
    if all(key in arrays for key in FOUR_KEYS):
        images = {"train": arrays["x_train"], "test": arrays["x_test"]}
        labels = {
            part: _labels(arrays[f"y_{part}"], f"{name}: y_{part}", len(images[part]))
            for part in images
        }
        classes = _classes(arrays, name, labels["train"])
    elif all(key in arrays for key in TWO_KEYS):
        every = _labels(arrays["labels"], f"{name}: labels", len(arrays["images"]))
        classes = _classes(arrays, name, every)
        index = stratified_split(every, classes, seed=seed)
        images = {part: arrays["images"][i] for part, i in index.items()}
        labels = {part: every[i] for part, i in index.items()}
    else:
        raise UserError(
            f"{name} has the keys {', '.join(sorted(keys)) or '(none)'}; "
            f"it needs {', '.join(FOUR_KEYS)}, or {' and '.join(TWO_KEYS)}."
        )
    pixels = _pixels(images[split], f"{name}, {split} images")
    if image_size is not None and pixels.shape[1:3] != (image_size, image_size):
        raise UserError(
            f"{name} has images of {pixels.shape[2]}x{pixels.shape[1]} pixels, not image_size "
            f"{image_size}; leave image_size out, or store the images resized."
        )
    result = Arrays(pixels, labels[split], classes)
    check_arrays(f"{name}, {split} split", result)
    return result


def _arrays(data: bytes, name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The file's arrays by key, of those that mean something here; and all of its keys."""
    wanted = (*FOUR_KEYS, *TWO_KEYS, "classes")
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise zipfile.BadZipFile("not an archive")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: file[key] for key in wanted if key in file.files}, file.files
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise UserError(
                f"{name} holds pickled Python objects, which are not loaded for safety; "
                "store plain numeric arrays and strings with numpy.savez."
            ) from error
        raise _broken(name, error) from error
    except (OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise _broken(name, error) from error


def _labels(labels: np.ndarray, name: str, count: int) -> np.ndarray:
    """Class numbers of any integer type, [N] or [N, 1], to int32 [N]."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"{name} is {labels.dtype} {list(labels.shape)}; labels must be integers [N] or "
            "[N, 1], class numbers from 0."
        )
    if len(labels) != count:
        raise UserError(f"{name} has {len(labels)} labels for {count} images; give one an image.")
    if count == 0:
        raise UserError(f"{name} is empty; give at least one image a class.")
    if labels.min() < 0 or labels.max() > 2**31 - 1:
        raise UserError(
            f"{name} has labels from {labels.min()} to {labels.max()}; class numbers begin at 0."
        )
    return labels.astype(np.int32)


def _classes(arrays: dict[str, np.ndarray], name: str, labels: np.ndarray) -> tuple[str, ...]:
    """Class names: those stored, else "0", "1", ...; every class must have a training image."""
    present = np.unique(labels)
    if "classes" in arrays:
        stored = arrays["classes"]
        if stored.ndim != 1 or stored.dtype.kind != "U":
            raise UserError(
                f"{name}: classes is {stored.dtype} {list(stored.shape)}; "
                "it must be one string a class."
            )
        classes = tuple(stored.tolist())
    else:
        # A gap would mean more classes than labels; the first one is reported below.
        classes = tuple(map(str, range(min(int(present[-1]), len(present)) + 1)))
    missing = np.setdiff1d(np.arange(len(classes)), present)
    if len(missing):
        raise UserError(
            f"{name}: class {missing[0]} has no training images; "
            "number the classes 0..C-1 without gaps."
        )
    if len(classes) < 2:
        raise UserError(f"{name} has only one class; condensation needs two at least.")
    return classes


def _pixels(images: np.ndarray, name: str) -> np.ndarray:
    """[N, H, W] or [N, H, W, C], uint8 or in [0, 1], to uint8 [N, H, W, C]."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"{name} have the shape {list(images.shape)}; it must be [N, H, W], [N, H, W, 1] or "
            "[N, H, W, 3], channels last."
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UserError(
            f"{name} are {images.dtype}; they must be uint8 in 0..255 or floating-point in [0, 1]."
        )
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        if not ((block >= 0) & (block <= 1)).all():
            raise UserError(
                f"{name} are floating-point, but not all in [0, 1]; divide by 255, or store uint8."
            )
        result[start : start + _BLOCK] = np.rint(block.astype(np.float64) * 255)
    return result


def _broken(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} is not a complete .npz file ({type(error).__name__}: {error}); "
        "write or copy it again."
    )
