"""Reports: what is compared with which published number, and which settings are named."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from dancejax import condensed, methods, networks, report, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.methods import DatasetFacts
from dancejax.report import compare, papers, tables
from dancejax.training import experts, protocols

CIFAR = networks.identity(networks.create("convnet", 10, (32, 32, 3)))


def as_published(method, ipc, dataset="cifar10", **changes):
    """The settings that a run with the paper's would have."""
    preset = methods.paper(method, DatasetFacts(dataset), ipc)
    config = methods.METHODS[method].Config(**preset.settings)
    settings = {**dataclasses.asdict(config), "network": CIFAR, "steps": preset.steps, "seed": 0}
    if method == "dance":
        training = dataclasses.asdict(experts.expert_training(32))
        settings["experts"] = {"training": training, "count": 5}
    return {**settings, **changes}


def store(
    folder, method, ipc, accuracies, *, settings=None, dataset="cifar10", network=CIFAR,
    protocol=None, shape=(32, 32, 3), **training,
):  # fmt: skip
    """A run's folder with its evaluation, as the launchers leave it."""
    rng = np.random.default_rng(hash((str(folder), method, ipc)) % 2**32)
    made = CondensedSet(
        images=rng.random((10 * ipc, *shape), np.float32),
        labels=np.repeat(np.arange(10, dtype=np.int32), ipc),
        classes=tuple(map(str, range(10))),
        mean=(0.5,) * shape[2], std=(0.25,) * shape[2], factor=2, method=method,
        source={"name": dataset, "fingerprint": "f", "split": "train"},
        settings=as_published(method, ipc) if settings is None else settings,
    )  # fmt: skip
    runs.open_workdir(folder / "evaluation")
    condensed.save(made, folder / "condensed")
    (folder / "metrics.jsonl").write_text(
        json.dumps({"kind": method, "step": 10, "matching": 1.5}) + "\n"
        + json.dumps({"kind": method, "step": 20, "matching": 1.0}) + '\n{"kind": "to'
    )  # fmt: skip
    cost = {"seconds_per_iteration": 0.5, "step_memory_mb": 64.0, "device": "cpu", "devices": 2}
    runs.write_json(folder / "result.json", cost)
    name = protocol or methods.protocol_of(method)
    config = protocols.protocol(name, dataset, **training)
    result = {
        "protocol": name, "accuracy_mean": float(np.mean(accuracies)), "accuracies": accuracies,
        "best_over_epochs_mean": max(accuracies) + 1, "network": network,
        "curve": {"epochs": [1, 2], "accuracy_mean": [10.0, 20.0]},
        "training": dataclasses.asdict(config), "test": {"name": dataset, "fingerprint": "t"},
        "train": {
            "name": dataset, "method": method, "ipc": ipc,
            "fingerprint": condensed.fingerprint(made),
        },
    }  # fmt: skip
    runs.write_json(folder / "evaluation" / "result.json", result)


def test_published_settings_differ_in_nothing(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0] * 5 + [71.0] * 5)
    (entry,) = report.collect([tmp_path])
    assert compare.differences(entry) == []
    assert compare.label(entry) == "DANCE"
    paper = compare.published(entry)
    assert (paper.accuracy, paper.std, paper.source) == (70.8, 0.2, "DANCE Table 1")
    (table,) = tables.accuracy_tables([entry])
    (row,) = [dict(zip(table.columns, line, strict=True)) for line in table.rows]
    assert row["accuracy"] == "70.5 +- 0.5" and row["difference"] == "-0.3"
    assert (
        row["best"] == "72.0" and row["deviation over"] == "10 networks" and row["settings"] == ""
    )
    assert "None." in report.to_markdown([entry], "title", "command").splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "named", "row"),
    [
        ({"factor": 1}, "factor 1 (paper: 2)", 56.1),
        ({"pltda": False}, "pltda off (paper: on)", 64.8),
        ({"calibration": False}, "calibration off (paper: on)", 65.6),
        ({"steps": 300}, "iterations 300 (paper: 10000)", 70.8),
        ({"learning_rate": 0.5}, "learning_rate 0.5 (paper: 0.1)", 70.8),
        ({"learning_rate": None}, None, 70.8),
        ({"pltda": False, "calibration": False}, "pltda off (paper: on)", None),
        ({"network": {**CIFAR, "width": 32}}, "condensed on convnet of width 32", 70.8),
        (
            {"experts": {"count": 3, "training": dataclasses.asdict(
                experts.expert_training(32, epochs=10))}},
            "experts' epochs 10 (paper: 60); number of experts 3 (paper: 5)", 70.2,
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named_and_ablations_find_their_row(changes, named, row, tmp_path):
    settings = as_published("dance", 10, **changes)
    store(tmp_path / "a", "dance", 10, [70.0] * 10, settings=settings)
    (entry,) = report.collect([tmp_path])
    found = "; ".join(map(str, compare.differences(entry)))
    assert found == "" if named is None else named in found
    paper = compare.published(entry)
    assert (paper and paper.accuracy) == row


def test_protocol_networks_and_size_are_named(tmp_path):
    store(tmp_path / "a", "dm", 10, [40.0, 42.0], protocol="dance", epochs=300)
    config = {"settings": {"dataset": {"fingerprint": "f", "images": 20000, "name": "cifar10"}}}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    (entry,) = report.collect([tmp_path])
    found = list(map(str, compare.differences(entry)))
    assert "protocol dance (paper: dm)" in found
    assert "evaluation's epochs 300 (dance protocol: 1500)" in found
    assert "networks 2 (paper: 100)" in found
    assert "training images 20000 (paper: 50000)" in found


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


def test_networks_that_need_a_whole_image_are_compared_at_its_shape(tmp_path):
    """VGG-11 takes 28x28 grey images, which it widens, but not coloured ones."""
    vgg = networks.identity(networks.create("vgg11", 10, (28, 28, 1), width=8))
    store(tmp_path / "a", "dm", 1, [60.0], dataset="fashion_mnist", network=vgg, shape=(28, 28, 1))
    (entry,) = report.collect([tmp_path])
    assert "evaluated on vgg11 of width 8 (paper: 64)" in map(str, compare.differences(entry))


def test_cost_stands_beside_the_papers(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0])
    table = tables.cost_table(report.collect([tmp_path]))
    assert table.rows == [
        ("cifar10", "DANCE", "10", "0.500", "64", "2 x cpu", "0.12", "3045", "A100")
    ]


def test_experts_stand_for_the_whole_set(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0] * 10, dataset="cifar10")
    runs.open_workdir(tmp_path / "experts")
    pool = {
        "protocol": experts.PROTOCOL, "experts": 3, "accuracy_mean": 80.0,
        "accuracies": [79.0, 80.0, 81.0], "network": CIFAR,
        "training": dataclasses.asdict(experts.expert_training(32)),
        "train": {"name": "cifar10", "method": "whole", "ipc": None, "fingerprint": "f"},
        "test": {"name": "cifar10", "fingerprint": "t"},
    }  # fmt: skip
    runs.write_json(tmp_path / "experts" / "result.json", pool)
    entries = report.collect([tmp_path])
    (table,) = tables.accuracy_tables(entries)
    rows = [dict(zip(table.columns, line, strict=True)) for line in table.rows]
    assert [row["method"] for row in rows] == ["DANCE", "whole (the experts)"]
    whole = rows[1]
    assert (whole["IPC"], whole["accuracy"], whole["best"]) == ("all", "80.0 +- 1.0", "")
    assert (whole["paper"], whole["protocol"]) == ("84.8 +- 0.1", "experts, 60 epochs")
    notes = {letter: text for text, letter in tables.footnotes(entries).items()}
    assert notes[whole["settings"]] == "protocol that of experts (paper: dance)"
    assert "whole (the experts)" in report.to_html(entries, "title", "command")
    assert "cifar10,whole,all,convnet-3,80.0,1.0,3" in tables.to_csv(entries)


def test_data_sets_of_no_paper_have_no_columns_of_papers(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0], dataset="photos")
    entries = report.collect([tmp_path])
    for table in (*tables.accuracy_tables(entries), tables.cost_table(entries)):
        assert not any("paper" in name or name == "difference" for name in table.columns)
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_page_holds_everything_and_escapes_names(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0], dataset="<b>mine</b>")
    entries = report.collect([tmp_path])
    page = report.to_html(entries, "A & B", "python -m x '<y>'")
    assert "Not in this report" not in page
    assert "A &amp; B" in page and "&lt;y&gt;" in page and "&lt;b&gt;mine" in page
    assert "<b>" not in page and "http" not in page and 'src="data:image' in page
    assert page.count("data:image/png") == 2 and page.count("data:image/webp") == 1
    assert "image/webp" not in report.to_html(entries, "title", "command", ["other"])
    assert page.count("<td") == sum(len(t.columns) * len(t.rows) for t in [
        *tables.accuracy_tables(entries), tables.cost_table(entries)])  # fmt: skip


def test_a_set_that_is_not_there_is_said(tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0] * 100)
    (tmp_path / "a" / "condensed" / "images.npy").rename(tmp_path / "gone")
    (entry,) = report.collect([tmp_path])
    assert "the condensed set is not among the folders" in tables.to_csv([entry])


ODD_FILES = (
    ("result.json", '{"seconds'),
    ("result.json", '{"seconds_per_iteration": "fast", "step_memory_mb": 1, "device": "x"}'),
    ("evaluation/result.json", '{"accura'),
    ("evaluation/result.json", b"\xff\xfe"),
    ("evaluation/result.json", '{"accuracies": [1], "train": {}}'),
    ("evaluation/result.json", {"accuracies": []}),
    ("evaluation/result.json", {"accuracies": ["a"]}),
    ("evaluation/result.json", {"network": {"name": "convnet9"}}),
    ("evaluation/result.json", {"network": {"name": "convnet"}}),
    ("evaluation/result.json", {"training": {"epochs": "x"}}),
    ("evaluation/result.json", {"training": None}),
    ("evaluation/result.json", {"protocol": "mine"}),
    ("evaluation/result.json", {"protocol": 3}),
    ("evaluation/result.json", {"test": []}),
    ("evaluation/result.json", {"curve": {"epochs": [1], "accuracy_mean": []}}),
    ("evaluation/result.json", {"train": {"name": "cifar10", "ipc": "1"}}),
    ("evaluation/best_over_checkpoints.json", "[]"),
    ("config.json", "{"),
    ("config.json", '{"settings": {"dataset": {"fingerprint": [], "images": "x"}}}'),
    ("condensed/manifest.json", "{}"),
    ("condensed/images.npy", b"abc"),
    ("metrics.jsonl", b"\xff\n[]\n{}\n"),
)


def test_odd_files_do_not_stop_the_report(tmp_path, capsys):
    """Each in a run of its own, beside a whole one: it is left out and named, or read in part."""
    store(tmp_path / "whole", "dance", 10, [70.0])
    for number, (file, content) in enumerate(ODD_FILES):
        store(
            tmp_path / f"run{number}",
            "dm",
            1,
            [20.0, 21.0],
            settings=as_published("dm", 1, steps=number),
        )
        path = tmp_path / f"run{number}" / file
        if isinstance(content, dict):
            content = json.dumps({**json.loads(path.read_text()), **content})
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        notes: list[str] = []
        entries = report.collect([path.parents[file.count("/")], tmp_path / "whole"], notes=notes)
        assert any(entry.method == "dance" for entry in entries)
        lost = len(entries) == 1
        assert not lost or any(str(path) in note for note in notes), path
        assert len(notes) <= 1
    assert capsys.readouterr().err == ""
    notes = []
    entries = report.collect([tmp_path], notes=notes)
    report.write(entries, tmp_path, title="t", command="c", notes=notes)
    for page in ("report.md", "report.html"):
        assert "Not in this report" in (tmp_path / page).read_text(encoding="utf-8")
    report.collect([tmp_path])
    assert all(note in capsys.readouterr().err for note in notes[:1])


def test_nothing_but_damage_is_said(tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0])
    (tmp_path / "a" / "evaluation" / "result.json").write_text('{"seconds')
    with pytest.raises(UserError, match=r"result\.json"):
        report.collect([tmp_path])


ODD = (
    "caf\udce9", "a|b\n\n| c | d |", "<script>alert(1)</script>", "$x$", "\x00", "**b** `c` _d_",
    '=1+2,"q"', "\u732b", "# title",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind_keep_the_form_of_a_report(name, tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0], dataset=name)
    store(tmp_path / "b", name, 1, [20.0], dataset="plain", settings={})
    entries = report.collect([tmp_path])
    report.write(entries, tmp_path, title=name, command=name, notes=[name])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    outside_code = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not any("<script" in line.replace("\\<", "") for line in outside_code)
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == sum(
        2 + len(table.rows)
        for table in [*tables.accuracy_tables(entries), tables.cost_table(entries)]
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("method", "changes", "wanted"),
    [
        ("dance", {"experts": 1}, "DANCE, 1 expert"),
        ("dance", {"experts": 3}, "DANCE, 3 experts"),
        ("dance", {"pltda": False}, "DANCE, no PLTDA"),
        ("dance", {"calibration": False, "factor": 1}, "DANCE, factor 1, no calibration"),
        ("m3d", {"kernel": "linear"}, "M3D, kernel linear"),
        ("idm", {}, "IDM"),
    ],
)
def test_labels_are_for_people(method, changes, wanted, tmp_path):
    if "experts" in changes:
        training = dataclasses.asdict(experts.expert_training(32))
        changes = {"experts": {"training": training, "count": changes["experts"]}}
    store(tmp_path / "a", method, 10, [70.0], settings=as_published(method, 10, **changes))
    (entry,) = report.collect([tmp_path])
    assert sorted(compare.label(entry).split(", ")) == sorted(wanted.split(", "))
    assert wanted.split(", ")[0] in report.summary([entry])


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
    assert "best over checkpoints" in report.to_html(entries, "t", "c")


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


def test_papers_tables_are_whole():
    found = papers.accuracies()
    assert len(found) == 409 and len(papers.costs()) == 17
    assert all(0 < row.accuracy <= 100 and (row.std is None or row.std < 10) for row in found)
    assert {row.paper for row in found} == set(methods.METHODS)
    own = papers.published("m3d", "cifar10", 10, {"convnet", "convnet3"})
    assert (own.accuracy, own.source) == (63.5, "M3D Table 2")
    whole = papers.published("whole_dataset", "cifar10", None, {"convnet"})
    assert whole.accuracy == 84.8


def test_letters_go_on_after_z():
    assert [tables._letter(i) for i in (0, 25, 26, 27, 52, 701, 702)] == [
        "a", "z", "aa", "ab", "ba", "zz", "aaa",
    ]  # fmt: skip
