"""What is found in folders, and what is passed over and named."""

import json

import pytest

from dancejax import report
from dancejax.errors import UserError
from dancejax.report import tables
from tests.report.support import as_published, store


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
    content = report.gather([tmp_path])
    notes = list(content.notes)
    report.write(content, tmp_path, report.Page("t", "c"))
    for page in ("report.md", "report.html"):
        assert "Not in this report" in (tmp_path / page).read_text(encoding="utf-8")
    report.collect([tmp_path])
    assert all(note in capsys.readouterr().err for note in notes[:1])


def test_nothing_but_damage_is_said(tmp_path):
    store(tmp_path / "a", "dm", 1, [20.0])
    (tmp_path / "a" / "evaluation" / "result.json").write_text('{"seconds')
    with pytest.raises(UserError, match=r"result\.json"):
        report.collect([tmp_path])
