"""Reading exports back."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from dancejax import condensed, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.exchange import forms
from dancejax.exchange.form import About, Arrays
from dancejax.exchange.forms import tensors
from dancejax.runs import integrity

FORMAT = 1
DESCRIPTION = "dancejax.json"


def is_export(path: Path) -> bool:
    """Return whether a folder is one that `export` wrote."""
    return (Path(path) / DESCRIPTION).is_file()


def read(path: Path) -> CondensedSet:
    """Read an export of any form back.

    Args:
      path: the folder that `export` wrote.

    Returns:
      The set. Where its images are not those of the set that was exported to the last bit (decoded,
      or of 8 bits), its `origin` says which one that was.

    Raises:
      UserError: the folder is no export, or damaged.
    """
    path = Path(path)
    about = description(path)
    with _Garbled(path / DESCRIPTION):
        return _condensed(_read_form(path, about), about, path)


def by_class(made: CondensedSet) -> np.ndarray:
    """Return a set's soft labels as exports have them, float16 [factor**2 * n, C].

    Rows are those of the training images sorted by class, since some forms regroup the images.
    """
    assert made.soft_labels is not None
    return made.soft_labels[_by_class(made.labels, len(made.soft_labels))]


def _by_class(labels: np.ndarray, rows: int) -> np.ndarray:
    return np.argsort(np.repeat(labels, rows // len(labels)), kind="stable")


def _soft_labels(about: About, labels: np.ndarray, folder: Path) -> np.ndarray | None:
    """The soft labels of an export in the order of its images; None where it has none."""
    if not about.get("soft_labels"):
        return None
    path = folder / condensed.SOFT_LABELS
    if not path.is_file():
        raise UserError(f"{path} is missing, which holds the soft labels; put it there.")
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; export the set again.") from error
    if integrity.digest(stored) != about["soft_labels"]["sha256"]:
        raise UserError(f"{path} is damaged: its checksum does not fit; export the set again.")
    found = np.empty_like(stored)
    found[_by_class(labels, len(stored))] = stored
    return found


def description(path: Path) -> About:
    """Return what dancejax.json of an export says. Raises UserError if it is no export."""
    about = runs.read_json(path / DESCRIPTION)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path / DESCRIPTION} is not the description of an export.")
    return about


def read_test(path: Path) -> Arrays:
    """Read the test images that lie beside an export's training images.

    Returns:
      (images float32 [n, h, w, c] in [0, 1], labels [n]).

    Raises:
      UserError: the export has none, or is damaged.
    """
    path = Path(path)
    about = description(path)
    if not about.get("test"):
        raise UserError(f"{path} has no test images; export with --with_test.")
    with _Garbled(path / DESCRIPTION):
        return _read_form(path, about, "test")


def read_own(path: Path) -> CondensedSet | None:
    """Read a set of ours from whatever part of an export a user may name.

    Args:
      path: the folder, one of its form's `parts`, or a .safetensors file that was taken out of it
        and holds the description itself.

    Returns:
      The set; None where the path is nothing of the kind.
    """
    if is_export(path):
        return read(path)
    if is_export(path.parent) and any(path.name in form.parts for form in forms.FORMS.values()):
        return read(path.parent)
    about = tensors.description(path)
    if about is None or about.get("format") != FORMAT:
        return None
    with _Garbled(path):
        arrays = forms.find(about["form"]).read(path, about, "train")
        return _condensed(arrays, about, path.parent)


class _Garbled:
    """Turns what a description lacks, or holds in a wrong type, into a UserError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | IndexError):
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"{self._path} lacks or garbles something ({what}).") from error


def _condensed(arrays: Arrays, about: About, folder: Path) -> CondensedSet:
    normalisation = about["normalisation"]
    found = CondensedSet(
        images=arrays[0],
        labels=arrays[1].astype(np.int32),
        classes=tuple(about["classes"]),
        mean=tuple(normalisation["mean"]),
        std=tuple(normalisation["std"]),
        factor=about["factor_left"],
        method=about["method"],
        source=about["source"],
        settings=about["settings"],
        soft_labels=_soft_labels(about, arrays[1], folder),
    )
    known = {"ipc": about["ipc"], "factor": about["decoding"]["factor"]}
    origin = about.get("origin") or {"fingerprint": about.get("fingerprint"), **known}
    if origin["fingerprint"] == condensed.fingerprint(found):
        return found
    return dataclasses.replace(found, origin={**origin, "form": about["form"]})


def _read_form(path: Path, about: About, split: str = "train") -> Arrays:
    images, labels = forms.find(about["form"]).read(path, about, split)
    wanted = about["test"]["images"] if split == "test" else about.get("count", len(images))
    if len(images) != wanted:
        raise UserError(f"{path} has {len(images)} of {wanted} images; export it again.")
    known = about.get("sha256", {}).get(split)
    if known is not None and known != checksum((images, labels)):
        raise UserError(f"{path} is damaged: its checksum does not fit; export the set again.")
    return images, labels


def checksum(arrays: Arrays) -> str:
    """sha256 of images and labels as a form is read back, for its description."""
    images, labels = arrays
    return hashlib.sha256(
        (integrity.digest(images) + integrity.digest(labels.astype(np.int64))).encode()
    ).hexdigest()
