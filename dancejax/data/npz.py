"""Data sets in one .npz file: x_train, y_train and x_test, y_test, or images and labels."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from dancejax.data import arrays, memory
from dancejax.data.arrays import Arrays
from dancejax.data.splitting import content_split, image_digests
from dancejax.errors import UserError
from dancejax.runs.notes import say_once

PAIRS = (("x_train", "y_train"), ("images", "labels"))
TEST_PAIR = ("x_test", "y_test")
_CLASSES = "classes"


class _Split(NamedTuple):
    """One split's arrays, checked but not converted, and what errors call them."""

    images: np.ndarray
    labels: np.ndarray  # int64 [N]
    name: str


def read(path: Path, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Read one split of an .npz file.

    Keys: x_train, y_train, x_test, y_test (as Keras stores them); or x_train, y_train alone, or
    images, labels, of which about a fifth of each class is drawn with `seed` for testing, by the
    images' content; optionally classes (strings [C]) for labels 0..C-1. Other keys are passed over,
    which is said on stderr. Images: [N, H, W], [N, H, W, 1] or [N, H, W, 3], uint8, or
    floating-point in [0, 1], which are rounded to the nearest of 0..255. Labels: integers, [N] or
    [N, 1], every class in the training split; without names each distinct one is a class, called
    by its value. Pickled objects are never loaded.

    Args:
      path: of the file.
      split: "train" or "test".
      image_size: must be the images' size, if given: pixels are taken as they are.
      seed: of the draw of test images, where the file has none.

    Raises:
      UserError: the file is not so.
    """
    try:
        if not path.is_file():
            raise UserError(f"There is no file {path}; give the path of an .npz file.")
        with path.open("rb") as file:
            return _parse(file, str(path), split, image_size=image_size, seed=seed)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def parse(data: bytes, name: str, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Read one split as `read` does, from the bytes of an .npz file; `name` stands in errors."""
    return _parse(io.BytesIO(data), name, split, image_size=image_size, seed=seed)


def _parse(file: BinaryIO, name: str, split: str, *, image_size: int | None, seed: int) -> Arrays:
    members = _members(file, name)
    pair = _pair(members, name)
    parts = {"train": _split(members, pair, name)}
    separate = TEST_PAIR[0] in members and pair == PAIRS[0]
    if separate:
        parts["test"] = _split(members, TEST_PAIR, name)
        shapes = [[*part.images.shape[1:], 1][:3] for part in parts.values()]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{name}: training images are {shapes[0]} and test images {shapes[1]}; bring them "
                "to one size."
            )
    numbering = arrays.number_classes(parts["train"].labels, members.get(_CLASSES), name)
    images, _, title = parts[split if separate else "train"]
    if image_size is not None and images.shape[1:3] != (image_size, image_size):
        raise UserError(
            f"{name} has images of {images.shape[2]}x{images.shape[1]} pixels, not image_size "
            f"{image_size}; leave image_size out, or store the images resized."
        )
    every = {
        key: arrays.to_numbers(part.labels, numbering, f"{name}, {key} split")
        for key, part in parts.items()
    }
    pixels, numbers = arrays.to_pixels(images, title), every[split if separate else "train"]
    if not separate:
        index = content_split(image_digests(pixels), numbers, numbering.classes, seed=seed)[split]
        pixels, numbers = pixels[index], numbers[index]
    result = Arrays(pixels, numbers, numbering.classes)
    arrays.check_arrays(f"{name}, {split} split", result)
    return result


def _split(members: dict[str, np.ndarray], pair: tuple[str, str], name: str) -> _Split:
    images, labels = (members[key] for key in pair)
    arrays.check_pixels(images, f"{name}: {pair[0]}")
    title = f"{name}: {pair[0]}"
    return _Split(images, arrays.to_labels(labels, f"{name}: {pair[1]}", len(images)), title)


def _pair(members: dict[str, np.ndarray], name: str) -> tuple[str, str]:
    """The keys of the training images and labels, or of all."""
    found = [pair for pair in PAIRS if all(key in members for key in pair)]
    halves = [pair for pair in (*PAIRS, TEST_PAIR) if sum(key in members for key in pair) == 1]
    if len(found) == 1 and not halves and not (found == [PAIRS[1]] and TEST_PAIR[0] in members):
        return found[0]
    raise UserError(
        f"{name} has the keys {', '.join(sorted(members)) or '(none)'}; "
        "it needs x_train, y_train, x_test, y_test, or images and labels, and not both."
    )


def _members(file: BinaryIO, name: str) -> dict[str, np.ndarray]:
    """The file's arrays by key, of those that mean something here."""
    wanted = {*PAIRS[0], *PAIRS[1], *TEST_PAIR, _CLASSES}
    try:
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            sizes = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(sizes) < len(archive.infolist()):
                raise UserError(f"{name} has a key twice; write it again with numpy.savez.")
        needed = sum(info.file_size for key, info in sizes.items() if key in wanted)
        memory.check(needed, f"the arrays in {name}", "store fewer or smaller images.")
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            found = {key: stored[key] for key in wanted & set(stored.files)}
            others = sorted(set(stored.files) - wanted)
    except UserError:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise UserError(
                f"{name} holds pickled Python objects, which are not loaded for safety; "
                "store plain numeric arrays and strings with numpy.savez."
            ) from error
        raise _broken(name) from error
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, *_ODD) as error:
        raise _broken(name) from error
    for key, value in found.items():
        if not isinstance(value, np.ndarray):  # bytes, where a member is no .npy file
            raise UserError(f"{name}: {key} is no array; write the file again with numpy.savez.")
    if others and found:
        say_once(f"{name}: passed over the keys {', '.join(others)}, which mean nothing here")
    return found


_ODD = (KeyError, TypeError, RuntimeError, OverflowError, SyntaxError)
"""What zipfile and NumPy make of encrypted members, unknown compression and garbled headers."""


def _broken(name: str) -> UserError:
    return UserError(f"{name} is not a complete .npz file; write or copy it again.")
