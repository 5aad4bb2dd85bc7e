"""Which files of an own folder of images are for training and which for testing: split.json."""

from pathlib import Path
from typing import Any

import numpy as np

from dancejax import data, runs
from dancejax.applications.settings import DataSettings, Source
from dancejax.condensed import RESIZED, CondensedSet
from dancejax.data import folder
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.types import Json

FILE = "split.json"


def keep(workdir: Path, source: Source, train: Dataset) -> None:
    """Write split.json for a run on a folder of images; for other data there is nothing to write.

    Args:
      workdir: of the run.
      source: the data set.
      train: its training images.
    """
    if not isinstance(source, DataSettings) or not parallel.is_primary():
        return
    root = data.image_folder(source.source, data_dir=source.data_dir)
    if root is not None:
        runs.write_json(workdir / FILE, describe(root, source, train))


def describe(root: Path, source: DataSettings, train: Dataset) -> Json:
    """Return what split.json says.

    Args:
      root: the folder of images.
      source: how it is read.
      train: its training images.
    """
    _, files = folder.find(root, 0)
    test = source.load("test")
    prints = {"train": train.fingerprint, "test": test.fingerprint}
    return {
        "folder": str(root),
        "dataset": train.name,
        "classes": list(train.classes),
        "image_size": source.image_size,
        "image_shape": list(train.image_shape),
        "resized": RESIZED,
        **{
            side: {
                "fingerprint": prints[side],
                "labels": part.labels.tolist(),
                "files": [str(path.relative_to(root)) for path in part.paths],
            }
            for side, part in files.items()
        },
    }


def read_test(workdir: Path, made: CondensedSet) -> Dataset:
    """Read the test images of a run on a folder of images: the very ones, whatever came since.

    Args:
      workdir: of the run.
      made: its set.

    Raises:
      UserError: the work folder has no split.json, or one of another set, or a file is missing or
        another one now.
    """
    path = workdir / FILE
    if not path.is_file():
        raise UserError(
            "--with_test needs --dataset, the data set that the set was made from, since "
            f"{workdir} has no {FILE} of a run on a folder of images."
        )
    record: dict[str, Any] = runs.read_json(path)
    try:
        root, test, size = Path(record["folder"]), record["test"], record["image_size"]
        if record["train"]["fingerprint"] != made.source["fingerprint"]:
            raise UserError(f"{path} is of another set than the one beside it; give --dataset.")
        paths = [root / name for name in test["files"]]
        images = folder.read_files(paths, channels=record["image_shape"][2], image_size=size)
        found = Dataset(
            record["dataset"],
            "test",
            images,
            np.array(test["labels"], np.int32),
            made.classes,
            made.mean,
            made.std,
            bool(made.source.get("flip", True)),
        )
        if found.fingerprint != test["fingerprint"]:
            raise UserError(f"the test images in {root} are not those that {path} names any more.")
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} lacks or garbles {error}.") from error
    return found
