"""A prepared TFDS data set."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dancejax import condensed, names
from dancejax.data import tfds_source
from dancejax.errors import UserError
from dancejax.exchange.form import EIGHT_BIT, About, Arrays, Form, eight_bit


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write the training split of a TFDS data set.

    Args:
      path: an empty folder.
      images: float [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
    classes = names.unique(about["classes"])
    tfds_source.write(path, about["tfds_name"], eight_bit(images), labels, classes)


def read(path: Path, about: About, split: str) -> Arrays:
    """Read a split of the TFDS data set."""
    name = _name(about)
    found = tfds_source.find(name, path)
    if found is None:
        raise UserError(f"{path} has no TFDS data set {name}; export it again.")
    arrays = tfds_source.read(found, name, split, image_size=None)
    return arrays.images.astype(np.float32) / 255, arrays.labels


def _name(about: About) -> str:
    """The data set's name; descriptions of older exports do not say it, by their rule."""
    if "tfds_name" in about:
        return str(about["tfds_name"])
    plain = re.sub(r"\W+", "_", about["source"]["name"].lower()).strip("_")
    return f"{plain}_{about['method']}_ipc{about['ipc']}"


def _details(made: condensed.CondensedSet) -> About:
    name = f"{made.source['name']}_{made.method}_ipc{made.ipc}"
    return {"tfds_name": names.identifier(name)}


def _use(about: About) -> str:
    return f"`tfds.data_source('{_name(about)}', split='train', data_dir=THIS_FOLDER)`."


FORM = Form(
    title="a prepared TFDS data set",
    write=write,
    read=read,
    use=_use,
    pixels=EIGHT_BIT,
    eight_bit=True,
    details=_details,
)
