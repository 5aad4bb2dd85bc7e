"""Diagrams: where points lie, and which ticks stand at the axes."""

import pytest

from dancejax.report import charts
from dancejax.report.charts import Point, Series


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (41.3, 76.2, [40, 50, 60, 70, 80]),
        (0.1, 0.32, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
        (5, 5, [5]),
        (0, 0, [0]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, wanted):
    assert charts.ticks(low, high) == pytest.approx(wanted)


def test_a_logarithmic_axis_has_equal_factors_at_equal_distances():
    series = [Series("a", (Point(1, 20), Point(10, 30, 2), Point(100, 40)), 0)]
    made = charts.chart("t", series, xlabel="x", ylabel="y", log=True)
    first, second, third = made.lines[0].marks
    assert second.x - first.x == pytest.approx(third.x - second.x, abs=0.2)
    assert [tick.text for tick in made.xticks] == ["1", "10", "100"]
    assert first.y > second.y > third.y
    assert second.low - second.y == pytest.approx(second.y - second.high, abs=0.2)
    assert second.low > second.y and first.low == first.y == first.high
    assert made.left < first.x and third.x < made.right


def test_long_curves_are_thinned_out_and_keep_their_ends():
    points = tuple(Point(float(i), float(i)) for i in range(10_001))
    made = charts.chart("t", [Series("a", points, 0, markers=False)], xlabel="x", ylabel="y")
    (line,) = made.lines
    places = line.path[1:].split("L")
    assert len(places) <= charts.MOST_POINTS + 1 and line.marks == ()
    whole = charts.chart("t", [Series("a", points[::10_000], 0)], xlabel="x", ylabel="y")
    ends = whole.lines[0].path[1:].split("L")
    assert [places[0], places[-1]] == ends


def test_sixty_four_series_look_different():
    looks = [charts.look(number) for number in range(64)]
    assert len(set(looks)) == 64
    assert len({colour for colour, _ in looks[:8]}) == len({shape for _, shape in looks[:8]}) == 8
