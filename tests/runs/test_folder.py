"""A run's folder, its log and its signals."""

import json
import os
import signal

import pytest

from dancejax import runs
from dancejax.errors import UserError


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    runs.write_json(path, {"old": 1})

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"a.json \(No space left"):
            runs.write_json(path, {"new": 2})
    assert runs.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_that_is_none_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no"):
        runs.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(UserError, match="damaged"):
        runs.read_json(tmp_path / "a.json")


def test_log_rewinds_one_kind_to_a_step_and_drops_a_torn_line(tmp_path):
    log = runs.MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write("dance", step, loss=step / 2)
        log.write("expert 0", step)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"kind": "dance", "st')
    log.rewind("dance", 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "dance"] == [1, 2]
    assert [line["step"] for line in lines if line["kind"] == "expert 0"] == [1, 2, 3]
    runs.MetricsLog(None).write("dance", 1)  # without a folder: nothing


def test_progress_without_a_terminal_is_a_line(capsys):
    with runs.Progress("work", 4) as bar:
        bar.update(2, loss=0.123456)
        bar.update(4)
    said = capsys.readouterr().err
    assert said.startswith("work: 4/4, ") and said.endswith("loss 0.1235\n")
    with runs.Progress("work", 4, start=4):
        pass
    assert capsys.readouterr().err == "work: 4/4\n"
    with runs.Progress("work", 2, enabled=False) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_sets_the_flag_and_handlers_come_back(signum, capsys):
    before = signal.getsignal(signum)
    with runs.stop_on_signals() as stop:
        stop.check()
        os.kill(os.getpid(), signum)
        assert stop.signum == signum
        assert signal.getsignal(signum) == before  # a second one ends the process
        with pytest.raises(runs.Interrupted, match=signum.name):
            stop.check()
    assert signal.getsignal(signum) == before
    assert "saving, then stopping" in capsys.readouterr().err


def test_durations_are_as_people_say_them():
    said = [runs.duration(s) for s in (3.2, 80, 95, 3600, 10_000, 1_199_485)]
    assert said == ["3 s", "80 s", "2 min", "60 min", "2 h 47 min", "13 d 21 h"]


def test_folders_that_cannot_be_are_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        runs.open_workdir(tmp_path / "file")
    assert runs.open_workdir(tmp_path / "a" / "b").is_dir()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    stale = tmp_path / ".table.md.12345.tmp"
    stale.write_text("ha")
    runs.write_bytes(tmp_path / "table.md", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]
    assert (tmp_path / "table.md").read_bytes() == b"whole"


def test_a_stop_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    runs.write_bytes(tmp_path / "table.md", b"old")

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        runs.write_bytes(tmp_path / "table.md", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]
    assert (tmp_path / "table.md").read_bytes() == b"old"
