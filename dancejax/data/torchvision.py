"""Data sets as torchvision downloads them, read from its folders without torch.

CIFAR's files are pickles. They are read by an unpickler that knows NumPy's arrays and Python's
containers, and nothing else, so that no code in them is run.

References:
  CIFAR: https://www.cs.toronto.edu/~kriz/cifar.html. MNIST's idx files:
  http://yann.lecun.com/exdb/mnist. SVHN: http://ufldl.stanford.edu/housenumbers. STL-10:
  https://cs.stanford.edu/~acoates/stl10.
"""

import gzip
import io
import math
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax.data import arrays, pixels
from dancejax.data.arrays import Arrays, Numbering
from dancejax.errors import UserError
from dancejax.runs.notes import say_once

Part = tuple[np.ndarray, np.ndarray]
"""Images uint8 [N, H, W, C] and labels int [N]."""

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_IDX = {"mnist": _DIGITS, "fashion_mnist": _CLOTHES, "kmnist": _DIGITS, "qmnist": _DIGITS}


class Found(NamedTuple):
    """A data set in torchvision's form."""

    name: str  # as TFDS has it
    folder: Path  # with its files
    read: Callable[[Path, str], Part]  # reads a split
    classes: Callable[[Path], tuple[str, ...]]


def find(root: Path) -> Found | None:
    """Find a data set in a folder, or in the folders in it; None where there is none.

    Args:
      root: the folder of the files (cifar-10-batches-py, MNIST/raw), or one above, as it is given
        to torchvision.

    Raises:
      UserError: there are several.
    """
    inner = sorted(path for path in root.iterdir() if path.is_dir())
    folders = [root, *inner, *(path / "raw" for path in inner)]
    found = [kind for folder in folders if (kind := _kind(folder))]
    if len(found) > 1:
        raise UserError(
            f"{root} holds several data sets; give one of "
            f"{', '.join(str(kind.folder) for kind in found)}."
        )
    return found[0] if found else None


def read(found: Found, split: str, *, image_size: int | None) -> Arrays:
    """Read one split.

    Args:
      found: the data set.
      split: "train" or "test".
      image_size: see `pixels.decode`.

    Returns:
      Images in the order of the files; names of the classes are those that TFDS has.

    Raises:
      UserError: a file is missing or damaged, or holds more than arrays.
    """
    images, labels = found.read(found.folder, split)
    title, names = f"{found.folder}, {split} split", found.classes(found.folder)
    labels = arrays.to_labels(np.asarray(labels), title, len(images))
    numbers = arrays.to_numbers(labels, Numbering(np.arange(len(names)), names), title)
    return Arrays(pixels.fit(images, image_size), numbers, names)


def _kind(folder: Path) -> Found | None:
    """The data set whose files lie in a folder itself."""

    def has(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    if has("data_batch_1", "test_batch"):
        return Found("cifar10", folder, _cifar10, lambda path: _names(path, "batches.meta"))
    if all(map(has, ("train", "test", "meta"))):
        return Found("cifar100", folder, _cifar100, lambda path: _names(path, "meta"))
    if has(*_idx_names("train", "images", 3), *_idx_names("test", "images", 3)):
        return _idx_kind(folder)
    if has("train_32x32.mat", "test_32x32.mat"):
        return Found("svhn_cropped", folder, _svhn, lambda _: _DIGITS)
    if has("train_X.bin", "test_X.bin"):
        return Found("stl10", folder, _stl10, lambda _: _STL10)
    return None


def _idx_kind(folder: Path) -> Found:
    """Which data set idx files are of; all have the same names, so that their folder's counts."""
    home = folder.parent if folder.name == "raw" else folder
    plain = re.sub(r"[^a-z]", "", home.name.lower())
    name = {known.replace("_", ""): known for known in _IDX}.get(plain)
    if name is not None:
        return Found(name, folder, _idx, lambda _: _IDX[name])
    say_once(
        f"{folder}: idx files of no known data set; in a folder called MNIST, FashionMNIST, KMNIST "
        "or QMNIST they are that one, with its constants and its rule for mirroring"
    )
    return Found(home.name or "images", folder, _idx, _idx_classes)


class _Unpickler(pickle.Unpickler):
    """Reads arrays and plain containers only."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.BytesIO(_bytes(path)), encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            module = "numpy"
        if (module, name) == ("numpy", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise UserError(
            f"{self._path} is not read: it holds more than arrays ({module}.{name}), and code in "
            "it could be run; download the data set again."
        )


def _unpickled(path: Path) -> dict[Any, Any]:
    try:
        found = _Unpickler(path).load()
    except (UserError, OSError):
        raise
    except Exception as error:  # a pickle that was made up can fail in any way
        raise _damaged(path) from error
    if not isinstance(found, dict):
        raise _damaged(path)
    # Python 2 wrote the keys as bytes.
    return {key.decode() if isinstance(key, bytes) else key: found[key] for key in found}


def _names(folder: Path, file: str) -> tuple[str, ...]:
    meta = _unpickled(folder / file)
    names = meta.get("fine_label_names", meta.get("label_names"))
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise _damaged(folder / file)
    return tuple(name if isinstance(name, str) else name.decode() for name in names)


def _cifar10(folder: Path, split: str) -> Part:
    files = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    images, labels = zip(*(_cifar(folder / name, "labels") for name in files), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _cifar100(folder: Path, split: str) -> Part:
    return _cifar(folder / split, "fine_labels")


def _cifar(path: Path, key: str) -> Part:
    """A file of CIFAR: images as rows of 3072 numbers, red, green and blue after each other."""
    found = _unpickled(path)
    images, labels = found.get("data"), found.get(key)
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.shape[1:] != (3072,)
        or not isinstance(labels, list)
        or len(labels) != len(images)
    ):
        raise _damaged(path)
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), arrays.as_array(labels, str(path))


def _idx(folder: Path, split: str) -> Part:
    return _idx_array(folder, split, "images", 3)[..., None], _idx_array(folder, split, "labels", 1)


def _idx_classes(folder: Path) -> tuple[str, ...]:
    labels = _idx_array(folder, "train", "labels", 1)
    return tuple(map(str, range(int(labels.max(initial=0)) + 1)))


def _idx_names(split: str, what: str, axes: int) -> list[str]:
    stem = f"{'train' if split == 'train' else 't10k'}-{what}"
    return [f"{stem}{dot}idx{axes}-ubyte{end}" for dot in "-." for end in ("", ".gz")]


def _idx_array(folder: Path, split: str, what: str, axes: int) -> np.ndarray:
    """An idx file of bytes: a magic number, big-endian sizes, then the numbers."""
    names = _idx_names(split, what, axes)
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    data = _bytes(path)
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path) from error
    start = 4 * (axes + 1)
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist())
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != start + math.prod(shape):
        raise _damaged(path)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _svhn(folder: Path, split: str) -> Part:
    """MATLAB's arrays X [32, 32, 3, N] and y [N, 1], where 10 stands for the digit 0."""
    from scipy import io as scipy_io

    path = folder / f"{split}_32x32.mat"
    data = _bytes(path)
    try:
        found = scipy_io.loadmat(io.BytesIO(data), variable_names=["X", "y"])
        images, labels = found["X"], found["y"].reshape(-1)
    except Exception as error:  # SciPy raises many types for damaged files
        raise _damaged(path) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise _damaged(path)
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels.astype(np.int64) % 10


def _stl10(folder: Path, split: str) -> Part:
    """Bytes of images by channel and column, and of labels from 1."""
    path = folder / f"{split}_X.bin"
    images = np.frombuffer(_bytes(path), np.uint8)
    labels = np.frombuffer(_bytes(folder / f"{split}_y.bin"), np.uint8)
    if len(images) != len(labels) * 3 * 96 * 96:
        raise _damaged(path)
    images = images.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64) - 1


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing; download the data set again.")
    return path.read_bytes()


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} is damaged or of another form than torchvision's; download the data set again."
    )
