"""The page: well-formed, in one file, small, first things first, and safe from odd names."""

import csv
import itertools
import re
from html.parser import HTMLParser

import pytest

from dancejax import report
from dancejax.report import matrix, pages, tables
from tests.report.support import ODD, as_published, store, store_pool

PAGE = report.Page("A & B", "python -m x '<y>'")
VOID = {"meta", "link", "img", "input", "br"}


class Checker(HTMLParser):
    """Reads a page, complains of tags that do not match, and keeps what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def content(tmp_path):
    """A data set of the papers with an ablation, and one of one's own."""
    store(tmp_path / "a", "dance", 1, [47.0])
    store(tmp_path / "b", "dance", 10, [70.0])
    settings = as_published("dance", 10, pltda=False)
    store(tmp_path / "c", "dance", 10, [60.0], settings=settings)
    store(tmp_path / "mine", "dance", 10, [45.2], dataset="photos")
    store_pool(tmp_path / "experts", [50.8], dataset="photos", images=10_000)
    return report.gather([tmp_path])


def test_the_page_is_whole_and_asks_for_nothing(content, tmp_path):
    text = report.to_html(content, PAGE, tmp_path)
    page = Checker(text)
    assert "http:" not in text and "https:" not in text
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "poster", "data"):
            value = attrs.get(name) or ""
            assert tag == "a" or not value or value.startswith("data:"), (tag, value)
    assert "@import" not in text and "url(" not in text
    assert len(text.encode()) < pages.MOST_BYTES
    assert all(img["alt"] for img in page.attributes("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.attributes("svg"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_links_lead_to_files_that_are_there(content, tmp_path):
    page = Checker(report.to_html(content, PAGE, tmp_path / "report"))
    links = [a["href"] for a in page.attributes("a") if not a["href"].startswith("#")]
    assert any(link.endswith("condensed/manifest.json") for link in links)
    (tmp_path / "report").mkdir()
    assert all((tmp_path / "report" / link).exists() for link in links)
    assert all(a["href"] == "#all" for a in Checker(report.to_html(content, PAGE)).attributes("a"))


def test_what_matters_stands_first(content):
    text = report.to_html(content, PAGE)
    order = [
        'class="matrix"', "Test accuracy on cifar10 against images per class", "<h2>Variants",
        "<h2>Cost", "<h2>Condensed images", "<h2>Curves", "<h2>All evaluations",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    first = text[: text.index("<h2>Variants")]
    assert "published 70.8 \u00b1 0.2" in first and 'class="down">\u25bc -0.8' in first
    assert "no PLTDA" not in first  # a variant, which stands below
    assert "1 network" in first and "10 per class" in first


def test_own_data_gets_a_headline_and_no_talk_of_papers(tmp_path):
    store(tmp_path / "mine", "dance", 10, [45.2], dataset="photos")
    store_pool(tmp_path / "experts", [50.8], dataset="photos", images=10_000)
    content = report.gather([tmp_path])
    words = " ".join(Checker(report.to_html(content, PAGE)).words)
    assert "100 images reach 45.2 %, all 10,000 reach 50.8 %: 89 % of it with 1 %" in words
    assert "launch.export" in words and "condensed.load" in words
    assert "paper" not in words and "published" not in words
    assert "paper" not in report.to_markdown(content, PAGE)


def test_every_evaluation_and_every_differing_setting_is_behind_the_fold(content):
    text = report.to_html(content, PAGE)
    fold = text[text.index('<details id="everything"') :]
    for table in tables.accuracy_tables(content.entries):
        for row in table.rows:
            assert f'<th scope="row" class="text">{row[0]}</th>' in fold
    assert "pltda off (paper: on)" in fold
    assert "pltda off" not in text[: text.index('<details id="everything"')]


def test_tables_say_how_they_sort(content):
    page = Checker(report.to_html(content, PAGE))
    sortable = [attrs for attrs in page.attributes("table") if "data-sortable" in attrs]
    assert len(sortable) == len(page.attributes("table")) > 3
    matrices = matrix.matrices(content.entries)
    values = [td["data-value"] for td in page.attributes("td") if "data-value" in td]
    boxes = [b for m in matrices for line in m.lines for b in line.boxes if b is not None]
    assert values == [str(box.entry.mean) for box in boxes]
    heads = page.attributes("th")
    assert {head["scope"] for head in heads} == {"col", "row"}


@pytest.mark.parametrize("shown", [None, [], ["photos"]])
def test_pictures_are_of_the_sets_that_may_be_shown(content, shown):
    text = report.to_html(content, report.Page("t", "c", shown))
    sets = {None: 4, (): 0, ("photos",): 1}[None if shown is None else tuple(shown)]
    assert text.count("data:image/webp") == 10 * sets


def test_a_page_with_many_sets_stays_small(tmp_path, monkeypatch):
    for number in range(6):
        store(tmp_path / str(number), "dance", 10, [45.2], dataset=f"photos{number}")
    content = report.gather([tmp_path])
    whole = report.to_html(content, PAGE)
    monkeypatch.setattr(pages, "MOST_BYTES", 400_000)
    reduced = report.to_html(content, PAGE)
    assert len(reduced.encode()) <= 400_000 < len(whole.encode())
    assert "further sets have no room" not in whole
    assert reduced.count("data:image/webp") % 10 == 0


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind_keep_the_form_of_a_report(name, tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0], dataset=name)
    store(tmp_path / "b", name, 1, [20.0], dataset="plain", settings={})
    found = report.gather([tmp_path])
    content = report.Content(found.entries, notes=[name])
    report.write(content, tmp_path, report.Page(name, name))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    outside_code = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not any("<script" in line.replace("\\<", "") for line in outside_code)
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| ")]
    tabled = [*tables.accuracy_tables(found.entries), tables.cost_table(found.entries)]
    lines = [table.rows for table in tabled] + [m.lines for m in matrix.matrices(found.entries)]
    assert len(rows) == sum(2 + len(own) for own in lines)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Checker(raw)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == tags.count("style") == 1
    assert str(7919 * 7907) not in "".join(page.words)  # a template's product of the odd name
    assert not any(attribute.startswith("on") for _, attrs in page.tags for attribute in attrs)
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert len(read) == 3 and len({len(line) for line in read}) == 1
