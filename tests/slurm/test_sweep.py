"""A sweep on a real Slurm: experts before cells, a time limit that loses nothing, a second call."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dancejax.runs import jobs
from tests.launch.conftest import EXPERTS, ROOT, SMALL

from . import cluster

pytest.importorskip("submitit")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or "all is there"),
]
CELLS = ("dance-ipc1-seed0", "dance-ipc1-seed1")
STEPS = 600


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with cluster.running(tmp_path_factory.mktemp("slurm") / "cluster") as found:
        yield found


@pytest.fixture(scope="module")
def slurm(nodes):
    return nodes.environment


def sweep(slurm, folder, *more, status=0):
    words = [
        sys.executable, "-m", "launch.sweep", "--dataset=fashion_mnist_mini", "--methods=dance",
        "--ipcs=1", "--seeds=0,1", f"--steps={STEPS}", "--batch_real=8", "--epochs=1",
        "--repeats=1", "--devices=1", "--checkpoint_seconds=1", f"--workdir={folder}",
        *SMALL, *EXPERTS, *more,
    ]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, env=slurm, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def wait_for(condition, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_jobs_are_stopped_requeued_and_cancelled(slurm, tmp_path):
    on_slurm = ("--engine=slurm", "--sbatch=time=5")
    refused = sweep(slurm, tmp_path, *on_slurm, "--sbatch=partition=nowhere", status=2)
    assert "invalid partition specified: nowhere" in refused.stderr
    assert "submitted" in sweep(slurm, tmp_path, *on_slurm, "--parallel=2").stderr
    assert "queued" in sweep(slurm, tmp_path, "--status").stdout
    assert "submitted" not in sweep(slurm, tmp_path, *on_slurm).stderr  # all are queued
    first = tmp_path / CELLS[0]
    wait_for(lambda: list((first / "checkpoints").glob("step_*")))
    number = jobs.record(first)["slurm"]
    subprocess.run(["scancel", "--signal=USR2", number], env=slurm, check=True)  # its time limit
    wait_for(lambda: "Stopped." in (first / "log.txt").read_text())
    wait_for(lambda: all((tmp_path / name / "row.json").exists() for name in CELLS))
    for name in CELLS:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == STEPS
        assert not (tmp_path / name / "failed.json").exists()
    wait_for(lambda: not subprocess.check_output(["squeue", "--noheader"], env=slurm))
    done = sweep(slurm, tmp_path, *on_slurm)
    assert "submitted" not in done.stderr
    assert done.stdout == (tmp_path / "table.md").read_text() and "0, 1" in done.stdout


def test_cancelled_jobs_save_and_go_on(slurm, tmp_path):
    on_slurm = ("--engine=slurm", "--sbatch=time=5", f"--steps={50 * STEPS}")
    sweep(slurm, tmp_path, *on_slurm)
    folders = [tmp_path / name for name in CELLS]
    wait_for(lambda: all(list((f / "checkpoints").glob("step_*")) for f in folders))
    assert all(name in sweep(slurm, tmp_path, "--cancel").stderr for name in CELLS)
    wait_for(lambda: all("Stopped." in (f / "log.txt").read_text() for f in folders))
    wait_for(lambda: not subprocess.check_output(["squeue", "--noheader"], env=slurm))
    states = sweep(slurm, tmp_path, "--status").stdout
    assert "1 finished, 2 failed" in states and "is over without a result" in states


def test_nothing_of_the_cluster_is_left(tmp_path):
    with cluster.running(tmp_path / "cluster"):
        numbers = [int((tmp_path / "cluster" / f"{name}.pid").read_text())
                   for name in ("munged", "slurmctld", "slurmd")]  # fmt: skip
        for number in numbers:
            os.kill(number, 0)
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, signal.SIG_DFL)


def test_a_folder_that_nodes_do_not_share_is_named(nodes, slurm, tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("needs the right to have mounts of its own")
    with nodes.hidden(tmp_path):
        sweep(slurm, tmp_path, "--engine=slurm", "--sbatch=time=5")
        wait_for(lambda: not subprocess.check_output(["squeue", "--noheader"], env=slurm))
        said = sweep(slurm, tmp_path, "--status").stdout
    assert said.count("its node does not see this folder") == 1 + len(CELLS)
    sweep(slurm, tmp_path, "--engine=slurm", "--sbatch=time=5")  # now that they do
    wait_for(lambda: all((tmp_path / name / "row.json").exists() for name in CELLS))
