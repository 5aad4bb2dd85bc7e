"""Accuracy by class: means over sets and networks, beside all images; older results have none."""

import json

import pytest

from dancejax import report
from dancejax.report import classes
from tests.report.support import as_published, store, store_pool

NAMES = ("coat", "<blink>", "shirt")


def note(path, values):
    """Adds accuracies by class to a result."""
    result = json.loads(path.read_text())
    by_class = dict(zip(NAMES, values, strict=True))
    path.write_text(json.dumps({**result, "accuracy_by_class": by_class}))


@pytest.fixture
def folder(tmp_path):
    """Two sets of DANCE, one of DM, and experts."""
    for name, seed, shirt in (("a", 0, 30.0), ("b", 1, 50.0)):
        settings = as_published("dance", 10, seed=seed)
        store(tmp_path / name, "dance", 10, [60.0], dataset="photos", settings=settings)
        note(tmp_path / name / "evaluation" / "result.json", (90.0, None, shirt))
    store(tmp_path / "c", "dm", 10, [50.0], dataset="photos")
    store_pool(tmp_path / "experts", [90.0], dataset="photos")
    note(tmp_path / "experts" / "result.json", (95.0, 85.0, 91.25))
    return tmp_path


def test_means_over_sets_stand_beside_all_images(folder):
    (table,) = classes.class_tables(report.gather([folder]).entries)
    assert table.columns == ("class", "DANCE", classes.ALL)  # DM's result is an earlier version's
    assert list(table.rows) == [
        ("coat", "90.0", "95.0"), ("<blink>", "", "85.0"), ("shirt", "40.0", "91.2")
    ]  # fmt: skip
    assert "10 per class" in table.title and table.numeric == {"DANCE", classes.ALL}


def test_page_and_markdown_have_them(folder):
    content, page = report.gather([folder]), report.Page("Photos", "x")
    text, html = report.to_markdown(content, page), report.to_html(content, page)
    assert "| shirt | 40.0 | 91.2 |" in text
    assert "Accuracy by class" in html and "<blink>" not in html.split("Accuracy by class")[1]


@pytest.mark.parametrize("damaged", ["x", [1.0], {"coat": "much"}, {"coat": float("nan")}])
def test_what_is_no_accuracy_is_passed_over(damaged, folder):
    path = folder / "c" / "evaluation" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "accuracy_by_class": damaged}))
    assert any("accuracy_by_class" in note for note in report.gather([folder]).notes)
