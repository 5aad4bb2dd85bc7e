"""Draws the accuracies of a sweep's cells beside that of its experts, as bars.

python scripts/plot_sweep.py runs/all docs/methods.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dancejax import methods

COLOURS = {True: "#0072B2", False: "#999999"}
"""Of methods and of coresets; told apart by the colour-blind, and in grey."""


def bars(folder: Path) -> dict[int, dict[str, tuple[float, float]]]:
    """Mean and deviation of accuracy (%) by images per class and method.

    The deviation is over seeds where there are several, else over networks.
    """
    found: dict[int, dict[str, list[dict[str, float]]]] = {}
    for path in folder.glob("*/row.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        if not row["variant"]:
            found.setdefault(row["ipc"], {}).setdefault(row["method"], []).append(row)
    return {
        ipc: {name: _joined(rows) for name, rows in every.items()} for ipc, every in found.items()
    }


def _joined(rows: list[dict[str, float]]) -> tuple[float, float]:
    means = [row["accuracy_mean"] for row in rows]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else rows[0]["accuracy_std"]
    return float(np.mean(means)), spread


def draw(folder: Path, target: Path) -> None:
    """Write the diagram as a PNG file."""
    found = bars(folder)
    whole = json.loads((folder / "experts" / "result.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(8.6, 3.2), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(found), sharex=True, squeeze=False)[0]
    for axes, ipc in zip(panels, sorted(found), strict=True):
        order = sorted(found[ipc], key=lambda name: found[ipc][name][0])
        values = [found[ipc][name] for name in order]
        axes.barh(
            [methods.title(name) for name in order],
            [mean for mean, _ in values],
            xerr=[spread for _, spread in values],
            color=[COLOURS[name in methods.METHODS] for name in order],
            height=0.7,
        )
        for place, (mean, _) in enumerate(values):
            axes.text(1.5, place, f"{mean:.1f}", color="white", va="center", fontsize=8)
        axes.axvline(whole["accuracy_mean"], color="black", linestyle="--", linewidth=1)
        axes.set_title(f"{ipc} image{'s' if ipc > 1 else ''} per class", fontsize=10)
        axes.set_xlabel("test accuracy (%); dashed: all images", fontsize=9)
        axes.tick_params(labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the sweep's folder")
    parser.add_argument("target", type=Path, help="the PNG file")
    given = parser.parse_args()
    draw(given.sweep, given.target)
