"""Programs as a user starts them: processes in a checkout, on a tiny real data set."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dancejax.data import Dataset

from ..conftest import Launched

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--width=4", "--depth=2")
EXPERTS = ("--experts=2", "--expert_epochs=2", "--expert_batch_size=16")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, train: Dataset, test: Dataset):
    path = tmp_path_factory.mktemp("data") / "clothes.npz"
    np.savez(
        path, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels
    )
    return f"--dataset={path}"


@pytest.fixture(scope="session")
def expert_dir(tmp_path_factory: pytest.TempPathFactory, launch, dataset) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "experts"
    launch("pretrain", dataset, f"--workdir={folder}", "--tensorboard", *SMALL, *EXPERTS)
    return folder


def parts_of(launch: Callable[..., Launched], *command: str) -> dict[str, list[str]]:
    """The commands that a program prints for its parts, by what each makes."""
    printed = launch(*command, "--print_commands").stdout.splitlines()
    words = [shlex.split(line)[2:] for line in printed]
    return {own[-1].removeprefix("--cells="): [*own[0].split(".")[1:], *own[1:]] for own in words}


@pytest.fixture
def one_core() -> Iterator[None]:
    """Processes that are started here have one core, as each of two workers of two cores: how XLA
    divides sums depends on it."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cannot bind to cores here")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def alone(environment: dict[str, str], one_core: None) -> Callable[..., Launched]:
    """Runs a launcher as `launch` does, by an interpreter of its own on one core."""

    def run(name: str, *flags: str) -> Launched:
        done = subprocess.run(
            [sys.executable, "-m", f"launch.{name}", *flags], cwd=ROOT, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return run
