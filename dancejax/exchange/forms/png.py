"""A folder of PNG files for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dancejax import condensed, names
from dancejax.data import pixels
from dancejax.exchange import files
from dancejax.exchange.form import EIGHT_BIT, About, Arrays, Form, eight_bit


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write images to the folders that a description names, and the classes' names.

    Args:
      path: an empty folder.
      images: float [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
    values, root = eight_bit(images), path / ("test" if "split" in about else "images")
    for label, name in enumerate(about["folders"]):
        (root / name).mkdir(parents=True)
        for number, image in enumerate(values[labels == label]):
            (root / name / f"{number:05d}.png").write_bytes(pixels.to_png(image))
    (path / "classes.txt").write_text(
        "".join(f"{name}\n" for name in names.unique(about["classes"])), encoding="utf-8"
    )


def read(path: Path, about: About, split: str) -> Arrays:
    """Read the folders that a description names; older ones do not, theirs are sorted."""
    root, channels = path / ("images" if split == "train" else split), _channels(about)
    if "folders" not in about:
        _, images, labels = files.class_folders(root, channels)
        return images, labels
    found: list[pixels.Encoded] = []
    numbers: list[int] = []
    for label, name in enumerate(about["folders"]):
        paths = sorted((root / name).glob("*.png"))
        found += [(str(path), path) for path in paths]
        numbers += [label] * len(paths)
    return files.decode(found, channels, root.name), np.array(numbers, np.int64)


def _channels(about: About) -> int:
    return len(about["normalisation"]["mean"])


def _use(about: About) -> str:
    """Say by which rule the folders are named."""
    if "folders" not in about:
        return "Each class has a folder in `images/`, numbered in the order of the labels."
    if about["folders"][0].startswith("0") and about["folders"] != about["classes"]:
        rule = (
            "Each class has a folder in `images/`, numbered since the order of the labels is not "
            "the alphabetical order of the names"
        )
    else:
        rule = (
            "Each class has a folder of its name in `images/`, and their alphabetical order is "
            "that of the labels"
        )
    return (
        f"{rule}; `classes.txt` has the names in that order. Read it by "
        "`torchvision.datasets.ImageFolder('images')`."
    )


def _details(made: condensed.CondensedSet) -> About:
    return {"folders": names.folders(made.classes)}


FORM = Form(
    title="a folder for each class",
    write=write,
    read=read,
    use=_use,
    pixels=EIGHT_BIT,
    eight_bit=True,
    stored=True,
    test="in `test/`, in folders of the same names",
    parts=("images",),
    details=_details,
)
