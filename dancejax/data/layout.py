"""How a folder of images is laid out: splits, classes, wrappers.

Recognised are root/train/CLASS/... with root/test/CLASS/... under the names that people use, and
root/CLASS/...; what could be a split but is not known as one is refused, never taken for classes.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dancejax.data.foreign import hint
from dancejax.data.tree import Files, Tree
from dancejax.errors import UserError
from dancejax.runs.notes import say_once

_ROLES = {
    "train": ("train", "training", "trainset", "traindata"),
    "test": ("test", "testing", "testset", "testdata"),
    "val": ("val", "valid", "validation", "valset", "dev", "eval", "evaluation", "holdout"),
}
ANNOTATIONS = "val_annotations.txt"


class Layout(NamedTuple):
    """Classes and files; test is None where the folder has no split of its own."""

    classes: tuple[str, ...]
    train: Files
    test: Files | None


class _Top(NamedTuple):
    """A folder at the level of splits."""

    path: Path  # as it lies in the root
    content: Path  # the folder that holds its classes
    role: str | None
    exact: bool  # called "train", not "seg_train"
    names: frozenset[str]  # of the folders in it


def find(root: Path) -> Layout:
    """Find the classes and files of a folder of images. Raises UserError, naming what is wrong."""
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; give the folder that holds the images.")
    tree = Tree(root)
    folder = root if _role(_only(tree, root))[1] else tree.unwrapped(root)
    if folder != root:
        say_once(f"{root}: the data set is taken from {folder}, all that is in it")
    tops = [_top(tree, path) for path in tree.folders(folder)]
    if not tops:
        raise UserError(
            hint(folder)
            or f"{folder} has no class folders; put the images into one folder a class, "
            "as in train/cat/1.png and test/cat/2.png, or cat/1.png."
        )
    split = _split(tree, folder, tops)
    found = split or Layout(*tree.classes(folder), None)
    tree.say_passed_over()
    return found


def _only(tree: Tree, folder: Path) -> str:
    """The name of the only folder in a folder, else an empty one."""
    folders = tree.folders(folder)
    return folders[0].name if len(folders) == 1 else ""


def _role(name: str) -> tuple[str | None, bool]:
    """(which split a folder's name stands for, whether that is all that it says)."""
    lower = name.lower()
    words = {word for word in re.split(r"[^a-z]+", lower) if word}
    roles = {role for role, names in _ROLES.items() if words & set(names)}
    role = roles.pop() if len(roles) == 1 else None
    return role, role is not None and lower in _ROLES[role]


def _top(tree: Tree, path: Path) -> _Top:
    role, exact = _role(path.name)
    content = tree.unwrapped(path) if role else path
    return _Top(path, content, role, exact, frozenset(p.name for p in tree.folders(content)))


def _split(tree: Tree, root: Path, tops: Sequence[_Top]) -> Layout | None:
    """The layout with a folder a split, or None where the folders are classes."""
    tests = [
        top
        for role in ("test", "val")
        for top in sorted(tops, key=lambda top: not top.exact)
        if top.role == role
    ]
    trains = [top for top in tops if top.role == "train"]
    sure = [top for top in trains if top.exact and (top.names or any(t.exact for t in tests))]
    likely = [top for top in trains if any(_labelled(top, test) for test in tests)]
    found = sure or likely
    if len(found) > 1:
        raise UserError(
            f"{root} has several folders that could be the training split, {found[0].path.name} "
            f"and {found[1].path.name}; leave one of them there."
        )
    if not found:
        _refuse_unknown_split(tree, root, tops)
        return None
    return _with_splits(tree, root, tops, found[0], tests)


def _refuse_unknown_split(tree: Tree, root: Path, tops: Sequence[_Top]) -> None:
    """Raises UserError where folders look like splits that are not called so."""
    common = frozenset.intersection(*(top.names for top in tops))
    alike = len(tops) > 1 and len(common) > 1
    if alike and not any(tree.files(top.path) for top in tops):
        names = ", ".join(top.path.name for top in tops[:3])
        raise UserError(
            f"The folders {names} in {root} all hold the folders {', '.join(sorted(common)[:3])}, "
            "so that they look like splits, not classes; call them train and test, or put each "
            "class's images into one folder."
        )
    roles = {top.role for top in tops}
    if None not in roles and "train" in roles and len(roles) > 1:
        raise UserError(
            f"{root} has a train folder, but no test or validation folder with the same class "
            "folders in it; put the images into one folder a class."
        )


def _labelled(train: _Top, test: _Top) -> bool:
    return bool(train.names & test.names) or (test.path / ANNOTATIONS).is_file()


def _with_splits(
    tree: Tree, root: Path, tops: Sequence[_Top], train: _Top, tests: Sequence[_Top]
) -> Layout:
    """The layout with train and test folders; a test folder without labels is passed over."""
    annotated = [t for t in tests if (t.path / ANNOTATIONS).is_file()]
    labelled = annotated or [t for t in tests if _labelled(train, t)]
    if not labelled:
        raise UserError(
            f"{root} has a train folder, but no test, val or validation folder with the same "
            "class folders in it; add one, or move the class folders up to have them split."
        )
    test = labelled[0]
    if unused := [top.path.name for top in tops if top not in (train, test)]:
        say_once(
            f"{root}: {train.path.name} is for training and {test.path.name} for testing; passed "
            f"over {', '.join(unused)}"
        )
    classes, files = tree.classes(train.content)
    if annotated:
        names = [path.name for path in tree.folders(train.content)]
        return Layout(classes, files, _annotated(test.path, names))
    test_classes, test_files = tree.classes(test.content)
    if odd := sorted(set(classes) ^ set(test_classes)):
        raise UserError(
            f"Class {odd[0]!r} is in only one of {train.content} and {test.content}; "
            "both need the same class folders."
        )
    return Layout(classes, files, test_files)


def _annotated(val: Path, classes: Sequence[str]) -> Files:
    """TinyImageNet's validation images: val/images/FILE, whose class val_annotations.txt has."""
    number = {name: label for label, name in enumerate(classes)}
    paths: list[Path] = []
    labels: list[int] = []
    text = (val / ANNOTATIONS).read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        name, _, rest = line.partition("\t")
        path, label = val / "images" / name, number.get(rest.partition("\t")[0])
        if label is None or not name or "/" in name or "\0" in name:
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
    return Files(paths, np.array(labels, np.int32))
