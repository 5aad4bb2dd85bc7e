"""launch.report --watch: writes again and again, stops at once, ends with the runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.report.support import store

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_watching_stops_when_asked_and_ends_with_the_runs(tmp_path):
    store(tmp_path / "runs" / "done", "dance", 10, [45.2], dataset="photos")
    lock = tmp_path / "runs" / ".lock"
    lock.write_text(f"process {os.getpid()}\n")
    page = tmp_path / "report" / "report.html"
    command = [
        sys.executable, "-m", "launch.report", f"--runs={tmp_path / 'runs'}", "--watch",
        "--seconds=1", f"--workdir={page.parent}",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not page.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    first = page.stat().st_mtime_ns
    assert 'http-equiv="refresh" content="1"' in page.read_text()
    while page.stat().st_mtime_ns == first and time.monotonic() < deadline:
        time.sleep(0.1)
    assert page.stat().st_mtime_ns > first
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in said
    lock.unlink()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "45.2" in done.stdout
    assert "refresh" not in page.read_text()


def test_pictures_of_data_that_no_run_has(launch, tmp_path):
    store(tmp_path / "runs" / "done", "dance", 10, [45.2], dataset="photos")
    command = ("report", f"--runs={tmp_path / 'runs'}", f"--workdir={tmp_path / 'report'}")
    wrong = launch(*command, "--pictures_of=photo", status=2)
    assert "photos" in wrong.stderr and not (tmp_path / "report").exists()
    assert "45.2" in launch(*command, "--pictures_of=").stdout
