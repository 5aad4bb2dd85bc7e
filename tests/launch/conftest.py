"""Programs as a user starts them: subprocesses in a checkout, on a tiny real data set."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dancejax.data import ImageDataset

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--width=4", "--depth=2")
EXPERTS = ("--experts=2", "--expert_epochs=2", "--expert_batch=16")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The programs share a compilation cache, in a folder of the tests."""
    cache = tmp_path_factory.getbasetemp().parent / "cache"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache)}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, train: ImageDataset, test: ImageDataset):
    path = tmp_path_factory.mktemp("data") / "clothes.npz"
    np.savez(
        path, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels
    )
    return f"--dataset={path}"


@pytest.fixture(scope="session")
def launch(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(name: str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", f"launch.{name}" if name else "launch", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def expert_dir(tmp_path_factory: pytest.TempPathFactory, launch, dataset) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "experts"
    launch("pretrain", dataset, f"--workdir={folder}", *SMALL, *EXPERTS)
    return folder


@pytest.fixture
def launch_and_stop(environment: dict[str, str]):
    """Starts a program, waits for the file `once`, sends a signal; returns (status, stderr)."""

    def run(name: str, *arguments: str, once: Path, signum: int = signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-m", f"launch.{name}", *arguments],
            cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 200
        while not once.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signum)
        _, stderr = process.communicate(timeout=200)
        return process.returncode, stderr

    return run
