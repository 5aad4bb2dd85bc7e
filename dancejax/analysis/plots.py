"""How analyses are drawn: one style for each set, told apart without colour, too."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dancejax import names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which the colour-blind can tell apart, but for yellow; black is for real."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++")
REAL: dict[str, Any] = {"color": "black", "linestyle": ":"}


class Style(NamedTuple):
    """How a set is drawn wherever it appears."""

    color: str
    marker: str
    linestyle: Any
    hatch: str


def style(number: int) -> Style:
    """Return the style of the set of a number, from 0."""
    return Style(
        COLOURS[number % len(COLOURS)],
        MARKERS[number % len(MARKERS)],
        LINES[number % len(LINES)],
        HATCHES[number % len(HATCHES)],
    )


def new(panels: int = 1, *, width: float = 6.4, height: float = 3.8) -> "tuple[Figure, list[Axes]]":
    """Return a figure and its panels side by side, without choosing a plotting backend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height), dpi=120, layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in axes:
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
    return figure, axes


def line(
    axes: "Axes",
    number: int,
    label: str,
    x: Sequence[float] | np.ndarray,
    y: np.ndarray,
    spread: np.ndarray | None = None,
) -> None:
    """Draw a curve in the style of a set, with a band of its deviation.

    Args:
      axes: of matplotlib.
      number: of the set.
      label: for the legend.
      x: [n].
      y: [n].
      spread: [n], half the height of the band.
    """
    own = style(number)
    axes.plot(
        x,
        y,
        label=names.short(label, 40),
        color=own.color,
        linestyle=own.linestyle,
        marker=own.marker,
        markevery=max(1, len(x) // 8),
        markersize=5,
    )
    if spread is not None and np.any(spread > 0):
        axes.fill_between(x, y - spread, y + spread, color=own.color, alpha=0.15, linewidth=0)


def bars(
    axes: "Axes", groups: Sequence[str], values: Mapping[str, Sequence[tuple[float, float]]]
) -> None:
    """Draw groups of bars with their deviations, one bar of each group for each series.

    Args:
      axes: of matplotlib.
      groups: what is written below each group.
      values: a series' (height, deviation) in each group; NaN leaves a bar out.
    """
    width = 0.8 / len(values)
    for number, (label, pairs) in enumerate(values.items()):
        own = style(number)
        places = np.arange(len(groups)) + (number - (len(values) - 1) / 2) * width
        heights, spreads = np.array(pairs).T
        axes.bar(
            places,
            heights,
            width,
            yerr=spreads if np.nansum(spreads) else None,
            capsize=2,
            label=names.short(label, 40),
            color=own.color,
            hatch=own.hatch,
            edgecolor="white",
            error_kw={"elinewidth": 0.8},
        )
    axes.set_xticks(range(len(groups)))
    axes.grid(visible=False, axis="x")
    axes.set_xticklabels([names.short(g, 24) for g in groups], fontsize=8, parse_math=False)


def whole_ticks(axes: "Axes") -> None:
    """Have whole numbers alone on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def finish(
    figure: "Figure", axes: "Axes", *, xlabel: str = "", ylabel: str = "", title: str = ""
) -> None:
    """Label a panel, and add a legend below the figure's panels if it has none yet."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(names.short(title, 110), fontsize=9, parse_math=False)
    handles, labels = axes.get_legend_handles_labels()
    if handles and not figure.legends:
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def svg(figure: "Figure") -> bytes:
    """Encode a figure as the bytes of an SVG file, the same ones each time."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "dancejax"}), warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", ".*[Gg]lyph|.*font", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
