"""Times everything that takes time, and writes a table and JSON.

    python -m benchmarks --only=torch,train           # beside plain PyTorch (pip install torch)
    python -m benchmarks --only=parts --widths=32,128  # a training step by part, on one core
    python -m benchmarks --against=HEAD~1              # status 1 where it is slower by 5 percent
    python -m benchmarks --only=steps --classes=10,100,200 --ipcs=1,10,50 --width=32 --batch=64

What is compared takes turns, one run of each per round, in processes of their own; medians. With
--cores=one each has one core alone, and rates are by processor seconds: what is to be compared on a
machine that others use, too. PyTorch runs as it is started, and with glibc's allocator set.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import against, workers
from benchmarks.turns import Worker, in_turns

FLAGS = flags.FLAGS
SUITES = ("steps", "torch", "train", "pieces", "parts", "start", "loop", "stream")
flags.DEFINE_list(
    "only",
    [name for name in SUITES if name != "start"],
    f"some of {', '.join(SUITES)}; start takes minutes and is made where it is named",
)
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
flags.DEFINE_list("cores", ["all"], "one, all: of each process, for torch, train and --against")
flags.DEFINE_string("torch_python", sys.executable, "interpreter that has PyTorch")
flags.DEFINE_string(
    "against",
    None,
    "a commit: time a step of DANCE and of training here and there instead, and end with status 1 "
    "where this checkout is more than 5 % slower",
)
flags.DEFINE_string("json", None, "also write the results to this file")


def compare(specs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Times processes in turns; one line of the table each."""
    running = [
        Worker(name, spec, python=FLAGS.torch_python)
        if spec["kind"].startswith("torch")
        else Worker(name, spec)
        for name, spec in specs.items()
    ]
    in_turns(running, FLAGS.rounds)
    results = [worker.finish() for worker in running]
    for result in results:
        show(result)
    return results


def places() -> list[dict[str, Any]]:
    """What --cores adds to a spec: nothing, or the one core that the process has."""
    unknown = set(FLAGS.cores) - {"one", "all"}
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; --cores takes one, all")
    if "one" in FLAGS.cores and not hasattr(os, "sched_getaffinity"):
        sys.exit("--cores=one needs Linux")
    return [{"core": max(os.sched_getaffinity(0))} if c == "one" else {} for c in FLAGS.cores]


COLUMNS = (
    ("name", "{:40}"), ("median_s", "{:10.4f}"), ("min_s", "{:10.4f}"), ("spread", "{:8.2f}"),
    ("cpu_s", "{:10.4f}"),
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
            for place in places():
                own = {**step("dance", 10, ipc, width), **place}
                name = f"dance IPC={ipc} w={width}{' one core' if place else ''}"
                results += beside_torch({name: own}, {**own, "kind": "torch_step"})
    return results


def train() -> list[dict[str, Any]]:
    """Training networks, batch 64."""
    results = []
    for width in numbers(FLAGS.widths):
        for place in places():
            spec = {**training(width), **place}
            single = {**spec, "networks": 1, "repeat": spec["repeat"] * spec["networks"]}
            if place:
                own = {f"train a network w={width} one core": single}
            else:
                name = f"train {spec['networks']} networks w={width}"
                own = {name: spec, "  one after the other": single}
            results += beside_torch(own, {**spec, "kind": "torch_train"})
    return results


def training(width: int) -> dict[str, Any]:
    return {
        "kind": "train", "width": width, "side": FLAGS.side, "batch": 64, "repeat": 4,
        "networks": FLAGS.networks or 2, "devices": FLAGS.devices,
    }  # fmt: skip


def beside_torch(own: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Times ours beside PyTorch as it is started, and with the allocator set; says the ratios."""
    specs = {**own, "  PyTorch": other, "  PyTorch, allocator set": {**other, "tuned": True}}
    found = compare(specs)
    key = "cpu_s" if "core" in other and all("cpu_s" in line for line in found) else "median_s"
    what = "processor seconds" if key == "cpu_s" else "time"
    for line in found[1:]:
        line["times_slower"] = line[key] / found[0][key]
        print(f"  {line['name'].strip()}: {line['times_slower']:.2f} times the first's {what}")
    return found


def beside_commit() -> bool:
    """Times this checkout beside a commit; whether nothing is lost."""
    specs: dict[str, dict[str, Any]] = {}
    for place in places():
        where = " one core" if place else ""
        for width in numbers(FLAGS.widths):
            ipc = numbers(FLAGS.ipcs)[0]
            specs[f"dance IPC={ipc} w={width}{where}"] = {**step("dance", 10, ipc, width), **place}
            spec = training(width)
            if place:
                spec |= {"networks": 1, "repeat": spec["repeat"] * spec["networks"]}
            specs[f"train w={width}{where}"] = {**spec, **place}
    found = against.compare(specs, FLAGS.against, FLAGS.rounds)
    save({"against": FLAGS.against, "found": found})
    return not any(line["lost"] for line in found)


def pieces() -> list[dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = {
        f"matmul 2048 {p}": {"kind": "piece", "piece": "matmul", "side": 2048, "precision": p}
        for p in FLAGS.precisions
    }
    for name in ("decode", "augment", "augment_all"):
        specs[name] = {"kind": "piece", "piece": name, "side": FLAGS.side, "images": 100}
    return compare(specs)


def parts() -> list[dict[str, Any]]:
    """A step of training by part, beside the core's peaks: a Markdown table for each width."""
    from benchmarks import parts as module

    results = []
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    for width in numbers(FLAGS.widths):
        done = subprocess.run(
            [sys.executable, "-m", module.__name__, str(width), str(FLAGS.rounds)],
            check=True, stdout=subprocess.PIPE, text=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, [core]),
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"\nWidth {width}\n", *module.table(found), sep="\n", flush=True)
        results += [{"width": width, **line} for line in found]
    return results


def start() -> list[dict[str, Any]]:
    """The shortest run of every program, with an empty cache and a warm one."""
    from benchmarks import start as module

    found = module.measure()
    print("", *module.table(found), sep="\n", flush=True)
    return found


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves no process and no folder
    if FLAGS.against:
        sys.exit(0 if beside_commit() else 1)
    unknown = set(FLAGS.only) - set(SUITES)
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; choose among {', '.join(SUITES)}")
    print(" ".join(f"{key:>{len(form.format(0))}}" for key, form in COLUMNS[1:]).rjust(40))
    results = {name: globals()[name]() for name in FLAGS.only}
    save(results)


def save(results: dict[str, Any]) -> None:
    """Write what was found to --json, if that is given."""
    if FLAGS.json:
        about = {"date": time.strftime("%Y-%m-%d"), "argv": sys.argv[1:]}
        Path(FLAGS.json).write_text(json.dumps({**about, **results}, indent=2) + "\n")


if __name__ == "__main__":
    assert workers.PREPARE
    app.run(main)
