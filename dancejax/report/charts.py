"""Small diagrams as SVG text, drawn in the colours of the page that they stand in."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 44
COLOURS = 8
"""Colours c0, c1, ... of the style sheet, told apart by the colour-blind."""
MOST_POINTS = 150
"""Of a curve; longer ones are thinned out."""
SHAPES = (
    "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
    "M-4,-4h8v8h-8z",
    "M0,-5.5L5,4H-5z",
    "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
    "M0,5.5L5,-4H-5z",
    "M-5,-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
    "M-5.5,0L4,-5V5z",
    "M5.5,0L-4,-5V5z",
)


def look(number: int) -> tuple[str, str]:
    """The class of a colour and the path of a marker: others for each of the first 64 numbers."""
    turn = number // COLOURS
    return f"c{number % COLOURS}", SHAPES[(number + turn) % len(SHAPES)]


class Point(NamedTuple):
    """A place in a diagram; spread: half the length of its error bar."""

    x: float
    y: float
    spread: float = 0.0


class Series(NamedTuple):
    """A curve.

    Attributes:
      name: in the legend.
      points: from left to right.
      number: of its colour and marker.
      hollow: dashed, with hollow markers.
      markers: whether its points are marked.
    """

    name: str
    points: tuple[Point, ...]
    number: int
    hollow: bool = False
    markers: bool = True

    @property
    def look(self) -> tuple[str, str]:
        """Its colour and marker."""
        return look(self.number)


class Mark(NamedTuple):
    """A marker at a place in pixels, and the words that it shows when pointed at."""

    x: float
    y: float
    low: float
    high: float
    words: str


class Line(NamedTuple):
    """A curve in pixels, as a template draws it."""

    name: str
    path: str
    colour: str
    shape: str
    hollow: bool
    marks: tuple[Mark, ...]


class Tick(NamedTuple):
    """A place on an axis and what is written there."""

    at: float
    text: str


class Chart(NamedTuple):
    """A diagram: `title` says what it shows, for those who cannot see it, too."""

    title: str
    xlabel: str
    ylabel: str
    xticks: tuple[Tick, ...]
    yticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart(
    title: str, series: Sequence[Series], *, xlabel: str, ylabel: str, log: bool = False
) -> Chart:
    """Lay curves out in a diagram.

    Args:
      title: what the diagram shows.
      series: at least one, each with at least one point; with log all x above 0.
      xlabel: of the horizontal axis.
      ylabel: of the vertical axis.
      log: whether the horizontal axis is logarithmic, with a tick at each x.

    Returns:
      What the template draws.
    """
    points = [p for s in series for p in s.points]
    xs = [p.x for p in points]
    low = min(p.y - p.spread for p in points)
    high = max(p.y + p.spread for p in points)
    yticks = ticks(low, high)
    low, high = min(low, yticks[0]), max(high, yticks[-1])
    scale: Callable[[float], float] = math.log if log else float
    left, right = scale(min(xs)), scale(max(xs))

    def across(x: float) -> float:
        inner = (WIDTH - RIGHT - LEFT - 24) * ((scale(x) - left) / ((right - left) or 1))
        return round(LEFT + 12 + inner, 1)

    def up(y: float) -> float:
        share = (y - low) / ((high - low) or 1)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

    places = sorted(set(xs)) if log else [t for t in ticks(left, right) if left <= t <= right]
    return Chart(
        title,
        xlabel,
        ylabel,
        tuple(Tick(across(x), f"{x:,g}" if abs(x) < 1e6 else f"{x:.0e}") for x in places),
        tuple(Tick(up(y), f"{y:g}") for y in yticks),
        tuple(_line(s, across, up) for s in series),
    )


def _line(series: Series, across: Callable[[float], float], up: Callable[[float], float]) -> Line:
    step = -(-len(series.points) // MOST_POINTS)
    kept = [*series.points[:-1:step], series.points[-1]]
    path = "M" + "L".join(f"{across(p.x):g},{up(p.y):g}" for p in kept)
    marks = tuple(
        Mark(across(p.x), up(p.y), up(p.y - p.spread), up(p.y + p.spread), _words(series.name, p))
        for p in (kept if series.markers else [])
    )
    colour, shape = series.look
    return Line(series.name, path, colour, shape if series.markers else "", series.hollow, marks)


def _words(name: str, point: Point) -> str:
    spread = f" \u00b1 {point.spread:.1f}" if point.spread else ""
    return f"{name}, {point.x:g}: {point.y:.1f}{spread}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from at or below `low` to at or above `high`."""
    size = (high - low) / count or abs(low) / count or 1.0
    unit = 10 ** math.floor(math.log10(size))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= size * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
