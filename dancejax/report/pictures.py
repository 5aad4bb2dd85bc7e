"""Condensed images in a page: a row for each class beside its name, in a number of bytes."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dancejax import figures, names
from dancejax.condensed import CondensedSet
from dancejax.report import compare, tables
from dancejax.report.entry import Entry, Run


class Row(NamedTuple):
    """A class: its name, what its picture shows, and the picture as base64 of WebP."""

    name: str
    text: str
    webp: str


class Pictured(NamedTuple):
    """A condensed set with a row of images for each class.

    Attributes:
      text: what set it is.
      more: what is not shown, and how images are to be read.
      folder: of its run.
      rows: of classes.
    """

    text: str
    more: str
    folder: Path
    rows: tuple[Row, ...]


class Form(NamedTuple):
    """How much of each set is shown: images of a class, quality, and width of an image."""

    images: int
    quality: int
    side: int


FORMS = (Form(10, 75, 64), Form(10, 50, 64), Form(6, 45, 64), Form(5, 35, 48), Form(3, 30, 48))
"""From the best to the smallest."""


def pictured(entries: Sequence[Entry], budget: int) -> tuple[list[Pictured], int]:
    """Draw each condensed set once.

    Args:
      entries: whose sets are drawn, one set of each.
      budget: bytes of all pictures together.

    Returns:
      (the sets in the best form in which all fit, or as many of them as fit in the smallest form;
      how many are left out).
    """
    sets: dict[Path, tuple[str, Run]] = {}
    for entry in tables.ordered(entries):
        for run in entry.runs[:1]:
            text = f"{entry.dataset}, {compare.label(entry)}, {entry.ipc} per class"
            sets.setdefault(run.folder, (text, run))
    found: list[Pictured] = []
    for form in FORMS:
        found, used = [], 0
        for text, run in sets.values():
            one = _pictured(text, run, form)
            used += sum(len(row.webp) for row in one.rows)
            if used > budget:
                break
            found.append(one)
        if len(found) == len(sets):
            break
    return found, len(sets) - len(found)


def _pictured(text: str, run: Run, form: Form) -> Pictured:
    made, rows = run.made, []
    for number in range(min(figures.MOST_CLASSES, made.num_classes)):
        name = names.short(made.classes[number], 40)
        own = np.flatnonzero(made.labels == number)[: form.images]
        about = f"{text}, class {name}: {len(own)} condensed images"
        rows.append(Row(name, about, _webp(made, own, form)))
    return Pictured(text, _more(made, form), run.folder, tuple(rows))


def _more(made: CondensedSet, form: Form) -> str:
    parts = []
    if made.factor > 1:
        count = made.factor**2
        tiles = f"{made.factor}x{made.factor}"
        parts.append(f"each image is {tiles} tiles, {count} training images, with a line between")
    if made.ipc > form.images:
        parts.append(f"{form.images} of {made.ipc} of each class")
    if made.num_classes > figures.MOST_CLASSES:
        parts.append(f"{figures.MOST_CLASSES} of {made.num_classes} classes")
    return "; ".join(parts)


def _webp(made: CondensedSet, indices: np.ndarray, form: Form) -> str:
    """A row of images; a frame of the page's colour is left to the page: gaps are transparent."""
    tiles = [figures.tiled(made.images[i], made.factor, form.side) for i in indices]
    if not tiles:
        tiles = [np.ones((form.side, form.side, 4))]
    gap = np.zeros((tiles[0].shape[0], 6, 4))
    strip = [part for tile in tiles for part in (tile, gap)][:-1]
    picture = Image.fromarray((np.concatenate(strip, 1) * 255).round().astype(np.uint8), "RGBA")
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", quality=form.quality, alpha_quality=20)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
