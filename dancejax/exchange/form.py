"""What a form of export is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax import condensed

Arrays = tuple[np.ndarray, np.ndarray]
"""Images float32 [n, h, w, c] in [0, 1] units, and labels int [n]."""
About = dict[str, Any]
"""The description of an export, its dancejax.json; with "split" while test images are written."""
UNIT = "float32 in [0, 1] units before normalisation"
EIGHT_BIT = "8 bit, 0 to 255 for [0, 1] before normalisation"


class Form(NamedTuple):
    """A form of export: a pair of functions and what can be said of it.

    Attributes:
      title: what it is, in a few words, for --help.
      write: (folder, images, labels, description); images are float32 [n, h, w, c] in [0, 1] units,
        labels int64 [n]. With "split" in the description the images are test images.
      read: (folder or the file that was taken out of it, description, "train" or "test") -> what
        `write` was given, to the precision of the form.
      use: from a description to the sentence of the README that says how to read the export.
      pixels: what the stored numbers are.
      eight_bit: whether they are rounded to 1/255 and cut off outside of [0, 1].
      stored: whether readers of the form can decode stored images.
      test: where test images lie, in words; None: the form has no place for them.
      parts: names of files or folders that stand for the whole export.
      details: of a set, further entries of the description.
      head: from a description to what the README begins with.
    """

    title: str
    write: Callable[[Path, np.ndarray, np.ndarray, About], None]
    read: Callable[[Path, About, str], Arrays]
    use: Callable[[About], str]
    pixels: str = UNIT
    eight_bit: bool = False
    stored: bool = False
    test: str | None = None
    parts: tuple[str, ...] = ()
    details: Callable[[condensed.CondensedSet], About] = lambda made: {}
    head: Callable[[About], str] = lambda about: ""


def eight_bit(images: np.ndarray) -> np.ndarray:
    """Round images to bytes; what lies outside of [0, 1] is cut off.

    Args:
      images: float [n, h, w, c] in [0, 1] units.

    Returns:
      uint8 [n, h, w, c].
    """
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
