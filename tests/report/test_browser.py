"""The page in a browser, where there is one: widths, requests, sorting, colours, print."""

import shutil

import pytest

from dancejax import report
from tests.report.support import as_published, store, store_pool

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for number, steps in enumerate((100, 200, 300, 1000, 2000, 3000, 4000, 10_000)):
        settings = as_published("dance", 10, steps=steps)
        store(folder / str(number), "dance", 10, [50.0 + number], settings=settings)
    store(folder / "dm", "dm", 1, [20.0])
    store_pool(folder / "experts", [80.0, 81.0])
    page = report.Page("Measured", "python -m launch.report --runs=" + 200 * "x")
    report.write(report.gather([folder]), folder, page)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page; fails where it asked for anything else or a script broke."""
    opened, wrong = [], []

    def go(width=1400, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("request", lambda r: r.url.startswith(("data:", address)) or wrong.append(r.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        opened.append(page)
        return page

    yield go
    for page in opened:
        page.close()
    assert wrong == []


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_does_not_scroll_sideways(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(back.split("(")[1].split(",")[0])
    assert red < 60 if scheme == "dark" else red > 200
    box = page.locator(".matrix tbody td b").first.bounding_box()
    assert box["x"] + box["width"] <= width and box["y"] < 900
    cell = page.locator("#everything tbody td").first.bounding_box()
    assert cell["x"] + cell["width"] <= width  # the accuracy


def test_tables_sort_by_keyboard(visit):
    page = visit()
    table = page.locator("table").nth(1)
    head = table.locator("thead th").nth(1)
    column = table.locator("tbody td:nth-child(2)")
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(text.split()[0]) for text in column.all_inner_texts()]
    assert values == sorted(values, reverse=True) and len(set(values)) > 3
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(t.split()[0]) for t in column.all_inner_texts()] == sorted(values)


def test_a_filter_hides_rows(visit):
    page = visit()
    table = page.locator("table[data-filter]").first
    page.locator("input[type=search]").first.fill("2,000 iterations")
    shown = [row for row in table.locator("tbody tr").all() if row.is_visible()]
    assert len(shown) == 1 and "2,000 iterations" in shown[0].inner_text()
    page.locator("input[type=search]").first.fill("")
    assert all(row.is_visible() for row in table.locator("tbody tr").all())


def test_without_javascript_tables_are_plain(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("button").count() == page.locator("input").count() == 0
    assert "57.0" in page.locator(".matrix").first.inner_text()


def test_the_link_to_the_settings_opens_the_fold(visit):
    page = visit()
    page.locator('a[href="#all"]').first.click()
    assert page.locator("#everything dl").is_visible()


def test_print_opens_the_folds(visit):
    page = visit(java_script_enabled=False)
    assert not page.locator("#everything dl").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#everything dl").bounding_box()["height"] > 0
