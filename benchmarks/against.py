"""This checkout beside another commit: who is faster, by how much, and whether it is a loss."""

import contextlib
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.turns import ROOT, Worker, in_turns

LOSS = 0.05
"""Share by which this checkout may be slower."""


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A commit's files in a folder of their own, while the body runs."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "files.tar"
        git = ["git", "-C", str(ROOT), "archive", f"--output={archive}", commit]
        subprocess.run(git, check=True)
        with tarfile.open(archive) as files:
            files.extractall(Path(folder) / "other", filter="data")
        yield Path(folder) / "other"


def ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """Own time by the other's: the median over rounds, of which each was measured at one time."""
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def line(name: str, own: Sequence[float], other: Sequence[float], commit: str) -> tuple[str, bool]:
    """What is said of a benchmark, and whether it is a loss.

    Args:
      name: of the benchmark.
      own: seconds of this checkout, by round.
      other: of the other commit.
      commit: its name.
    """
    found = ratio(own, other)
    lost = found > 1 + LOSS
    word = "slower" if found > 1 else "faster"
    text = (
        f"{name}: {statistics.median(own):.3f} s, at {commit} {statistics.median(other):.3f} s; "
        f"{abs(found - 1):.1%} {word}{'  LOSS' if lost else ''}"
    )
    return text, lost


def compare(specs: dict[str, dict[str, Any]], commit: str, rounds: int) -> list[dict[str, Any]]:
    """Run each benchmark here and there in turns; says a line of each.

    Args:
      specs: what `benchmarks.workers` prepares, by name. With a core they are compared by
        processor seconds, else by wall time.
      commit: as git names it.
      rounds: timings of each.

    Returns:
      For each its name, both times, their ratio, and whether it is lost.
    """
    found = []
    with checkout(commit) as path:
        for name, spec in specs.items():
            workers = [Worker(name, spec), Worker(f"{name} at {commit}", spec, path)]
            try:
                in_turns(workers, rounds)
            finally:
                for worker in workers:
                    worker.stop()
            by_cpu = "core" in spec and all(len(worker.cpu_seconds) == rounds for worker in workers)
            own, other = ([w.cpu_seconds, w.seconds][not by_cpu] for w in workers)
            text, lost = line(name, own, other, commit)
            print(text, flush=True)
            found.append(
                {"name": name, "own_s": own, "other_s": other, "ratio": ratio(own, other),
                 "lost": lost, "processor_seconds": by_cpu}
            )  # fmt: skip
    return found
