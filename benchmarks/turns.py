"""Processes that take turns: each runs its work once a round, so that a busy machine is as busy for
one as for another."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": str(2**34),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
}
"""What keeps glibc from returning activations to the kernel, for a program that does not itself."""


class Worker:
    """A process that waits for its turns.

    Attributes:
      seconds: wall seconds of each turn.
      cpu_seconds: processor seconds of each, all threads together; empty where the system has no
        /proc.
    """

    def __init__(
        self, name: str, spec: dict[str, Any], root: Path = ROOT, python: str = sys.executable
    ) -> None:
        self.name, self.spec = name, spec
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        tuned = TUNED if spec.get("tuned") else {}
        core = spec.get("core")
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.workers", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, **tuned},
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, [core]),
        )
        self.about: dict[str, Any] = json.loads(self._read())

    def turn(self) -> None:
        """Let it run its work once."""
        assert self.process.stdin is not None
        time.sleep(1)  # until the threads of the one before have stopped spinning
        before = self._cpu()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(float(self._read()))
        after = self._cpu()
        if before is not None and after is not None and after > before:
            self.cpu_seconds.append(after - before)

    def finish(self) -> dict[str, Any]:
        """End it; returns medians, spread, and what it says of itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.about |= json.loads(self._read())
        self.process.wait()
        median = statistics.median(self.seconds)
        result = {
            "name": self.name,
            "median_s": median,
            "min_s": min(self.seconds),
            "spread": (max(self.seconds) - min(self.seconds)) / median,
            **self.about,
        }
        if self.cpu_seconds:
            result["cpu_s"] = statistics.median(self.cpu_seconds)
        rated = result.get("cpu_s", median) if "core" in self.spec else median
        for key, rate, scale in (("images", "images_per_s", 1), ("flops", "gflop_per_s", 1e9)):
            if key in self.about and rated:
                result[rate] = self.about[key] / rated / scale
        return result

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def _cpu(self) -> float | None:
        """Processor seconds of the process's threads until now."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        try:
            found = [int(path.read_text().split()[0]) for path in threads]
        except OSError:
            return None
        return sum(found) / 1e9 if found else None

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} failed; its error is above.")
        return line


def in_turns(workers: list[Worker], rounds: int) -> None:
    """Let each take a turn in each round; every other round begins at the end."""
    for number in range(rounds):
        for worker in workers[:: -1 if number % 2 else 1]:
            worker.turn()
