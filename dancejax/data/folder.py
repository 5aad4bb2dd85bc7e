"""Folders of images: train/CLASS/* and test/CLASS/*, or CLASS/* with a seeded split."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dancejax.data import cache, pixels
from dancejax.data.dataset import Arrays, stratified_split
from dancejax.errors import UserError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
TEST_NAMES = ("test", "val", "validation")
ANNOTATIONS = "val_annotations.txt"
_KEPT = 2000
"""Images from which on a split is worth keeping decoded."""


class _Files(NamedTuple):
    """The image files of one split, by class and then by path."""

    paths: list[Path]
    labels: np.ndarray  # int32 [N]


def read(root: Path, split: str, *, image_size: int | None, seed: int) -> Arrays:
    """Reads one split ("train" or "test") of a folder of images.

    Layouts: root/train/CLASS/... with root/test/CLASS/... (or val, or validation), or with
    root/val/images and val_annotations.txt as TinyImageNet comes; else root/CLASS/..., of which a
    fifth of each class is drawn with `seed` for testing. Class names are sorted; images may lie in
    folders below the class's; hidden files, other file types and other top-level files are passed
    over. Grey (C = 1) if every file of both splits is stored grey, else RGB. image_size: see
    `pixels.decode`; needed where images differ in size. What is decoded of a split of many images
    is kept for the next start. Raises UserError for any folder or file that this cannot be done
    with, naming it.
    """
    try:
        classes, files = _find(root, seed)
        return _decode(root, classes, files, split, image_size=image_size, channels=None)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error


def read_classes(
    root: Path, split: str, *, classes: tuple[str, ...] | None, image_size: int | None
) -> Arrays:
    """Reads chosen classes of root/train and root/val, in RGB, labelled in the order given.

    classes: None takes all, sorted. The rest is as in `read`.
    """
    try:
        if classes is None:
            classes = tuple(path.name for path in _folders(root / "train", root))
        files = {
            key: _files_of([root / top / name for name in classes], root)
            for key, top in (("train", "train"), ("test", "val"))
        }
        return _decode(root, classes, files, split, image_size=image_size, channels=3)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error


def sizes(root: Path, most: int = 1000) -> list[tuple[int, int]]:
    """(width, height) of up to `most` training images, spread over the classes.

    Raises UserError as `read` does.
    """
    try:
        paths = _find(root, 0)[1]["train"].paths
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error
    step = -(-len(paths) // most)
    return [pixels.size((str(path), path)) for path in paths[::step]]


def class_files(root: Path) -> tuple[tuple[str, ...], _Files]:
    """(names, files) of root/CLASS/..., sorted. Raises UserError for fewer than two classes."""
    try:
        return _files(root, root)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error


def _decode(
    root: Path,
    classes: tuple[str, ...],
    files: dict[str, _Files],
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
    key = (root, split, image_size, channels, ",".join(classes))
    return cache.cached(key, cache.stamp(every), make)


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
    annotated = [t for t in tests if (t / ANNOTATIONS).is_file()]
    if annotated:
        classes, train_files = _files(train, root)
        return classes, {"train": train_files, "test": _annotated(annotated[0], classes)}
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
    return tuple(f.name for f in folders), _files_of(folders, root)


def _files_of(folders: Sequence[Path], root: Path) -> _Files:
    """The image files of class folders, labelled in their order."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        if not folder.is_dir():
            raise UserError(f"Class folder {folder} is missing; add it with its images.")
        found = list(_images(folder, root))
        if not found:
            raise UserError(
                f"Class folder {folder} has no images ({', '.join(sorted(EXTENSIONS))}); "
                "add some or remove it."
            )
        paths += found
        labels += [label] * len(found)
    return _Files(paths, np.array(labels, np.int32))


def _annotated(val: Path, classes: tuple[str, ...]) -> _Files:
    """TinyImageNet's validation images: val/images/FILE, whose class val_annotations.txt has."""
    number = {name: label for label, name in enumerate(classes)}
    paths: list[Path] = []
    labels: list[int] = []
    for line in (val / ANNOTATIONS).read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition("\t")
        path, label = val / "images" / name, number.get(rest.partition("\t")[0])
        if label is None or "/" in name:
            raise UserError(
                f"{val / ANNOTATIONS} has the line {line!r}; each must be a file, a tab and a "
                "class that the train folder has."
            )
        if not path.is_file():
            raise UserError(f"{path} is missing, but {val / ANNOTATIONS} names it.")
        paths.append(path)
        labels.append(label)
    if not paths:
        raise UserError(f"{val / ANNOTATIONS} names no images; unpack the data set again.")
    return _Files(paths, np.array(labels, np.int32))


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
