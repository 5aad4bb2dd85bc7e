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
from dancejax.data.dataset import Arrays

Empty = Callable[[tuple[int, ...]], np.ndarray]
_BLOCK = 1 << 26


def cache_folder(name: str) -> Path:
    """Our folder of this name in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dancejax" / name


def stamp(files: Iterable[Path]) -> str:
    """What changes when one of the files is changed, added or removed: sha256 of their states."""
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cached(key: tuple[object, ...], stamp: str, make: Callable[[Empty], Arrays]) -> Arrays:
    """make(empty)'s arrays, or what an earlier call with this key and stamp kept of them.

    empty: gives room for the images, uint8 of a shape, on disk. Kept are one set of arrays for each
    key, in the user's cache folder; images come back memory-mapped and read-only. A damaged entry
    is made again. Where there is no room on the disk, or DANCEJAX_NO_CACHE is set, nothing is kept.
    """
    if "DANCEJAX_NO_CACHE" in os.environ:
        return make(pixels.empty)
    name = hashlib.sha256(json.dumps([str(part) for part in key]).encode()).hexdigest()[:32]
    folder = cache_folder("images") / name
    found = _read(folder, stamp)
    if found is not None:
        return found
    temporary = folder.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        arrays = make(lambda shape: _on_disk(temporary / "images.npy", shape))
        _write(temporary, arrays, key, stamp)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        print(f"decoded images are not kept in {folder.parent}: {error.strerror}", file=sys.stderr)
        shutil.rmtree(temporary, ignore_errors=True)
        return make(pixels.empty)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = _read(folder, stamp)
    assert kept is not None
    return kept


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
    if not (folder / "manifest.json").exists():
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
