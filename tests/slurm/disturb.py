"""A sweep of eight cells on a real Slurm, disturbed in every way that a cluster and its users know:
the same bytes as undisturbed, nothing lost, no cell computed twice from its start.

    python -m tests.slurm.disturb 20

disturbs it twenty times, says what it did, and what came of it.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dancejax.runs import folder, jobs
from tests.launch.conftest import ROOT, SMALL

from . import cluster

METHODS = ("dm", "m3d", "dance", "dancejax")
CELLS = tuple(f"{method}-ipc1-seed{seed}" for method in METHODS for seed in (0, 1))
PATIENCE = 600
"""Seconds after which what is waited for has failed."""


class Sweep:
    """A sweep in a folder, on a cluster.

    Attributes:
      slurm: the cluster.
      path: the work folder.
      steps: iterations of a cell.
    """

    def __init__(self, slurm: cluster.Cluster, path: Path, steps: int) -> None:
        self.slurm, self.path, self.steps = slurm, path, steps

    def start(self, *more: str) -> "subprocess.Popen[str]":
        """Start the driver."""
        words = [
            sys.executable, "-m", "launch.sweep", "--dataset=fashion_mnist_mini", "--ipcs=1",
            f"--methods={','.join(METHODS)}", "--seeds=0,1", f"--steps={self.steps}",
            "--batch_real=8", "--train_batch=8", "--epochs=2", "--repeats=1", "--devices=1",
            "--experts=2", "--expert_epochs=2", "--checkpoint_seconds=1", "--engine=slurm",
            "--sbatch=time=10", f"--workdir={self.path}", *SMALL, *more,
        ]  # fmt: skip
        return subprocess.Popen(
            words, cwd=ROOT, env=self.slurm.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def give(self, *more: str) -> str:
        """Give the command, and return what it says."""
        driver = self.start(*more)
        _, said = driver.communicate(timeout=PATIENCE)
        assert driver.returncode in (0, 1), said
        assert "Traceback" not in said, said
        return said

    def finished(self) -> bool:
        """Whether every cell has its row."""
        return all((self.path / name / "row.json").exists() for name in CELLS)

    def under_way(self) -> list[str]:
        """The cells that a process works on, if all of them have something to lose; else none."""
        found = [name for name in CELLS if folder.held(self.path / name)]
        saved = [any((self.path / name / "checkpoints").glob("step_*")) for name in found]
        return found if found and all(saved) else []

    def number(self, cell: str) -> str:
        """The number of a cell's job of Slurm."""
        return str(jobs.record(self.path / cell)["slurm"])

    def sets(self) -> dict[str, str]:
        """Digests of what the cells came to, without times."""
        found = {}
        for name in CELLS:
            own = self.path / name
            for part in ("condensed/images.npy", "condensed/labels.npy"):
                found[f"{name}/{part}"] = hashlib.sha256((own / part).read_bytes()).hexdigest()
            row = json.loads((own / "row.json").read_text())
            found[f"{name}/row"] = json.dumps(
                {key: value for key, value in row.items() if "seconds" not in key}, sort_keys=True
            )
            lines = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
            steps = [line["step"] for line in lines if line.get("kind") == "condense"]
            assert steps == sorted(set(steps)), f"{name}: an iteration twice in metrics.jsonl"
        return found

    def beginnings(self, cell: str) -> list[int]:
        """The iteration at which each process of a cell began, as its progress bars say."""
        parts = re.split(r"^dancejax \d", (self.path / cell / "log.txt").read_text(), flags=re.M)
        bars = [re.search(rf"\b(\d+)/{self.steps}\b", part) for part in parts]
        return [int(bar.group(1)) for bar in bars if bar]


def wait_for(condition: Callable[[], object]) -> object:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return found


def time_out(sweep: Sweep, cell: str) -> None:
    """What Slurm sends before a job's time limit."""
    sweep.slurm.call("scancel", "--signal=USR2", sweep.number(cell))


def requeue(sweep: Sweep, cell: str) -> None:
    """What preemption and administrators do."""
    sweep.slurm.call("scontrol", "requeue", sweep.number(cell))


def scancel_and_again(sweep: Sweep, cell: str) -> None:
    """The user takes a job back, and gives the command again as soon as it is gone."""
    number = sweep.number(cell)
    sweep.slurm.call("scancel", number)
    wait_for(lambda: number not in sweep.slurm.call("squeue", "--noheader", "--array"))
    sweep.give()


def node_fails(sweep: Sweep, cell: str) -> None:
    """The machine with all its jobs is gone, and comes back."""
    sweep.slurm.fail_node()


def driver_killed(sweep: Sweep, cell: str) -> None:
    """The command is killed at some moment, and given again."""
    driver = sweep.start()
    time.sleep(random.uniform(0.5, 8))
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    sweep.give()


def two_drivers(sweep: Sweep, cell: str) -> None:
    """Two drivers at a time, one of which may be told to wait; and a job less in the queue."""
    sweep.slurm.call("scancel", sweep.number(cell))
    drivers = [sweep.start(), sweep.start()]
    for driver in drivers:
        _, said = driver.communicate(timeout=PATIENCE)
        assert driver.returncode in (0, 1, 2) and "Traceback" not in said, said
    sweep.give()


KINDS = (time_out, requeue, scancel_and_again, node_fails, driver_killed, two_drivers)


def disturb(sweep: Sweep, count: int, say: Callable[[str], object]) -> int:
    """Run a sweep to its end, and disturb it meanwhile; return how often."""
    sweep.give()
    done = 0
    while done < count:
        wait_for(lambda: sweep.under_way() or sweep.finished())
        time.sleep(random.uniform(0, 2))
        found = sweep.under_way()
        if sweep.finished():
            return done
        if found:
            kind, cell = KINDS[done % len(KINDS)], random.choice(found)
            done += 1
            say(f"{done}: {kind.__name__}, {cell}")
            kind(sweep, cell)
    while not sweep.finished():
        time.sleep(1)
        if not sweep.slurm.call("squeue", "--noheader").strip():
            sweep.give()
    return done


def check(plain: Sweep, disturbed: Sweep) -> str:
    """Compare what two sweeps came to; return what there is to say, and raise what is wrong."""
    expected, found = plain.sets(), disturbed.sets()
    differing = [name for name in expected if found[name] != expected[name]]
    assert not differing, f"differing: {differing}"
    begun = {name: disturbed.beginnings(name) for name in CELLS}
    twice = [name for name, steps in begun.items() if steps.count(0) > 1]
    assert not twice, f"from the start again: { {name: begun[name] for name in twice} }"
    assert not any((disturbed.path / name / "failed.json").exists() for name in CELLS)
    table = (disturbed.path / "table.md").read_text()
    assert table.count("\n") == (plain.path / "table.md").read_text().count("\n")
    return f"{len(CELLS)} cells, 0 lost, 0 differing; processes began at {begun}"


def main(count: int, steps: int) -> None:
    """Disturb a sweep, and say what came of it."""
    random.seed(count)
    left = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # as its last jobs end
    with left as name, cluster.running(Path(name) / "cluster") as slurm:
        plain = Sweep(slurm, Path(name) / "plain", steps)
        disturb(plain, 0, print)
        print("undisturbed: finished", flush=True)
        other = Sweep(slurm, Path(name) / "disturbed", steps)
        done = disturb(other, count, lambda text: print(text, flush=True))
        for sweep in (plain, other):
            sweep.give()
        print(f"disturbed {done} times: {check(plain, other)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
