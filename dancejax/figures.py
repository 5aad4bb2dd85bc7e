"""Pictures: grids of condensed sets and curves of a run."""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from dancejax import parallel, runs

if TYPE_CHECKING:
    from dancejax.condensed import CondensedSet

matplotlib.use("Agg")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Okabe and Ito's, which the colour-blind can tell apart."""
_STYLES = ("-", "--", ":", "-.")


def grid(condensed: "CondensedSet", *, most: int = 10) -> np.ndarray:
    """Stored images side by side, a row of up to `most` for each of up to 20 classes, [0, 1]."""
    rows = [np.flatnonzero(condensed.labels == c)[:most] for c in range(condensed.num_classes)][:20]
    columns = max(len(row) for row in rows)
    h, w, channels = condensed.image_shape
    gap = _gap(h)
    canvas = np.ones((len(rows) * (h + gap) - gap, columns * (w + gap) - gap, channels))
    for y, row in enumerate(rows):
        for x, index in enumerate(row):
            top, left = y * (h + gap), x * (w + gap)
            canvas[top : top + h, left : left + w] = np.clip(condensed.images[index], 0, 1)
    return canvas


def _gap(height: int) -> int:
    return max(1, height // 16)


def save_grid(
    path: Path, condensed: "CondensedSet", *, most: int = 10, note: str | None = None
) -> None:
    """One row per class with its name: up to `most` stored images each, at most 20 classes.

    note: what the title ends with.
    """
    canvas = grid(condensed, most=most)
    h, w, _ = condensed.image_shape
    gap = _gap(h)
    count, columns = (canvas.shape[0] + gap) // (h + gap), (canvas.shape[1] + gap) // (w + gap)
    figure = Figure(figsize=(1.6 + 0.62 * columns, 0.4 + 0.62 * count * h / w), dpi=120)
    axes = figure.add_axes(
        (1.5 / (1.6 + 0.62 * columns), 0.01, 0.98 - 1.5 / (1.6 + 0.62 * columns), 0.93)
    )
    axes.imshow(canvas.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks([y * (h + gap) + h / 2 for y in range(count)])
    names = [condensed.classes[y] for y in range(count)]
    axes.set_yticklabels(names, fontsize=8, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    shown = f", first {most} of each class" if condensed.ipc > most else ""
    title = (
        f"{condensed.source['name']}: {condensed.method}, {condensed.ipc} images per class{shown}"
    )
    axes.set_title(f"{title}, {note}" if note else title, fontsize=8, parse_math=False)
    _save(path, figure)


Curves = Mapping[str, Sequence[tuple[float, float]]]


def curves_figure(curves: Curves, *, xlabel: str, ylabel: str, title: str = "") -> Figure:
    """Named curves of (x, y) points in one diagram; colour and line style tell them apart."""
    many = len(curves) > 4
    figure = Figure(figsize=(7.2 if many else 5, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        x, y = zip(*points, strict=True)
        style = _STYLES[i // len(_COLOURS) % len(_STYLES)]
        axes.plot(x, y, label=name, color=_COLOURS[i % len(_COLOURS)], linestyle=style)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.grid(alpha=0.3)
    if many:  # beside the curves, not over them
        legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    else:
        legend = axes.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def save_curves(path: Path, curves: Curves, *, xlabel: str, ylabel: str) -> None:
    """`curves_figure` as a PNG file."""
    _save(path, curves_figure(curves, xlabel=xlabel, ylabel=ylabel))


def _save(path: Path, figure: Figure) -> None:
    runs.write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_metrics(path: Path, metrics: Path, kind: str) -> None:
    """The losses of a run's metrics.jsonl over its iterations."""
    if not parallel.is_primary():
        return
    lines = [
        json.loads(line)
        for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    own = [line for line in lines if line["kind"] == kind]
    names = [name for name in own[0] if name not in ("kind", "step")]
    curves = {name: [(line["step"], line[name]) for line in own] for name in names}
    save_curves(path, curves, xlabel="iteration", ylabel="loss, mean over classes")
