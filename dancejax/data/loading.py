"""`load`: from a name or a path to a Dataset."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dancejax import checks
from dancejax.data import (
    embedded,
    folder,
    huggingface,
    imagenet,
    known,
    npz,
    tables,
    tfds_source,
    torchvision,
)
from dancejax.data.arrays import Arrays
from dancejax.data.dataset import Dataset, check_split
from dancejax.data.foreign import hint
from dancejax.data.huggingface import PREFIX, HuggingFace
from dancejax.data.normalisation import channel_statistics, known_constants
from dancejax.data.pixels import check_image_size
from dancejax.data.provenance import Provenance
from dancejax.errors import UserError
from dancejax.runs import paths
from dancejax.text import meant, printable

Reader = Callable[[str], Arrays]
Sizes = Callable[[int], list[tuple[int, int]]]


class _Source(NamedTuple):
    """Where a data set comes from."""

    name: str
    read: Reader  # reads a split
    sizes: Sizes | None = None  # looks at some images, where sizes may differ
    folder: Path | None = None  # of images, where it is one
    provenance: Callable[[], Provenance] | None = None


Name = str | os.PathLike[str] | HuggingFace


def load(
    name_or_path: Name,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "train",
    image_size: int | None = None,
    seed: int = 0,
    flip: bool | None = None,
) -> Dataset:
    """Load one split of a data set into memory, uint8 [N, H, W, C].

    Nothing is downloaded but names of the Hugging Face hub, by the package `datasets`.

    Args:
      name_or_path: "fashion_mnist_mini" (in the package); a data set that TFDS has prepared under
        data_dir (default: TFDS's own), as "cifar10" or "imagenette/160px"; "tiny_imagenet" or an
        ImageNet set of the papers below data_dir (see `imagenet.read`); a folder of images (see
        `folder.read`); an .npz file (see `npz.read`); a Hugging Face data set as "hf:NAME" or
        "hf:FOLDER" or a `HuggingFace` that says more, of Parquet files and saved ones the path will
        do; a folder of CIFAR, MNIST, SVHN or STL-10 as torchvision downloads them. A name that
        could be either is a TFDS name: write ./cifar10 for a folder of that name.
      data_dir: see name_or_path.
      split: "train" or "test".
      image_size: side to resize and centre-crop to (not of .npz files).
      seed: draws the test images of a folder or file that has no test split, by their content: one
        more image does not move the others.
      flip: whether a mirrored image keeps its label. None: not where the name (of the set, folder
        or file) is that of a known set of digits or letters, else yes.

    Returns:
      The split. mean and std are the field's constants where the name is a known one, else computed
      from the training split, for both splits.

    Raises:
      UserError: in one sentence, anything that the caller can put right.
    """
    if not isinstance(name_or_path, HuggingFace):
        checks.path("the data set", name_or_path)
    if data_dir is not None:
        checks.path("data_dir", data_dir)
    checks.whole("seed", seed)
    check_split(split)
    check_image_size(image_size)
    source = _source(name_or_path, data_dir, image_size, seed)
    try:
        arrays = source.read(split)
        train = arrays
        if split != "train" and known_constants(source.name, arrays.images.shape[-1]) is None:
            train = source.read("train")
    except OSError as error:
        raise _unreadable(name_or_path, error) from error
    except MemoryError as error:
        raise UserError(
            f"{_text(name_or_path)} does not fit into memory; give a smaller image_size, or "
            "fewer images."
        ) from error
    found = _dataset(source.name, split, arrays, train, flip)
    if source.provenance is None:
        return found
    return dataclasses.replace(found, provenance=source.provenance())


def _unreadable(name_or_path: Name, error: OSError) -> UserError:
    place = paths.closed(error.filename or _text(name_or_path))
    return UserError(f"{place} cannot be read ({error.strerror}).")


def _text(name_or_path: Name) -> str:
    if isinstance(name_or_path, HuggingFace):
        return name_or_path.title
    return os.fspath(name_or_path)


def _dataset(name: str, split: str, arrays: Arrays, train: Arrays, flip: bool | None) -> Dataset:
    constants = known_constants(name, arrays.images.shape[-1])
    if constants is None:
        if train.images.shape[1:] != arrays.images.shape[1:]:
            raise UserError(
                f"{name}: training images are {list(train.images.shape[1:])} and test images "
                f"{list(arrays.images.shape[1:])}; bring them to one size, with image_size for a "
                "folder of images."
            )
        constants = channel_statistics(train.images)
    return Dataset(
        name, split, *arrays, *constants, flip=known.flip(name) if flip is None else flip
    )


def image_sizes(
    name_or_path: Name,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    most: int = 1000,
) -> list[tuple[int, int]] | None:
    """Look at how large the images of a folder are, to choose an image_size by.

    Args:
      name_or_path: as in `load`.
      data_dir: likewise.
      most: how many images to look at, spread over the classes.

    Returns:
      (width, height) of training images; None for what has images of one size by its form.

    Raises:
      UserError: as `load` does.
    """
    found = _source(name_or_path, data_dir, None, 0).sizes
    return None if found is None else found(most)


def name_of(name_or_path: Name, *, data_dir: str | os.PathLike[str] | None = None) -> str:
    """Return the name that a data set will have when it is loaded; its images are not read.

    Args:
      name_or_path: as in `load`.
      data_dir: likewise.

    Raises:
      UserError: there is no such data set.
    """
    return printable(_source(name_or_path, data_dir, None, 0).name)


def image_folder(
    name_or_path: Name, *, data_dir: str | os.PathLike[str] | None = None
) -> Path | None:
    """Return the absolute path of a data set that is a folder of images, None for any other.

    Args:
      name_or_path: as in `load`.
      data_dir: likewise.
    """
    return _source(name_or_path, data_dir, None, 0).folder


def _source(
    name_or_path: Name,
    data_dir: str | os.PathLike[str] | None,
    image_size: int | None,
    seed: int,
) -> _Source:
    """The data set's name, and how it is read."""
    try:
        return _found(name_or_path, data_dir, image_size, seed)
    except OSError as error:
        raise _unreadable(name_or_path, error) from error


def _found(
    name_or_path: Name,
    data_dir: str | os.PathLike[str] | None,
    image_size: int | None,
    seed: int,
) -> _Source:
    if isinstance(name_or_path, HuggingFace):
        return _hugging_face(name_or_path, image_size, seed)
    name = os.fspath(name_or_path)
    if name.startswith(PREFIX):
        return _hugging_face(HuggingFace(name.removeprefix(PREFIX)), image_size, seed)
    base = (
        tfds_source.default_data_dir() if data_dir is None else paths.expand(data_dir, "data_dir")
    )
    if not name:
        raise UserError(_unknown(name, base))
    path = paths.expand(name, "the data set")
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return _Source(
            path.stem, lambda split: npz.read(path, split, image_size=image_size, seed=seed)
        )
    is_path = not isinstance(name_or_path, str) or name.startswith((".", "~", os.sep))
    if not is_path and (found := _named(name, base, image_size)):
        return found
    if not is_path and not os.path.exists(path):
        raise UserError(_unknown(name, base))
    if huggingface.is_dataset(path):
        return _hugging_face(HuggingFace(str(path)), image_size, seed)
    if path.is_file():
        raise UserError(hint(path) or f"{path} is a file; give a folder of images or an .npz file.")
    root = Path(os.path.realpath(path))  # resolve() raises where links lead in a ring
    if root.is_dir() and (kept := torchvision.find(root)):
        return _Source(
            kept.name, lambda split: torchvision.read(kept, split, image_size=image_size)
        )
    return _Source(
        root.name or "images",
        lambda split: folder.read(root, split, image_size=image_size, seed=seed),
        lambda most: folder.sizes(root, most),
        root,
    )


def _hugging_face(source: HuggingFace, image_size: int | None, seed: int) -> _Source:
    found = functools.cache(lambda: huggingface.find(source))
    return _Source(
        source.name,
        lambda split: tables.read(found(), split, image_size=image_size, seed=seed),
        lambda most: tables.sizes(found(), most),
        provenance=lambda: tables.provenance(found()),
    )


def _named(name: str, base: Path | None, image_size: int | None) -> _Source | None:
    """A data set that goes by its name; None where there is none of that name."""
    if name == embedded.NAME:
        return _Source(
            name,
            lambda split: embedded.read(split, image_size=image_size),
            provenance=lambda: embedded.PROVENANCE,
        )
    if base is None:
        if name in (*tfds_source.NAMES, *imagenet.NAMES):
            raise UserError(
                f"{name} is looked for below data_dir, by default in the home folder, and there is "
                "none; give data_dir."
            )
        return None
    found = tfds_source.find(name, base)
    if found is not None:
        return _Source(
            name,
            lambda split: tfds_source.read(found, name, split, image_size=image_size),
            provenance=lambda: tfds_source.provenance(found, name),
        )
    if name in imagenet.NAMES:
        return _Source(name, lambda split: imagenet.read(name, base, split, image_size=image_size))
    if name in tfds_source.NAMES:
        raise UserError(
            f"{name} is not prepared under {base}; give the data_dir that has it, or prepare "
            f"it (TensorFlow needed for that, once): {tfds_source.how_to_prepare(name, base)}"
        )
    return None


def _unknown(name: str, data_dir: Path | None) -> str:
    names = [embedded.NAME, *tfds_source.NAMES, *imagenet.NAMES]
    if data_dir is not None and os.path.isdir(data_dir):
        names += sorted(
            p.name for p in data_dir.iterdir() if p.is_dir() and p.name not in ("downloads", *names)
        )
    return (
        f"There is no data set {name!r}.{meant(name, names)} Give one of {', '.join(names)}, "
        "another image classification set that TFDS has prepared under "
        f"{data_dir or 'data_dir'}, the path of a folder of images or an .npz file, or hf:NAME for "
        "one of Hugging Face."
    )
