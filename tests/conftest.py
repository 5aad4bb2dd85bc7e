"""What the tests share: tiny real images cut from the embedded set, experts of them, and programs
as a user starts them."""

import contextlib
import dataclasses
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import matplotlib
import psutil
import pytest

from dancejax import data, networks
from dancejax.data import Dataset
from dancejax.runs import backend
from dancejax.training import experts
from dancejax.training.experts import ExpertPool, Experts

backend.tune_allocator()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow_minutes",
        type=float,
        default=float("inf"),
        help="skip slow tests that have not begun so many minutes after the start",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fast tests come first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A machine too slow for all tests runs the fast ones, and says which it left out."""
    if item.get_closest_marker("slow") and time.time() > float(os.environ["TESTS_SLOW_UNTIL"]):
        pytest.skip("no time left for slow tests (--slow_minutes)")


def pytest_configure(config: pytest.Config) -> None:
    """One compilation cache for a session, its workers and the programs that they start.

    What one test module compiled is read back by the next, as are equal programs of other workers.
    """
    if not hasattr(config, "workerinput"):  # workers have the environment of who starts them
        folder = tempfile.mkdtemp(prefix="dancejax-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())  # the fonts known already
        os.environ["XDG_CACHE_HOME"] = folder
        os.environ["TESTS_SLOW_UNTIL"] = str(time.time() + 60 * config.getoption("slow_minutes"))
    backend.enable_compilation_cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@contextlib.contextmanager
def compiling(name: str) -> Iterator[list[str]]:
    """Collect what JAX says of each time that it compiles a function of this name."""
    found: list[str] = []
    handler, logger = logging.Handler(), logging.getLogger("jax")
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            yield found
    finally:
        logger.removeHandler(handler)
    found[:] = [text for text in found if text.startswith(f"Compiling jit({name})")]


def cut(split: str, per_class: int, classes: int = 3) -> Dataset:
    """The first classes of the embedded set, some images of each."""
    whole = data.subset(data.load("fashion_mnist_mini", split=split), per_class, seed=0)
    kept = whole.labels < classes
    return dataclasses.replace(
        whole,
        images=whole.images[kept],
        labels=whole.labels[kept],
        classes=whole.classes[:classes],
    )


@pytest.fixture(scope="session")
def train() -> Dataset:
    return cut("train", 24)


@pytest.fixture(scope="session")
def test() -> Dataset:
    return cut("test", 20)


@pytest.fixture(scope="session")
def network(train: Dataset) -> nn.Module:
    return networks.create("convnet", train.num_classes, train.image_shape, width=8, depth=2)


@pytest.fixture(scope="session")
def pool_folder(
    tmp_path_factory: pytest.TempPathFactory, train: Dataset, network: nn.Module
) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    config = experts.expert_training(28, epochs=3, batch_size=16)
    experts.train_pool(train, network, config, count=2, snapshots=2, run=folder)
    return folder


@pytest.fixture(scope="session")
def trained(pool_folder: Path) -> Experts:
    """Experts with their parameters after every epoch."""
    return experts.load_pool(pool_folder, trajectories=True)


@pytest.fixture(scope="session")
def pool(trained: Experts) -> ExpertPool:
    return trained.pool


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Programs compile as the tests do, quickly: `XLA_FLAGS= make test` for as users do."""
    return dict(os.environ)


Launched = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Iterator[Callable[..., Launched]]:
    """Runs a launcher in a process of its own, which has its imports from the one it is forked off:
    they take longer than most runs here."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.launch.forker"],
        cwd=Path(__file__).parents[1],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as forker:

        def run(arguments: list[str], **how: Any) -> Launched:
            assert forker.stdin and forker.stdout
            print(json.dumps({"arguments": arguments, **how}), file=forker.stdin, flush=True)
            return subprocess.CompletedProcess(arguments, *json.loads(forker.stdout.readline()))

        yield run
        assert forker.stdin
        forker.stdin.close()


@pytest.fixture(scope="session")
def launch(start: Callable[..., Launched]) -> Callable[..., Launched]:
    """Runs a launcher and checks its status. how: what `forker.run` takes beside."""

    def run(*arguments: str, status: int = 0, **how: Any) -> Launched:
        done = start(list(arguments), **how)
        assert done.returncode == status, f"{shlex.join(arguments)}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """What modules compiled takes gigabytes in the end."""
    yield
    if psutil.Process().memory_info().rss > 3e9:
        jax.clear_caches()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where the tests may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
