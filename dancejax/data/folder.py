"""Folders of images: train/CLASS/* and test/CLASS/*, or CLASS/* with a seeded split."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dancejax.data import pixels
from dancejax.data.dataset import Arrays, stratified_split
from dancejax.errors import UserError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
TEST_NAMES = ("test", "val", "validation")


class _Files(NamedTuple):
    """The image files of one split, by class and then by path."""

    paths: list[Path]
    labels: np.ndarray  # int32 [N]


def read(root: Path, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Reads one split ("train" or "test") of a folder of images.

    Layouts: root/train/CLASS/... with root/test/CLASS/... (or val, or validation), else
    root/CLASS/..., of which a fifth of each class is drawn with `seed` for testing. Class names
    are sorted; images may lie in folders below the class's; hidden files, other file types and
    other top-level files are passed over. Grey (C = 1) if every file of both splits is stored
    grey, else RGB. image_size: see `pixels.decode`; needed where images differ in size.
    Raises UserError for any folder or file that this cannot be done with, naming it.
    """
    try:
        classes, files = _find(root, seed)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error
    encoded = {key: [(str(p), p) for p in part.paths] for key, part in files.items()}
    grey = pixels.all_grey(encoded["train"] + encoded["test"])
    wanted = encoded[split]
    images = pixels.decode_all(
        (wanted[i : i + pixels.BLOCK] for i in range(0, len(wanted), pixels.BLOCK)),
        len(wanted),
        channels=1 if grey else 3,
        image_size=image_size,
        title=f"{root.name} {split}",
    )
    return Arrays(images, files[split].labels, classes)


def _find(root: Path, seed: int) -> tuple[tuple[str, ...], dict[str, _Files]]:
    """Class names and the files of both splits."""
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; give the folder that holds the images.")
    tops = {path.name.lower(): path for path in _folders(root, root)}
    if not tops:
        raise UserError(
            f"{root} has no class folders; put the images into one folder a class, "
            "as in train/cat/1.png and test/cat/2.png, or cat/1.png."
        )
    tests = [tops[name] for name in TEST_NAMES if name in tops]
    if "train" in tops and (tests or _folders(tops["train"], root)):
        return _find_split(root, tops["train"], tests)
    classes, everything = _files(root, root)
    index = stratified_split(everything.labels, classes, seed=seed)
    return classes, {
        split: _Files([everything.paths[i] for i in part], everything.labels[part])
        for split, part in index.items()
    }


def _find_split(
    root: Path, train: Path, tests: list[Path]
) -> tuple[tuple[str, ...], dict[str, _Files]]:
    """The layout with train and test folders; a test folder without labels is passed over."""
    names = {path.name for path in _folders(train, root)}
    labelled = [t for t in tests if names & {path.name for path in _folders(t, root)}]
    if not labelled:
        raise UserError(
            f"{root} has a train folder, but no test, val or validation folder with the same "
            "class folders in it; add one, or move the class folders up to have them split."
        )
    classes, train_files = _files(train, root)
    test_classes, test_files = _files(labelled[0], root)
    if odd := sorted(set(classes) ^ set(test_classes)):
        raise UserError(
            f"Class {odd[0]!r} is in only one of {train} and {labelled[0]}; "
            "both need the same class folders."
        )
    return classes, {"train": train_files, "test": test_files}


def _files(parent: Path, root: Path) -> tuple[tuple[str, ...], _Files]:
    """Class names and image files of the class folders in `parent`."""
    folders = _folders(parent, root)
    if len(folders) < 2:
        raise UserError(
            f"{parent} has {len(folders)} class folder(s); at least two classes are needed."
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = list(_images(folder, root))
        if not found:
            raise UserError(
                f"Class folder {folder} has no images ({', '.join(sorted(EXTENSIONS))}); "
                "add some or remove it."
            )
        paths += found
        labels += [label] * len(found)
    return tuple(f.name for f in folders), _Files(paths, np.array(labels, np.int32))


def _images(folder: Path, root: Path) -> Iterator[Path]:
    """Image files in a folder and below, sorted by name."""
    for entry in _entries(folder, root):
        if entry.is_dir():
            yield from _images(entry, root)
        elif entry.suffix.lower() in EXTENSIONS:
            yield entry


def _folders(parent: Path, root: Path) -> list[Path]:
    return [path for path in _entries(parent, root) if path.is_dir()]


def _entries(folder: Path, root: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted; links may only lead to files inside of root."""
    paths = sorted(Path(e.path) for e in os.scandir(folder) if not e.name.startswith("."))
    for path in paths:
        if not path.is_symlink():
            continue
        if not path.exists():
            raise UserError(f"{path} is a broken link; remove it.")
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(
                f"{path} is a link to a place outside of {root}; put a copy there instead."
            )
        if path.is_dir():
            raise UserError(f"{path} is a link to a folder; put the folder itself there.")
    return paths
