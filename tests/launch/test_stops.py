"""Every program, stopped at random moments from its start to its end, imports and compilation
included: one sentence or silence, and the same command goes on to the same bytes.

`python -m tests.launch.test_stops 10` stops each program ten times and prints what it saw.
"""

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from dancejax.training import experts

from .. import as_for_users
from ..conftest import cut
from .conftest import ROOT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
NETWORK = ("--width=4", "--depth=2")
_TIMES = ("result.json", "row.json", "config.json", ".lock", "report.html", "table.md",
          "times.json")  # fmt: skip
"""Files that hold times, or the time at which they were made."""


def commands(base: Path) -> dict[str, tuple[str, ...]]:
    """A command for each program, on what `prepare` left; its work folder is base/NAME."""
    data = f"--dataset={base / 'clothes.npz'}"
    pool, made = f"--expert_dir={base / 'pool'}", f"{base / 'made'}"
    train = (*NETWORK, "--experts=2", "--expert_epochs=3", "--expert_batch_size=16")
    runs = {
        "pretrain": (data, *train, "--snapshots=1"),
        "condense": (data, "--preset=paper", "--ipc=2", "--steps=60", "--batch_real=8", pool,
                     "--picture_every=20", "--keep_every=30", *NETWORK),
        "select": (data, "--method=forgetting", "--ipc=2", *train[:2], "--expert_epochs=10"),
        "evaluate": (data, f"--condensed={made}/condensed", *NETWORK, "--epochs=40", "--repeats=2"),
        "sweep": (data, *train, "--methods=dm,random", "--ipcs=1", "--steps=10", "--batch_real=8",
                  "--epochs=4", "--repeats=1"),
        "cross": (data, f"--condensed={made}/condensed", "--networks=convnet:width=4:depth=2",
                  "--epochs=10", "--repeats=2"),
        "analyse": (data, f"--condensed={made}/condensed", "--analyses=moments,discrepancy,tsne",
                    *train, "--networks=2"),
        "continual": (data, "--methods=dm,random", "--steps=3", "--orders=2", "--ipc=2",
                      "--iterations=8", "--batch_real=8", "--epochs=10", "--repeats=1", *NETWORK),
        "nas": (data, "--space=width=2,4", "--depth=2", "--coresets=random", "--ipc=2",
                "--epochs=10", "--whole", "--whole_epochs=3", "--devices=1"),
        "label": (f"--condensed={made}/condensed", pool),
        "export": (f"--condensed={made}/condensed", "--formats=png,npz,torch"),
        "convert": (data, f"--source={base / 'foreign.npz'}", "--factor=1"),
        "picture": (f"--run={made}", data, pool, "--embedding=pca", "--per_class=10"),
        "report": (f"--runs={made}",),
    }  # fmt: skip
    return {
        name: (name, *flags, f"--workdir={base / 'work' / name}") for name, flags in runs.items()
    }


def launch(command: tuple[str, ...], environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"launch.{command[0]}", *command[1:]],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(command: tuple[str, ...], environment: dict[str, str]) -> str:
    process = launch(command, environment)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, f"{command[0]}: {stderr[-2000:]}"
    return stderr


def prepare(base: Path, environment: dict[str, str]) -> None:
    """Data, a pool, a condensed set with its evaluation, and somebody else's set."""
    train, test = cut("train", 24), cut("test", 20)
    np.savez(base / "clothes.npz", x_train=train.images, y_train=train.labels,
             x_test=test.images, y_test=test.labels)  # fmt: skip
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:2] for c in range(3)])
    np.savez(base / "foreign.npz", images=train.images[chosen] / np.float32(255),
             labels=train.labels[chosen])  # fmt: skip
    data = f"--dataset={base / 'clothes.npz'}"
    finish(("pretrain", data, *NETWORK, "--experts=1", "--expert_epochs=1",
            f"--workdir={base / 'pool'}"), environment)  # fmt: skip
    finish(("condense", data, "--preset=paper", "--ipc=2", "--steps=4", "--batch_real=8",
            "--picture_every=2", f"--expert_dir={base / 'pool'}", *NETWORK,
            f"--workdir={base / 'made'}"), environment)  # fmt: skip
    finish(("evaluate", data, f"--condensed={base / 'made'}", *NETWORK, "--epochs=2",
            "--repeats=1", f"--workdir={base / 'made' / 'evaluation'}"), environment)  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """What a program left behind, without what tells times: digests by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = set(path.relative_to(folder).parts)
        if not path.is_file() or path.name in _TIMES or parts & {"checkpoints", "training"}:
            continue
        if any(part.startswith("expert_") for part in parts):
            continue  # Orbax's files hold times; the arrays are compared below
        data = path.read_bytes()
        if path.name == "analysis.json":
            data = re.sub(rb'"minutes": [^,}]*', b"", data)
        found[name] = hashlib.sha256(data).hexdigest()
    for pool in (folder, folder / "experts"):
        for number in range(experts.finished(pool) if pool.is_dir() else 0):
            leaves = jax.tree.leaves(experts.load_trajectory(pool, number))
            data = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
            found[f"{pool.name}/{number}"] = hashlib.sha256(data).hexdigest()
    return found


def stop_at(
    command: tuple[str, ...], moment: float, signum: signal.Signals, environment: dict[str, str]
) -> str:
    """Stop a program some seconds after its start; complain of all but a clean end."""
    process = launch(command, environment)
    time.sleep(moment)
    process.send_signal(signum)
    try:
        _, stderr = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(
            f"{command[0]} did not stop within two minutes of {signum.name}"
        ) from None
    where = f"{command[0]}, {signum.name} after {moment:.2f} s"
    assert "Traceback" not in stderr, f"{where}: {stderr[-3000:]}"
    allowed = (0, -signum) if signum == signal.SIGKILL else (0, 128 + signum, -signum)
    assert process.returncode in allowed, f"{where}: status {process.returncode}: {stderr[-1000:]}"
    return "finished" if process.returncode == 0 else signum.name


def try_stops(
    name: str,
    base: Path,
    environment: dict[str, str],
    count: int,
    rng: random.Random,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Stop a program until `count` stops were in time, then let it finish; how many were.

    A stop that comes after the end shows how long the program takes by now, with what it has
    compiled kept; the next one then meets a program that begins anew. Of stops twice as many as
    `count` are tried.
    """
    command = commands(base)[name]
    workdir = base / "work" / name
    shutil.rmtree(workdir, ignore_errors=True)
    began = time.monotonic()
    finish(command, environment)
    duration = time.monotonic() - began
    whole = digests(workdir)
    assert whole
    shutil.rmtree(workdir)
    stopped, fresh = 0, True
    for _ in range(2 * count):
        signum, moment = rng.choice(SIGNALS), rng.uniform(0, duration)
        began = time.monotonic()
        outcome = stop_at(command, moment, signum, environment)
        say(f"{name}: {signum.name} after {moment:.2f} of {duration:.2f} s: {outcome}")
        stopped += outcome != "finished"
        if stopped == count:
            break
        if outcome == "finished":
            check_equal(digests(workdir), whole)
            shutil.rmtree(workdir)
            duration = time.monotonic() - began if fresh else duration
        fresh = outcome == "finished"
    finish(command, environment)
    check_equal(digests(workdir), whole)
    return stopped


def check_equal(found: dict[str, str], whole: dict[str, str]) -> None:
    differing = {
        path: (whole.get(path), found.get(path))
        for path in whole.keys() | found.keys()
        if whole.get(path) != found.get(path)
    }
    assert not differing


@pytest.fixture(scope="module")
def base(tmp_path_factory, environment) -> Path:
    folder = tmp_path_factory.mktemp("stops")
    prepare(folder, environment)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", list(commands(Path())))
def test_stopped_programs_go_on_to_the_same_bytes(name, base, environment):
    assert try_stops(name, base, environment, 2, random.Random(name))


def test_an_abort_in_a_thread_of_its_own_is_said():
    """JAX misses another process in such a thread, while Python waits for that one's results."""
    program = """
import ctypes, threading
from launch import guard
guard.catch_aborts()
thread = threading.Thread(target=ctypes.CDLL(None).abort)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert "another process of this run" in done.stderr and done.stderr.count("\n") == 1


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        environment = {**as_for_users(), "XDG_CACHE_HOME": str(base / "cache")}
        prepare(base, environment)
        total, failed = 0, []
        for name in commands(base):
            try:
                rng = random.Random(f"{name} {count}")
                total += try_stops(name, base, environment, count, rng, say=print)
            except AssertionError as error:
                failed.append(name)
                print(f"FAILED {name}: {error}")
        print(json.dumps({"stopped": total, "programs": len(commands(base)), "failed": failed}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
