"""One run as several tasks of a job: they find each other, end together, and go on as fewer."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch.conftest import ROOT, SMALL

from . import cluster
from .disturb import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or "all is there"),
]
TASKS = 2


def tasks(name: str) -> list[int]:
    """The processes of the run with this work folder, by their numbers as tasks."""
    found = subprocess.run(["pgrep", "-f", f"launch.condense.*{name}"], capture_output=True,
                           text=True, check=False).stdout.split()  # fmt: skip
    numbers = {}
    for process in found:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            for word in words:
                if word.startswith(b"SLURM_PROCID="):
                    numbers[int(word.split(b"=")[1])] = int(process)
    return [numbers[task] for task in sorted(numbers)]


@pytest.mark.parametrize("killed", range(TASKS))
def test_a_killed_task_ends_the_others_and_fewer_go_on(killed, tmp_path):
    command = [
        sys.executable, "-m", "launch.condense", "--dataset=fashion_mnist_mini", "--preset=paper",
        "--method=dm", "--ipc=1", "--steps=300", "--batch_real=8", "--checkpoint_seconds=1",
        f"--workdir={tmp_path / 'run'}", *SMALL,
    ]  # fmt: skip
    with cluster.running(tmp_path / "cluster") as slurm:
        srun = subprocess.Popen(
            ["srun", f"--ntasks={TASKS}", *command, "--coordinator=auto"], cwd=ROOT, text=True,
            env=slurm.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_for(lambda: [*(tmp_path / "run" / "checkpoints").glob("step_*")])
        start = time.monotonic()
        os.kill(tasks(str(tmp_path))[killed], signal.SIGKILL)
        _, said = srun.communicate(timeout=60)
        assert time.monotonic() - start < 60 and srun.returncode != 0
        sentences = re.findall(r"^error: .*another process of this run has ended", said, re.M)
        assert len(sentences) == TASKS - 1, said
        assert "Traceback" not in said, said
        done = subprocess.run(
            ["srun", "--ntasks=1", *command], cwd=ROOT, env=slurm.environment, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stderr.splitlines() if "/300" in line)
    assert "dm: 0/300" not in first
    assert (tmp_path / "run" / "condensed" / "images.npy").exists()
