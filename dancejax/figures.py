"""Pictures: grids of condensed sets and curves of a run."""

import base64
import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dancejax import names, runs
from dancejax.runs import parallel
from dancejax.types import Json, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Figures are drawn without pyplot, so that a notebook's choice of a backend stays its own.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Okabe and Ito's, which the colour-blind can tell apart."""
_STYLES = ("-", "--", ":", "-.")


MOST_CLASSES = 20
"""Rows of a grid; further classes are not shown."""


class Drawn(Protocol):
    """A condensed set, as far as pictures show it."""

    @property
    def images(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def factor(self) -> int: ...
    @property
    def method_title(self) -> str: ...
    @property
    def source(self) -> Json: ...
    @property
    def ipc(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...


def grid(condensed: Drawn, *, most: int = 10) -> np.ndarray:
    """Lay stored images side by side, a row for each class.

    Args:
      condensed: the set.
      most: images of a class that are shown; of the classes the first MOST_CLASSES.

    Returns:
      An image [H, W, c] in [0, 1], enlarged to at least 64 pixels an image, with white between the
      images and a grey line between the tiles of each.
    """
    layout = _Layout(condensed, most)
    canvas = np.ones((*layout.size, condensed.image_shape[2]))
    for y, row in enumerate(layout.rows):
        for x, index in enumerate(row):
            image = np.clip(condensed.images[index], 0, 1)
            image = image.repeat(layout.scale, 0).repeat(layout.scale, 1)
            for axis in (0, 1):
                image = np.insert(image, layout.seams(axis), _LINE, axis)
            top, left = layout.corner(y, x)
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def tiled(image: np.ndarray, factor: int, side: int) -> np.ndarray:
    """Enlarge or reduce one stored image, with a line between its tiles.

    Args:
      image: [h, w, 1 or 3] in [0, 1] units; what lies outside is cut off.
      factor: tiles along an axis.
      side: height in pixels to come near to; small images are enlarged by a whole number.

    Returns:
      Red, green, blue and opacity [H, W, 4] in [0, 1].
    """
    from PIL import Image

    values = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).convert("RGB")
    scale = side / image.shape[0]
    scale = round(scale) if scale >= 1 else scale
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    height, width = (max(1, round(scale * n)) for n in image.shape[:2])
    pixels = np.asarray(picture.resize((width, height), how)) / 255.0
    for axis in (0, 1):
        tile = -(-image.shape[axis] // factor)
        seams = [round(scale * tile * i) for i in range(1, factor)]
        pixels = np.insert(pixels, seams, _LINE, axis)
    return np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], -1)


_LINE = 0.6
"""Grey of the line between tiles, seen on black and on white."""


class _Layout:
    """Where the images of a grid lie, in pixels of the enlarged canvas."""

    def __init__(self, condensed: Drawn, most: int) -> None:
        labels, classes = condensed.labels, min(MOST_CLASSES, condensed.num_classes)
        self.rows = [np.flatnonzero(labels == c)[:most] for c in range(classes)]
        self.columns = max(1, *map(len, self.rows))
        self._shape, self._factor = condensed.image_shape[:2], condensed.factor
        self.scale = max(1, -(-64 // self._shape[0]))
        self._gap = self.scale * max(1, self._shape[0] // 16)

    def seams(self, axis: int) -> list[int]:
        """Where tiles meet along an axis, before the lines are put in."""
        tile = -(-self._shape[axis] // self._factor)
        return [self.scale * tile * i for i in range(1, self._factor)]

    def extent(self, axis: int) -> int:
        """Height or width of an image with its lines."""
        return self.scale * self._shape[axis] + self._factor - 1

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Top and left of an image."""
        return tuple(  # type: ignore[return-value]
            number * (self.extent(axis) + self._gap) for axis, number in enumerate((row, column))
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        bottom, right = self.corner(len(self.rows), self.columns)
        return bottom - self._gap, right - self._gap


def grid_figure(
    condensed: Drawn, *, most: int = 10, note: str | None = None, title: bool = True
) -> "Figure":
    """Draw a grid of stored images, a row for each class with the class's name.

    Args:
      condensed: the set.
      most: images of a class that are shown; of the classes the first MOST_CLASSES.
      note: what the title ends with.
      title: whether to say above what the set is.
    """
    layout, canvas = _Layout(condensed, most), grid(condensed, most=most)
    count, columns = len(layout.rows), layout.columns
    height = 0.62 * count * layout.extent(0) / layout.extent(1)
    from matplotlib.figure import Figure

    text = _grid_title(condensed, most, note) if title else ""
    # A title of this size takes about 0.063 inches a character.
    drawn, width = 0.62 * columns, max(1.6 + 0.62 * columns, 0.1 + 0.063 * len(text))
    figure = Figure(figsize=(width, 0.4 + height), dpi=120)
    axes = figure.add_axes((1.5 / width, 0.01, drawn / width, 0.93))
    axes.imshow(canvas.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks([layout.corner(y, 0)[0] + layout.extent(0) / 2 for y in range(count)])
    shown = [names.short(name) for name in condensed.classes[:count]]
    axes.set_yticklabels(shown, fontsize=8, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(0.05 / width, 0.99, text, fontsize=8, va="top", parse_math=False)
    return figure


def _grid_title(condensed: Drawn, most: int, note: str | None) -> str:
    parts = [
        f"{names.short(condensed.source['name'], 40)}: {condensed.method_title}",
        f"{condensed.ipc} image{'' if condensed.ipc == 1 else 's'} per class",
    ]
    if condensed.factor > 1:
        parts.append(f"each of {condensed.factor}x{condensed.factor} tiles with a line between")
    if condensed.ipc > most:
        parts.append(f"first {most} of each class")
    return ", ".join(parts + ([note] if note else []))


def save_grid(path: Path, condensed: Drawn, *, most: int = 10, note: str | None = None) -> None:
    """Write `grid_figure` as a PNG file."""
    _save(path, grid_figure(condensed, most=most, note=note))


Curves = Mapping[str, Sequence[tuple[float, float]]]


def curves_figure(curves: Curves, *, xlabel: str, ylabel: str, title: str = "") -> "Figure":
    """Draw named curves of (x, y) points in one diagram, told apart by colour and line style."""
    many = len(curves) > 4
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2 if many else 5, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        x, y = zip(*points, strict=True)
        style = _STYLES[i // len(_COLOURS) % len(_STYLES)]
        axes.plot(
            x, y, label=names.short(name, 70), color=_COLOURS[i % len(_COLOURS)], linestyle=style
        )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(names.short(title, 110), fontsize=9, parse_math=False)
    axes.grid(alpha=0.3)
    if many:  # beside the curves, not over them
        legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    else:
        legend = axes.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def save_curves(path: Path, curves: Curves, *, xlabel: str, ylabel: str, title: str = "") -> None:
    """Write `curves_figure` as a PNG file."""
    _save(path, curves_figure(curves, xlabel=xlabel, ylabel=ylabel, title=title))


def _save(path: Path, figure: "Figure") -> None:
    runs.write_bytes(path, png(figure))


def png(figure: "Figure") -> bytes:
    """Encode a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", ".*[Gg]lyph|.*font", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def html(canvas: np.ndarray, *facts: str) -> str:
    """Return a picture and sentences about it as HTML, for notebooks.

    Args:
      canvas: [H, W, 1 or 3] in [0, 1]; reduced to at most 720 pixels a side.
      *facts: a line of text each, below the picture.

    Returns:
      HTML that holds the picture itself, as a PNG.
    """
    from PIL import Image

    values = (canvas * 255).round().astype(np.uint8)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    picture.thumbnail((720, 720))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    lines = "<br>".join(map(escape, facts))
    return f'<img src="data:image/png;base64,{data}" style="image-rendering: pixelated"><br>{lines}'


def save_metrics(path: Path, metrics: Path, kind: str, *, title: str | None = None) -> None:
    """Write the losses of a run's metrics.jsonl over its iterations as a picture.

    Args:
      path: of the PNG file.
      metrics: the run's metrics.jsonl.
      kind: the method whose lines are drawn.
      title: its name as people write it.
    """
    if not parallel.is_primary():
        return
    lines = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):  # being written when the machine stopped
            lines.append(json.loads(line))
    curves = loss_curves([line for line in lines if line.get("kind") == kind])
    if not curves:
        return
    title = f"{title or kind}: losses of the condensation"
    save_curves(path, curves, xlabel="iteration", ylabel=LOSS_AXIS, title=title)


LOSS_AXIS = "loss, mean over classes"
_LOSSES = {
    "matching": "distance between real and synthetic features",
    "pltda": "distance between real and synthetic features",
    "calibration": "cross-entropy of the experts on synthetic images",
    "cross_entropy": "of the networks on synthetic images",
    "network_accuracy": "of the networks",
}


def loss_curves(lines: Sequence[Record]) -> dict[str, list[tuple[float, float]]]:
    """Return the curve of each loss in lines of metrics.jsonl, named for readers of a diagram."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("kind", "step") and isinstance(value, int | float):
                label = f"{name}: {_LOSSES[name]}" if name in _LOSSES else name
                found.setdefault(label, []).append((line["step"], value))
    return found
