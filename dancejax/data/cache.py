"""Decoded images kept between starts: a memory-mapped array with a checksum of every byte."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from dancejax.data import pixels
from dancejax.data.arrays import Arrays
from dancejax.runs import paths
from dancejax.runs.notes import say_once

Empty = Callable[[tuple[int, ...]], np.ndarray]
_BLOCK = 1 << 26


def stamp(files: Iterable[Path], *more: bytes) -> str:
    """Return a sha256 that changes when a file is changed, added or removed.

    Args:
      files: whose sizes and times of change it is of.
      *more: what else changes it.
    """
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(os.fsencode(path) + f" {state.st_size} {state.st_mtime_ns}\n".encode())
    for part in more:
        digest.update(part)
    return digest.hexdigest()


def cached(key: tuple[object, ...], stamp: str, make: Callable[[Empty], Arrays]) -> Arrays:
    """Make arrays, or return what an earlier call with this key and stamp kept of them.

    Nothing is kept where there is no cache folder or no room on the disk, or DANCEJAX_NO_CACHE is
    set. A damaged entry is made again.

    Args:
      key: of the entry; one set of arrays is kept for each, in the user's cache folder.
      stamp: of what the arrays are made from.
      make: makes them, given a function from a shape to room for uint8 images.

    Returns:
      The arrays; images that were kept are memory-mapped and read-only.
    """
    folder = _entry(key)
    if folder is None:
        return make(pixels.empty)
    found = _read(folder, stamp)
    if found is not None:
        return found
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        arrays = make(lambda shape: _on_disk(temporary / "images.npy", shape))
        _write(temporary, arrays, key, stamp)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        _say_not_kept(folder, error)
        shutil.rmtree(temporary, ignore_errors=True)
        return make(pixels.empty)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = _read(folder, stamp)
    # Another process may have put its own there, of another seed for instance.
    return make(pixels.empty) if kept is None else kept


def kept_array(
    key: tuple[object, ...], stamp: str, shape: tuple[int, ...], make: Callable[[], np.ndarray]
) -> np.ndarray:
    """Make an array, or return what an earlier call with this key and stamp kept of it.

    Args:
      key: as for `cached`.
      stamp: likewise.
      shape: of the array.
      make: makes it, uint8.
    """
    folder = _entry(key)
    if folder is None:
        return make()
    path = folder.with_suffix(".bin")
    size = int(np.prod(shape))
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        body = data[-size:]
        if data == _sealed(body, stamp) and len(body) == size:
            return np.frombuffer(body, np.uint8).reshape(shape)
    array = make()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(_sealed(array.tobytes(), stamp))
        temporary.replace(path)
    except OSError as error:
        _say_not_kept(path, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return array


def _sealed(body: bytes, stamp: str) -> bytes:
    return hashlib.sha256(stamp.encode() + body).digest() + body


def _entry(key: tuple[object, ...]) -> Path | None:
    """Where what belongs to a key is kept; None where nothing is."""
    if "DANCEJAX_NO_CACHE" in os.environ:
        return None
    home = paths.cache_folder("images")
    name = hashlib.sha256(json.dumps([str(part) for part in key]).encode()).hexdigest()[:32]
    return None if home is None else home / name


def _say_not_kept(path: Path, error: OSError) -> None:
    say_once(f"decoded images are not kept in {path.parent}: {error.strerror or error}")


def _on_disk(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A mapped array whose room is taken at once: a full disk is an error here, not a crash later.

    Raises OSError where there is not enough.
    """
    if shutil.disk_usage(path.parent).free < np.prod(shape, dtype=np.int64) + 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _write(folder: Path, arrays: Arrays, key: tuple[object, ...], stamp: str) -> None:
    if isinstance(arrays.images, np.memmap):
        arrays.images.flush()
    else:
        np.save(folder / "images.npy", arrays.images)
    np.save(folder / "labels.npy", arrays.labels)
    about = {
        "of": [str(part) for part in key],
        "stamp": stamp,
        "sha256": _digest(arrays),
        "classes": list(arrays.classes),
    }
    (folder / "manifest.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def _read(folder: Path, stamp: str) -> Arrays | None:
    """The entry if it is there, of this stamp, and whole."""
    if not os.path.exists(folder / "manifest.json"):  # also where the folder may not be read
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if about["stamp"] != stamp:
            return None
        images = np.load(folder / "images.npy", mmap_mode="r")
        arrays = Arrays(images, np.load(folder / "labels.npy"), tuple(about["classes"]))
        if _digest(arrays) == about["sha256"]:
            return arrays
    print(f"the kept images in {folder} are damaged and are decoded again", file=sys.stderr)
    return None


def _digest(arrays: Arrays) -> str:
    """sha256 of shape, classes, labels and pixels, read in blocks."""
    images, labels, classes = arrays
    digest = hashlib.sha256(json.dumps([images.shape, list(classes)]).encode())
    digest.update(np.ascontiguousarray(labels, "<i4").data)
    step = max(1, _BLOCK // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).data)
    return digest.hexdigest()
