"""The matrix of methods by images per class, its plot, and variants beside the plainest one."""

import pytest

from dancejax import networks, report
from dancejax.report import matrix
from dancejax.report.matrix import Signed
from tests.report.support import as_published, store, store_pool


@pytest.fixture
def entries(tmp_path):
    store(tmp_path / "a", "dm", 10, [50.0] * 2)
    store(tmp_path / "b", "dance", 1, [40.0, 42.0])
    store(tmp_path / "c", "dance", 10, [70.8])
    settings = as_published("dance", 10, calibration=False)
    store(tmp_path / "d", "dance", 10, [60.0], settings=settings)
    other = networks.identity(networks.create("resnet10", 10, (32, 32, 3), width=16))
    store(tmp_path / "e", "dance", 10, [33.3], network=other)
    store_pool(tmp_path / "experts", [80.0, 81.0])
    return report.collect([tmp_path])


def test_methods_by_images_per_class_beside_the_published(entries):
    (found,) = matrix.matrices(entries)
    assert found.columns == ("1 per class", "10 per class", "all images") and not found.own
    cells = {
        line.label: [None if b is None else (b.accuracy, str(b.difference)) for b in line.boxes]
        for line in found.lines
    }
    assert cells == {
        "DM": [None, ("50.0 +- 0.0", "\u25b2 +1.1"), None],
        "DANCE": [("41.0 +- 1.4", "\u25bc -6.1"), ("70.8", "= 0.0"), None],
        "whole (the experts)": [None, None, ("80.5 +- 0.7", "\u25bc -4.3")],
    }
    assert found.lines[-1].label == "whole (the experts)" and not found.lines[-1].plotted


def test_the_plot_has_published_points_even_where_nothing_was_measured(entries):
    (found,) = matrix.matrices(entries)
    series = {s.name: [(p.x, p.y) for p in s.points] for s in matrix.curves(found)}
    assert series["DANCE"] == [(1.0, 41.0), (10.0, 70.8)]
    assert series["DANCE, published"] == [(1.0, 47.1), (10.0, 70.8), (50.0, 76.1)]
    numbers = {s.name: (s.number, s.hollow) for s in matrix.curves(found)}
    assert numbers["DANCE"][0] == numbers["DANCE, published"][0] != numbers["DM"][0]
    assert numbers["DANCE, published"][1] and not numbers["DANCE"][1]


def test_variants_stand_beside_the_plainest(entries):
    (table,) = matrix.ablations(entries)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(r["variant"], r["change"], r["published"]) for r in rows] == [
        ("DANCE", "", "70.8 +- 0.2"), ("DANCE, no calibration", "\u25bc -10.8", "65.6 +- 0.3"),
    ]  # fmt: skip


def test_of_variants_that_are_as_plain_the_longest_is_the_base(tmp_path):
    for number, steps in enumerate((100, 300, 200)):
        settings = as_published("dm", 10, steps=steps)
        store(tmp_path / str(number), "dm", 10, [40.0 + number], settings=settings)
    entries = report.collect([tmp_path])
    (table,) = matrix.ablations(entries)
    named = [row[0] for row in table.rows]
    assert named == [f"DM, {n} iterations" for n in (300, 200, 100)]
    (found,) = matrix.matrices(entries)
    assert [box.accuracy for line in found.lines for box in line.boxes if box] == ["41.0"]


def test_markdown_begins_with_the_matrix(entries):
    text = report.to_markdown(report.Content(entries), report.Page("title", "command"))
    head, rule, *rows = [line for line in text.splitlines() if line.startswith("|")][:5]
    assert head == "| method | 1 per class | 10 per class | all images |"
    assert rule == "| --- | ---: | ---: | ---: |"
    assert "| DANCE | 41.0 +- 1.4 (published 47.1 +- 0.2, \u25bc -6.1) |" in rows[1]
    assert text.index("| method | 1 per class") < text.index("## All evaluations")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [(0.04, "same", "= 0.0"), (-0.04, "same", "= 0.0"), (0.06, "up", "\u25b2 +0.1"),
     (-2.94, "down", "\u25bc -2.9")],
)  # fmt: skip
def test_differences_are_told_without_colour(value, kind, text):
    assert (Signed(value).kind, str(Signed(value))) == (kind, text)
