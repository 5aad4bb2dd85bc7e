"""Sections of analyses: what is shown of a folder, and what is passed over."""

import json

import pytest

from dancejax import report
from dancejax.errors import UserError
from dancejax.report import analyses

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def store_analysis(folder, **changes):
    folder.mkdir(parents=True)
    value = {
        "analysis": "gap", "title": "Gap of <features>", "summary": "It shrinks.",
        "plot": "gap.svg", "sets": ["a", "b"],
        "rows": [{"epoch": 1, "gap": 0.123456}, {"epoch": 2, "gap": 0.1, "note": "x"}],
    }  # fmt: skip
    (folder / "analysis.json").write_text(json.dumps({**value, **changes}))
    (folder / "gap.svg").write_text(SVG)


def test_an_analysis_is_a_section_of_the_page(tmp_path):
    store_analysis(tmp_path / "deep" / "gap")
    content = report.gather([tmp_path])
    (found,) = content.analyses
    assert found.table.columns == ("epoch", "gap", "note") and found.sets == ("a", "b")
    assert found.table.rows == [("1", "0.1235", ""), ("2", "0.1", "x")]
    assert found.table.numeric == {"epoch", "gap"} and found.plot.data == SVG.encode()
    page = report.to_html(content, report.Page("t", "c"))
    assert "Gap of &lt;features&gt;" in page and "It shrinks." in page
    assert "data:image/svg+xml;base64," in page and "alert(1)" not in page
    assert "0.1235" in report.to_markdown(content, report.Page("t", "c"))


@pytest.mark.parametrize(
    ("changes", "lost"),
    [({"title": None}, True), ({"plot": "../gap.svg"}, False), ({"plot": "gap.html"}, False),
     ({"plot": "none.svg"}, False), ({"rows": "x"}, False), ({"rows": [1]}, False)],
)  # fmt: skip
def test_odd_analyses_are_shown_in_part_or_named(changes, lost, tmp_path):
    store_analysis(tmp_path / "gap", **changes)
    notes: list[str] = []
    found = analyses.find([tmp_path], notes)
    assert (len(found), len(notes)) == ((0, 1) if lost else (1, 0))
    assert lost or (found[0].plot is None) == ("plot" in changes)


def test_a_further_kind_is_a_function_and_a_line(tmp_path, monkeypatch):
    (tmp_path / "continual.json").write_text('{"steps": [{"seen": 20, "accuracy": 58.25}]}')

    def continual(path, value):
        table = analyses.rows_table("Continual", value["steps"])
        return analyses.Analysis("Continual", "Five steps.", (), None, table)

    with pytest.raises(UserError, match="evaluations"):
        report.gather([tmp_path])
    monkeypatch.setitem(analyses.KINDS, "continual.json", continual)
    page = report.to_html(report.gather([tmp_path]), report.Page("t", "c"))
    assert "Five steps." in page and "58.25" in page
