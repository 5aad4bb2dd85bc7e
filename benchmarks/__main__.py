"""Times everything that takes time, and writes a table and JSON.

    python -m benchmarks --only=torch,train           # beside plain PyTorch (pip install torch)
    python -m benchmarks --only=steps --classes=10,100,200 --ipcs=1,10,50 --width=32 --batch=64

What is compared takes turns, one run of each per round, in processes of their own; medians.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import workers

FLAGS = flags.FLAGS
SUITES = ("steps", "torch", "train", "pieces", "loop", "stream")
flags.DEFINE_list("only", list(SUITES), f"some of {', '.join(SUITES)}")
flags.DEFINE_list("methods", ["dm", "idm", "m3d", "dance"], "for steps")
flags.DEFINE_list("classes", ["10"], "for steps")
flags.DEFINE_list("ipcs", ["10"], "for steps, torch")
flags.DEFINE_list("widths", ["128"], "of ConvNet")
flags.DEFINE_integer("batch", 128, "real images per class")
flags.DEFINE_integer("side", 32, "of the images")
flags.DEFINE_integer("rounds", 5, "timings of each")
flags.DEFINE_integer("devices", None, "devices to spread over (default: all)")
flags.DEFINE_integer("class_chunk", None, "classes at once (default: what suits the backend)")
flags.DEFINE_list("precisions", ["float32"], "float32, bfloat16")
flags.DEFINE_integer("networks", None, "for train: side by side (default: 2 on CPU, else 10)")
flags.DEFINE_string("json", None, "also write the results to this file")


class Worker:
    """A process that waits for its turns."""

    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self.name, self.spec, self.seconds = name, spec, []  # type: ignore[var-annotated]
        command = [sys.executable, "-m", "benchmarks.workers", json.dumps(spec)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about: dict[str, Any] = json.loads(self._read())

    def turn(self) -> None:
        assert self.process.stdin is not None
        time.sleep(1)  # until the threads of the one before have stopped spinning
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(float(self._read()))

    def finish(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.about |= json.loads(self._read())
        self.process.wait()
        median = statistics.median(self.seconds)
        result = {"name": self.name, "median_s": median, "min_s": min(self.seconds), **self.about}
        if "images" in self.about:
            result["images_per_s"] = self.about["images"] / median
        if "flops" in self.about:
            result["gflop_per_s"] = self.about["flops"] / median / 1e9
        return result

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} failed; its error is above.")
        return line


def compare(specs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Times processes in turns; one line of the table each."""
    running = [Worker(name, spec) for name, spec in specs.items()]
    for _ in range(FLAGS.rounds):
        for worker in running:
            worker.turn()
    results = [worker.finish() for worker in running]
    for result in results:
        show(result)
    return results


COLUMNS = (
    ("name", "{:40}"), ("median_s", "{:10.4f}"), ("min_s", "{:10.4f}"),
    ("images_per_s", "{:10.0f}"), ("gflop_per_s", "{:10.0f}"), ("compile_s", "{:8.1f}"),
    ("step_memory_mb", "{:8.0f}"),
    ("peak_device_mb", "{:8.0f}"), ("peak_rss_mb", "{:8.0f}"),
)  # fmt: skip


def show(result: dict[str, Any]) -> None:
    cells = [
        form.format(result[key]) if key in result else " " * len(form.format(0))
        for key, form in COLUMNS
    ]
    print(" ".join(cells), flush=True)


def step(method: str, classes: int, ipc: int, width: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "step", "method": method, "classes": classes, "ipc": ipc, "width": width,
        "side": FLAGS.side, "batch": FLAGS.batch, "devices": FLAGS.devices,
        "class_chunk": FLAGS.class_chunk, "precision": "float32", **more,
    }  # fmt: skip


def numbers(values: Sequence[str]) -> list[int]:
    return [int(value) for value in values]


def steps() -> list[dict[str, Any]]:
    results = []
    for width in numbers(FLAGS.widths):
        for method in FLAGS.methods:
            for ipc in numbers(FLAGS.ipcs):
                results += compare({
                    f"{method} C={c} IPC={ipc} w={width} {p}": step(
                        method, c, ipc, width, precision=p
                    )
                    for c in numbers(FLAGS.classes)
                    for p in FLAGS.precisions
                })  # fmt: skip
    return results


def torch() -> list[dict[str, Any]]:
    """DANCE's step, ours against PyTorch: as a user starts each, and with the allocator set."""
    results = []
    for width in numbers(FLAGS.widths):
        for ipc in numbers(FLAGS.ipcs):
            own = step("dance", 10, ipc, width)
            found = compare({
                f"dance IPC={ipc} w={width}": own,
                "  PyTorch": {**own, "kind": "torch_step"},
                "  PyTorch, allocator set": {**own, "kind": "torch_step", "tuned": True},
            })  # fmt: skip
            ratio(found)
            results += found
    return results


def train() -> list[dict[str, Any]]:
    """Training networks, batch 64."""
    results = []
    for width in numbers(FLAGS.widths):
        spec = {
            "kind": "train", "width": width, "side": FLAGS.side, "batch": 64, "repeat": 4,
            "networks": FLAGS.networks or 2, "devices": FLAGS.devices,
        }  # fmt: skip
        single = {**spec, "networks": 1, "repeat": 4 * spec["networks"]}
        found = compare({
            f"train {spec['networks']} networks w={width}": spec,
            "  one after the other": single,
            "  PyTorch": {**spec, "kind": "torch_train"},
            "  PyTorch, allocator set": {**spec, "kind": "torch_train", "tuned": True},
        })  # fmt: skip
        ratio(found)
        results += found
    return results


def ratio(found: list[dict[str, Any]]) -> None:
    for other in found[1:]:
        other["times_slower"] = other["median_s"] / found[0]["median_s"]
        print(f"  {other['name'].strip()}: {other['times_slower']:.2f} times the first's time")


def pieces() -> list[dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = {
        f"matmul 2048 {p}": {"kind": "piece", "piece": "matmul", "side": 2048, "precision": p}
        for p in FLAGS.precisions
    }
    for name in ("decode", "augment", "augment_all"):
        specs[name] = {"kind": "piece", "piece": name, "side": FLAGS.side, "images": 100}
    return compare(specs)


def loop() -> list[dict[str, Any]]:
    """`condense` with its metrics and progress against the bare compiled step."""
    return [_condense("device", bare=True)]


def stream() -> list[dict[str, Any]]:
    """`condense` with the data set on the device and on the host."""
    return [_condense("device"), _condense("host")]


def _condense(placement: str, bare: bool = False) -> dict[str, Any]:
    from benchmarks import condensing

    spec = step("dance", 10, int(FLAGS.ipcs[0]), int(FLAGS.widths[0]), placement=placement)
    count = 20 * FLAGS.rounds
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", condensing.__name__, json.dumps(spec), folder, str(count)]
        done = subprocess.run(
            [*command, "bare" if bare else "loop"], check=True, stdout=subprocess.PIPE, text=True
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    show(result)
    for key in ("overhead", "wait_s"):
        if key in result:
            print(f"  {key}: {result[key]:.4f}")
    return result


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"unexpected argument {argv[1]!r}")
    unknown = set(FLAGS.only) - set(SUITES)
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; choose among {', '.join(SUITES)}")
    print(" ".join(f"{key:>{len(form.format(0))}}" for key, form in COLUMNS[1:]).rjust(40))
    results = {name: globals()[name]() for name in FLAGS.only}
    if FLAGS.json:
        about = {"date": time.strftime("%Y-%m-%d"), "argv": sys.argv[1:]}
        Path(FLAGS.json).write_text(json.dumps({**about, **results}, indent=2) + "\n")


if __name__ == "__main__":
    assert workers.PREPARE
    app.run(main)
