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
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # Okabe and Ito


def save_grid(path: Path, condensed: "CondensedSet", *, most: int = 10) -> None:
    """One row per class with its name: up to `most` stored images each, at most 20 classes."""
    rows = [np.flatnonzero(condensed.labels == c)[:most] for c in range(condensed.num_classes)][:20]
    columns = max(len(row) for row in rows)
    h, w, channels = condensed.image_shape
    gap = max(1, h // 16)
    canvas = np.ones((len(rows) * (h + gap) - gap, columns * (w + gap) - gap, channels))
    for y, row in enumerate(rows):
        for x, index in enumerate(row):
            top, left = y * (h + gap), x * (w + gap)
            canvas[top : top + h, left : left + w] = np.clip(condensed.images[index], 0, 1)
    figure = Figure(figsize=(1.6 + 0.62 * columns, 0.4 + 0.62 * len(rows) * h / w), dpi=120)
    axes = figure.add_axes(
        (1.5 / (1.6 + 0.62 * columns), 0.01, 0.98 - 1.5 / (1.6 + 0.62 * columns), 0.93)
    )
    axes.imshow(canvas.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks([y * (h + gap) + h / 2 for y in range(len(rows))])
    names = [condensed.classes[y] for y in range(len(rows))]
    axes.set_yticklabels(names, fontsize=8, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    shown = f", first {most} of each class" if condensed.ipc > most else ""
    axes.set_title(
        f"{condensed.source['name']}: {condensed.method}, {condensed.ipc} images per class{shown}",
        fontsize=8,
        parse_math=False,
    )
    _save(path, figure)


def save_curves(
    path: Path, curves: Mapping[str, Sequence[tuple[float, float]]], *, xlabel: str, ylabel: str
) -> None:
    """Named curves of (x, y) points in one diagram."""
    figure = Figure(figsize=(5, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, label=name, color=_COLOURS[i % len(_COLOURS)])
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(path, figure)


def _save(path: Path, figure: Figure) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(buffer, format="png")
    runs.write_bytes(path, buffer.getvalue())


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
