"""Folders of images: train/CLASS/* and test/CLASS/*, or CLASS/* with a seeded split."""

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dancejax.data import cache, layout, pixels
from dancejax.data.arrays import Arrays
from dancejax.data.splitting import DIGEST_BYTES, content_split
from dancejax.data.tree import Files, Tree
from dancejax.errors import UserError

_KEPT = 2000
"""Images from which on a split is worth keeping decoded."""
_CHUNK = 64  # files a task of the pool


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Says in a sentence what the system refuses to read."""
    try:
        yield
    except OSError as error:
        name = "the folder of images" if error.filename is None else error.filename
        raise UserError(f"{name} cannot be read ({error.strerror}).") from error


@_readable()
def read(root: Path, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Read one split of a folder of images.

    Layouts: root/train/CLASS/... with root/test/CLASS/... (or Training, seg_train, val, valid,
    validation and so on, in any case), or with root/val/images and val_annotations.txt as
    TinyImageNet comes; else root/CLASS/..., of which about a fifth of each class is drawn with
    `seed` for testing, by the files' content. A folder that is all there is in root is entered.
    Class names are sorted, and made printable; images may lie in folders below the class's; links
    are followed. Passed over are hidden files and systems' own, and, said on stderr, other file
    types, other top-level files and folders that dancejax wrote. What
    is decoded of a split of many images is kept for the next start.

    Args:
      root: the folder.
      split: "train" or "test".
      image_size: see `pixels.decode`; needed where images differ in size.
      seed: of the draw of test images, where the folder has no split.

    Returns:
      Images, grey (C = 1) if every file of both splits is stored grey, else RGB.

    Raises:
      UserError: a folder or file, which it names, cannot be read so.
    """
    classes, files = _find(root, seed)
    return _decode(root, classes, files, split, image_size=image_size, channels=None)


@_readable()
def find(root: Path, seed: int) -> tuple[tuple[str, ...], dict[str, Files]]:
    """Find the classes of a folder of images, and which files are on which side of its split.

    Args:
      root: as for `read`.
      seed: likewise.

    Returns:
      (names of the classes, {"train": files, "test": files}).

    Raises:
      UserError: as `read` does.
    """
    return _find(root, seed)


@_readable()
def read_files(paths: Sequence[Path], *, channels: int, image_size: int | None) -> np.ndarray:
    """Read image files as `read` does.

    Args:
      paths: of the files.
      channels: 1 or 3.
      image_size: see `pixels.decode`.

    Returns:
      uint8 [N, H, W, channels], in the order of the paths.

    Raises:
      UserError: a file, which it names, cannot be read so.
    """
    files = [(str(path), path) for path in paths]
    return pixels.decode_all(
        [files], len(files), channels=channels, image_size=image_size, title="test images"
    )


@_readable()
def read_classes(
    root: Path, split: str, *, classes: tuple[str, ...] | None, image_size: int | None
) -> Arrays:
    """Read chosen classes of root/train and root/val, in RGB.

    Args:
      root: as for `read`.
      split: likewise.
      image_size: likewise.
      classes: names of the folders, labelled in this order; None takes all, sorted.

    Raises:
      UserError: as `read` does.
    """
    tree = Tree(root)
    if classes is None:
        classes = tuple(path.name for path in tree.folders(root / "train"))
    files = {
        key: tree.files_of([root / top / name for name in classes])
        for key, top in (("train", "train"), ("test", "val"))
    }
    tree.say_passed_over()
    return _decode(root, classes, files, split, image_size=image_size, channels=3)


@_readable()
def sizes(root: Path, most: int = 1000) -> list[tuple[int, int]]:
    """Look at the sizes of some training images, or of all where the folder has no split.

    Args:
      root: the folder.
      most: images to look at, spread over the classes.

    Returns:
      (width, height) of each.

    Raises:
      UserError: as `read` does.
    """
    paths = layout.find(root).train.paths
    step = -(-len(paths) // most)
    with pixels.quiet():
        return [pixels.size((str(path), path)) for path in paths[::step]]


@_readable()
def class_files(root: Path) -> tuple[tuple[str, ...], Files]:
    """Find the image files of root/CLASS/..., sorted.

    Returns:
      (names of the classes, files with labels).

    Raises:
      UserError: there are fewer than two classes.
    """
    return Tree(root).classes(root)


def _find(root: Path, seed: int) -> tuple[tuple[str, ...], dict[str, Files]]:
    """Class names and the files of both splits."""
    classes, files, test = layout.find(root)
    if test is not None:
        return classes, {"train": files, "test": test}
    index = content_split(_digests(root, files.paths), files.labels, classes, seed=seed)
    return classes, {
        split: Files([files.paths[i] for i in part], files.labels[part])
        for split, part in index.items()
    }


def _digests(root: Path, paths: list[Path]) -> np.ndarray:
    """Digests of files' bytes, uint8 [N, 16]; those of many files are kept for the next start."""

    def make() -> np.ndarray:
        chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
        with ThreadPoolExecutor() as pool:
            found = [digest for part in pool.map(_of_chunk, chunks) for digest in part]
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST_BYTES)

    if len(paths) < _KEPT:
        return make()
    shape = (len(paths), DIGEST_BYTES)
    return cache.kept_array((root, "digests"), cache.stamp(paths), shape, make)


def _of_chunk(paths: list[Path]) -> list[bytes]:
    return [_digest(path) for path in paths]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        new = functools.partial(hashlib.blake2b, digest_size=DIGEST_BYTES)
        return hashlib.file_digest(file, new).digest()


def _decode(
    root: Path,
    classes: tuple[str, ...],
    files: dict[str, Files],
    split: str,
    *,
    image_size: int | None,
    channels: int | None,
) -> Arrays:
    """channels: None finds out whether all files of both splits are grey."""
    wanted = [(str(path), path) for path in files[split].paths]

    def make(room: cache.Empty) -> Arrays:
        found = channels
        if found is None:
            every = [(str(path), path) for part in files.values() for path in part.paths]
            found = 1 if pixels.all_grey(every) else 3
        images = pixels.decode_all(
            (wanted[i : i + pixels.BLOCK] for i in range(0, len(wanted), pixels.BLOCK)),
            len(wanted),
            channels=found,
            image_size=image_size,
            title=f"{root.name} {split}",
            room=room,
        )
        return Arrays(images, files[split].labels, classes)

    if len(wanted) < _KEPT:
        return make(pixels.empty)
    every = [path for part in files.values() for path in part.paths]
    labels = np.concatenate([part.labels for part in files.values()])
    key = (root, split, image_size, channels, *classes)
    sides = [len(part.labels) for part in files.values()]
    return cache.cached(key, cache.stamp(every, labels.tobytes(), str(sides).encode()), make)
