"""From the command to the end of the least that a program can do, cache empty and warm.

    python -m benchmarks --only=start

Programs that iterate make one iteration, or train for one epoch, of the embedded images; the others
do all that they do. What is compiled stays in a cache of its own, which is empty at first.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA, NETWORK = "--dataset=fashion_mnist_mini", "--width=32"
EXPERTS = ("--expert_dir=experts", "--experts=1")
ONCE = ("--epochs=1", "--repeats=1", "--test_points=1")
CONDENSED = "--condensed=condense/condensed"
PROGRAMS: dict[str, tuple[str, ...]] = {
    "doctor": (),
    "pretrain": (DATA, NETWORK, "--experts=1", "--expert_epochs=1", "--workdir=experts"),
    "condense": (DATA, "--preset=paper", "--method=dance", NETWORK, "--ipc=10", "--steps=1",
                 "--batch_real=32", "--picture_every=1", *EXPERTS, "--workdir=condense"),
    "select": (DATA, "--method=random", "--ipc=10", "--workdir=select"),
    "evaluate": (DATA, NETWORK, CONDENSED, *ONCE, "--workdir=evaluate"),
    "label": (CONDENSED, *EXPERTS, "--workdir=label"),
    "sweep": (DATA, NETWORK, "--methods=dm", "--ipcs=1", "--steps=1", "--batch_real=32",
              "--epochs=1", "--repeats=1", "--workdir=sweep"),
    "cross": (DATA, CONDENSED, "--networks=convnet:width=32", *ONCE, "--workdir=cross"),
    "continual": (DATA, NETWORK, "--methods=random", "--steps=2", "--orders=1", "--ipc=2",
                  "--epochs=1", "--workdir=continual"),
    "nas": (DATA, "--space=depth=3 width=16,32", "--coresets=random", "--ipc=10", "--epochs=1",
            "--whole_epochs=1", "--workdir=nas"),
    "analyse": (DATA, NETWORK, "--analyses=moments", CONDENSED, "--workdir=analyse"),
    "report": ("--runs=.", "--workdir=report"),
    "export": (CONDENSED, "--formats=png,npz", "--workdir=export"),
    "picture": ("--run=condense", DATA, "--expert_dir=experts"),
    "convert": ("--source=export/png/images", DATA, "--workdir=convert"),
}  # fmt: skip


def measure() -> list[dict[str, Any]]:
    """Run every program twice, and say how long each took."""
    results: dict[str, dict[str, Any]] = {name: {"name": name} for name in PROGRAMS}
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache", "PYTHONPATH": str(root)}
        for state in ("empty", "warm"):
            place = Path(folder, state)
            place.mkdir()
            for name, flags in PROGRAMS.items():
                command = [sys.executable, "-m", f"launch.{name}", *flags]
                began, cpu = time.perf_counter(), _cpu()
                done = subprocess.run(
                    command, cwd=place, env=environment, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    sys.exit(f"{' '.join(command)}\n{done.stderr}")
                results[name][f"{state}_s"] = time.perf_counter() - began
                results[name][f"{state}_cpu_s"] = _cpu() - cpu
    return list(results.values())


def _cpu() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [
        "| program | cache empty: s | processor s | cache warm: s | processor s |",
        "|---|---|---|---|---|",
    ]
    columns = ("empty_s", "empty_cpu_s", "warm_s", "warm_cpu_s")
    for line in found:
        lines.append(f"| {line['name']} | {' | '.join(f'{line[c]:.1f}' for c in columns)} |")
    return lines
