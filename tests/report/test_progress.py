"""Runs under way: rates, time left, what stopped, and when watching ends."""

import json
import os
import time

import pytest

from dancejax import report
from dancejax.report import progress
from dancejax.runs import child, jobs
from tests.report.support import store


def begin(folder, *lines, steps=100, process=None):
    """A run that is under way, with its log."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"method": "dance", "steps": steps}
    (folder / "config.json").write_text(json.dumps({"settings": settings}))
    (folder / ".lock").write_text(f"process {process or os.getpid()}\n")
    go_on(folder, *lines)


def go_on(folder, *lines, when=None):
    with open(folder / "metrics.jsonl", "a") as file:
        for step, loss in lines:
            file.write(json.dumps({"kind": "dance", "step": step, "pltda": loss}) + "\n")
        file.write('{"kind": "dan')
    if when is not None:
        os.utime(folder / "metrics.jsonl", (when, when))


def test_a_second_look_tells_the_rate_and_the_time_left(tmp_path):
    begin(tmp_path / "run", (10, 3.0))
    go_on(tmp_path / "run", when=1000)
    watch = report.Watch([tmp_path])
    (first,) = watch.look(now=1001)
    assert (first.step, first.steps, first.rate, first.left) == (10, 100, None, "")
    (tmp_path / "run/metrics.jsonl").write_text("")
    go_on(tmp_path / "run", (30, 2.5), when=1010)
    (second,) = watch.look(now=1013)
    assert second.rate == pytest.approx(2.0) and second.left == "35 s"
    assert second.losses == {"pltda": 2.5} and second.quiet_for == pytest.approx(3)
    assert not second.stopped and second.state == "under way"


def test_finished_runs_are_not_under_way(tmp_path):
    begin(tmp_path / "run", (10, 3.0))
    (tmp_path / "run/result.json").write_text("{}")
    assert report.Watch([tmp_path]).look() == []


def test_what_stopped_and_what_failed_is_said(tmp_path):
    gone = 2**22 + 1  # above the largest process number of Linux
    begin(tmp_path / "stopped", (10, 3.0), process=gone)
    begin(tmp_path / "failed", (10, float("nan")))
    now = time.time() + progress.QUIET + 60
    failed, stopped = report.Watch([tmp_path]).look(now=now)
    assert stopped.stopped and "stopped" in stopped.state and stopped.left == ""
    assert failed.state.startswith("failed") and "pltda" in failed.state


def test_cells_of_a_sweep_are_known_by_what_lies_above_them(tmp_path):
    begin(tmp_path / "sweep", steps=40)
    (tmp_path / "sweep/metrics.jsonl").unlink()
    (tmp_path / "sweep" / "cell").mkdir()
    go_on(tmp_path / "sweep" / "cell", (10, 1.0))
    now = time.time() + progress.QUIET + 60
    (cell,) = report.Watch([tmp_path / "sweep"]).look(now=now)
    assert cell.steps == 40 and not cell.stopped


def test_parts_that_wait_or_failed_are_there(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        jobs.note(tmp_path / name, ["dancejax", "sweep"], slurm=f"7_{name}")
    child.fail(tmp_path / "b", 1)
    begin(tmp_path / "c", (10, 3.0))
    child.fail(tmp_path / "c", 2, "no room")
    running, waiting, failed = report.Watch([tmp_path]).look()
    assert running.step == 10 and running.state == "failed: no room"
    assert waiting.state == "given to Slurm: 7_a" and failed.state == "failed: exit status 1"
    (tmp_path / "a" / "row.json").write_text("{}")
    assert [run.name for run in report.Watch([tmp_path]).look()] == [running.name, failed.name]


def test_the_page_loads_itself_again_only_while_something_runs(tmp_path):
    store(tmp_path / "done", "dance", 10, [45.2], dataset="photos")
    begin(tmp_path / "run", (10, 3.0))
    page = report.Page("t", "c", refresh=7)
    watch = report.Watch([tmp_path])
    content = report.gather([tmp_path], watch)
    text = report.to_html(content, page)
    assert '<meta http-equiv="refresh" content="7">' in text and "10 of 100" in text
    assert text.index("Under way") < text.index('class="matrix"')
    assert "Under way" in report.to_markdown(content, page)
    (tmp_path / "run/.lock").write_text(f"process {2**22 + 1}\n")
    assert "refresh" not in report.to_html(report.gather([tmp_path], watch), page)
    assert "refresh" not in report.to_html(report.gather([tmp_path]), page)


def test_watching_ends_with_the_runs(tmp_path):
    store(tmp_path / "done", "dance", 10, [45.2])
    begin(tmp_path / "run", (10, 3.0))
    looks = report.watch([tmp_path], 0.01)
    assert next(looks).busy and next(looks).busy
    (tmp_path / "run/.lock").unlink()
    assert [content.busy for content in looks] == [False]
