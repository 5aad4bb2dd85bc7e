"""Tables: deviations and what they are over, cost, the whole set, exports, and letters."""

import csv
import io
import json

import numpy as np
import pytest

from dancejax import condensed, networks, report
from dancejax.report import compare, tables
from tests.report.support import as_published, store, store_pool


def test_seeds_are_one_line_and_networks_several(tmp_path):
    for seed in range(3):
        settings = as_published("dm", 1, seed=seed)
        store(tmp_path / f"seed{seed}", "dm", 1, [20.0 + seed, 22.0 + seed], settings=settings)
    resnet = networks.identity(networks.create("resnet10", 10, (32, 32, 3), width=16))
    store(tmp_path / "other", "dm", 1, [18.0], network=resnet)
    entries = tables.ordered(report.collect([tmp_path, tmp_path]))
    first, second = entries
    assert first.accuracies == [20.0, 22.0, 21.0, 23.0, 22.0, 24.0]
    assert first.by_set == [[20.0, 22.0], [21.0, 23.0], [22.0, 24.0]]
    assert first.std_over_sets == pytest.approx(1.0)
    assert first.std_over_networks == pytest.approx(2**0.5)
    assert first.std == pytest.approx(np.std(first.accuracies, ddof=1))
    assert tables.accuracy(first) == "22.0 +- 1.0"
    assert tables.deviation_over(first) == "3 sets, 2 networks each"
    assert tables.deviation_over(second) == "1 network"
    assert compare.network_name(second.network) == "resnet10 (width 16)"
    assert tables.accuracy(second) == "18.0" and second.std is None
    (table,) = tables.cross_tables(entries)
    assert table.columns == ("method", "convnet-3", "resnet10 (width 16)")
    assert table.rows == [("DM", "22.0 +- 1.0", "18.0")]
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(entries))))
    assert [(line["sets"], line["networks"]) for line in lines] == [("3", "6"), ("1", "1")]
    assert [line["method"] for line in lines] == ["dm", "dm"]
    assert float(lines[0]["accuracy_std_over_sets"]) == pytest.approx(1.0)
    assert float(lines[0]["accuracy_std_over_networks"]) == pytest.approx(2**0.5)
    assert lines[1]["accuracy_std_over_sets"] == lines[1]["accuracy_std_over_networks"] == ""
    assert float(lines[0]["difference"]) == pytest.approx(22.0 - 26.0)


def test_cost_stands_beside_the_papers(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0])
    table = tables.cost_table(report.collect([tmp_path]))
    assert table.rows == [
        ("DANCE", "cifar10", "10", "0.500", "64", "2 x cpu", "0.12", "3045", "A100")
    ]


def test_experts_stand_for_the_whole_set(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0] * 10, dataset="cifar10")
    store_pool(tmp_path / "experts", [79.0, 80.0, 81.0])
    entries = report.collect([tmp_path])
    (table,) = tables.accuracy_tables(entries)
    rows = [dict(zip(table.columns, line, strict=True)) for line in table.rows]
    assert [row["method"] for row in rows] == ["DANCE", "whole (the experts)"]
    whole = rows[1]
    assert (whole["IPC"], whole["accuracy"], whole["best over epochs"]) == (
        "all",
        "80.0 +- 1.0",
        "",
    )
    assert (whole["paper"], whole["protocol"]) == ("84.8 +- 0.1", "experts, 60 epochs")
    notes = {letter: text for text, letter in tables.footnotes(entries).items()}
    assert notes[whole["differs in"]] == "protocol that of experts (paper: dance)"
    assert "cifar10,whole,all,convnet-3,80.0,1.0,3" in tables.to_csv(entries)


def test_data_sets_of_no_paper_have_no_columns_of_papers(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0], dataset="photos")
    entries = report.collect([tmp_path])
    for table in (*tables.accuracy_tables(entries), tables.cost_table(entries)):
        assert not any("paper" in name for name in table.columns)
        assert not {"difference", "differs in"} & set(table.columns)
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_the_best_checkpoint_stands_under_its_own_name(tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0, 22.0])
    store(tmp_path / "b", "dance", 10, [70.0])
    (plain,) = tables.accuracy_tables(report.collect([tmp_path]))
    assert "best over checkpoints" not in plain.columns
    value = {
        "kind": "best over checkpoints", "best": {"iteration": 5, "accuracy_mean": 23.5},
        "checkpoints": [{"iteration": 5, "accuracy_mean": 23.5}],
    }  # fmt: skip
    path = tmp_path / "a" / "evaluation" / "best_over_checkpoints.json"
    path.write_text(json.dumps(value))
    entries = report.collect([tmp_path])
    (table,) = tables.accuracy_tables(entries)
    column = table.columns.index("best over checkpoints")
    assert [row[column] for row in table.rows] == ["23.5", ""]
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(entries))))
    assert [line["best_over_checkpoints_mean"] for line in lines] == ["23.5", ""]


def test_an_export_stands_beside_its_set(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0])
    made = condensed.load(tmp_path / "a" / "condensed")
    result = json.loads((tmp_path / "a" / "evaluation" / "result.json").read_text())
    origin = {"fingerprint": condensed.fingerprint(made), "ipc": 10, "factor": 2, "form": "png"}
    result["train"] |= {"fingerprint": "other", "origin": origin}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "result.json").write_text(json.dumps({**result, "test_images": 200}))
    entries = tables.ordered(report.collect([tmp_path]))
    assert [compare.label(e) for e in entries] == ["DANCE", "DANCE, png export"]
    assert [e.ipc for e in entries] == [10, 10] and entries[1].settings == made.settings
    (table,) = tables.accuracy_tables(entries)
    assert [row[table.columns.index("test images")] for row in table.rows] == ["", "200"]


def test_letters_go_on_after_z():
    assert [tables._letter(i) for i in (0, 25, 26, 27, 52, 701, 702)] == [
        "a", "z", "aa", "ab", "ba", "zz", "aaa",
    ]  # fmt: skip
