"""Several devices and several processes give what one gives, each in processes of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dancejax import condensed
from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.training import experts

SETTINGS = (
    "--dataset=fashion_mnist_mini", "--width=8", "--depth=2", "--ipc=2", "--experts=2",
    "--expert_epochs=1", "--expert_batch_size=512", "--batch_real=8", "--log_every=2",
    "--preset=paper", "--augmentation=crop",
)  # fmt: skip
IDM = ("--train_batch=8", "--train_steps=1", "--queue_size=3")


def start(name: str, *flags: str, devices: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", f"launch.{name}", f"--devices={devices}", *flags]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-2000:]


def pixels(workdir: Path) -> np.ndarray:
    return condensed.load(workdir / "condensed").images


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one device that the others are compared with."""
    workdir = tmp_path_factory.mktemp("one")
    finish(start("condense", *SETTINGS, "--method=dance", "--steps=4", f"--workdir={workdir}",
                 devices=1))  # fmt: skip
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["device", "host"])
def test_eight_devices_give_what_one_gives(placement, tmp_path, one_device):
    """Ten classes on eight devices, two experts on two: neither divides."""
    finish(start("condense", *SETTINGS, "--method=dance", "--steps=4", f"--workdir={tmp_path}",
                 f"--placement={placement}", devices=8))  # fmt: skip
    assert json.loads((tmp_path / "result.json").read_text())["devices"] == 8
    for a, b in zip(*(experts.load_pool(d / "experts").pool for d in (tmp_path, one_device)),
                    strict=True):  # fmt: skip
        for name in ("conv0", "conv1"):
            x, y = (tree["params"][name]["kernel"] for tree in (a, b))
            np.testing.assert_allclose(x, y, atol=1e-4)
    np.testing.assert_allclose(pixels(tmp_path), pixels(one_device), atol=2e-3)


@pytest.mark.slow
def test_two_processes_save_once_and_one_goes_on(tmp_path, one_device):
    """Two processes of two devices; the second half on one process with three."""
    port = free_port()
    flags = (*SETTINGS, "--method=dance", f"--workdir={tmp_path}")
    finish(*(
        start("condense", *flags, "--steps=2", f"--coordinator=127.0.0.1:{port}",
              "--num_processes=2", f"--process_id={n}", devices=2)
        for n in range(2)
    ))  # fmt: skip
    assert json.loads((tmp_path / "result.json").read_text())["devices"] == 4
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2]
    finish(start("condense", *flags, "--steps=4", devices=3))
    np.testing.assert_allclose(pixels(tmp_path), pixels(one_device), atol=2e-3)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [2, 4]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_processes_that_come_late_save_and_decide_with_the_first(tmp_path):
    """The second looks when the first has written: neither may wait for the other for ever."""
    port = free_port()
    pair = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.runs.processes", str(port), str(number), str(tmp_path)],
            cwd=Path(__file__).parents[2], env=dict(os.environ), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = []
    for process in pair:
        try:
            out, errors = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 0, errors[-2000:]
        said.append([line for line in out.splitlines() if "Gloo" not in line])
    assert said[0] == said[1] and "refused True" in said[0]
    count = int(next(line for line in said[0] if line.startswith("agreed ")).split()[1])
    assert 2 <= count < 199  # not at every step


@pytest.mark.slow
def test_a_process_that_pauses_or_hangs_loses_nothing(tmp_path, one_device):
    """One of two stands still for a while; then for good, which ends the other; both go on."""
    flags = (*SETTINGS, "--method=dance", f"--workdir={tmp_path}", "--checkpoint_seconds=0",
             f"--expert_dir={one_device / 'experts'}")  # fmt: skip
    flags = tuple(flag for flag in flags if not flag.startswith("--expert_e"))

    def both() -> list["subprocess.Popen[str]"]:
        port = free_port()
        return [
            start("condense", *flags, "--steps=30", f"--coordinator=127.0.0.1:{port}",
                  "--num_processes=2", f"--process_id={n}", devices=1)
            for n in range(2)
        ]  # fmt: skip

    def wait_for(step: int) -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            found = [int(p.name[5:]) for p in (tmp_path / "checkpoints").glob("step_*")]
            if found and max(found) >= step:
                return
            time.sleep(0.05)
        raise AssertionError("no checkpoint appeared")

    pair = both()
    wait_for(2)
    pair[1].send_signal(signal.SIGSTOP)
    time.sleep(3)
    pair[1].send_signal(signal.SIGCONT)
    wait_for(5)
    pair[1].send_signal(signal.SIGSTOP)
    _, said = pair[0].communicate(timeout=4 * parallel.HEARTBEAT_SECONDS)
    pair[1].kill()
    pair[1].communicate()
    assert pair[0].returncode == 2 and "another process of this run has ended" in said
    assert "Traceback" not in said
    finish(*both())
    finish(start("condense", *flags, "--steps=30", f"--workdir={tmp_path / 'whole'}", devices=2))
    np.testing.assert_allclose(pixels(tmp_path), pixels(tmp_path / "whole"), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "idm", "m3d"])
def test_methods_on_three_devices_from_the_host(method, tmp_path):
    """The other methods: three devices and host placement together against one device."""
    extra = IDM if method == "idm" else ()
    flags = (*SETTINGS, *extra, f"--method={method}", "--steps=3")
    finish(start("condense", *flags, f"--workdir={tmp_path / 'a'}", devices=1))
    finish(start("condense", *flags, f"--workdir={tmp_path / 'b'}", "--placement=host",
                 devices=3))  # fmt: skip
    a, b = pixels(tmp_path / "a"), pixels(tmp_path / "b")
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_devices_that_are_not_there():
    with pytest.raises(UserError, match="64 devices"):
        parallel.check_devices(64)
    with pytest.raises(UserError, match="0 devices"), parallel.use(parallel.CLASSES, 0):
        pass


@pytest.mark.parametrize(
    ("classes", "devices", "shared"),
    [
        (10, 8, 4),
        (100, 8, 1),
        (200, 8, 1),
        (10, 2, 1),
        (3, 2, 2),
        (10, 4, 2),
        (10, 6, 3),
        (7, 1, 1),
    ],
)
def test_all_devices_have_even_work(classes, devices, shared):
    """The largest device's share of the mean is at most 1.1."""
    assert parallel.sharing(classes, 128, devices) == shared
    blocks, size = parallel.shares(classes, devices // shared, 1)
    images = -(-128 // shared)
    assert blocks * size * images / (classes * 128 / devices) <= 1.1


def test_few_images_are_not_shared():
    """A device has four at least; and what comes nearest to even work is taken."""
    assert parallel.sharing(10, 7, 8) == 1
    assert parallel.sharing(10, 8, 8) == 2


SHARED = """
import sys
import jax, numpy as np
from dancejax import condensation, data, interpolate, methods, networks
from dancejax.methods.base import ExpertPool
from dancejax.runs import parallel
from dancejax.training.experts import Experts
train = data.subset(data.load("fashion_mnist_mini"), 12, seed=0)
shape = train.image_shape
# Without ReLU, over whose edges rounding takes an image.
network = networks.create("convnet", 10, shape, width=4, depth=2, activation="swish")
made = [networks.init(network, jax.random.key(i), shape) for i in range(4)]
pool = ExpertPool(interpolate.stack(made[:2]), interpolate.stack(made[2:]))
if sys.argv[1] == "dancejax":
    paths = jax.tree.map(lambda *ends: np.stack(ends, 1), *pool)
    pool = Experts(pool, network, {}, paths)
# Adam makes whole steps of gradients that are rounding.
options = {
    "idm": {"queue_size": 2, "train_batch": 8, "train_steps": 1}, "dancejax": {"optimizer": "sgd"},
}.get(sys.argv[1], {})
method = methods.create(sys.argv[1], network, batch_real=10, augmentation="crop", **options)
found = []
for devices, shared in ((1, 1), (8, 4), (8, 8)):
    method, state, context = condensation.start(method, train, ipc=3, experts=pool)
    first = np.asarray(method.pixels(state, context))
    with parallel.use(parallel.CLASSES, devices, shared=shared) as mesh:
        state, context = parallel.place((state, context), mesh)
        update = condensation.compile_step(method, state, context, mesh)
        for _ in range(3):
            state, metrics = update(state, context)
        found.append(parallel.fetch((method.pixels(state, context), metrics)))
    moved = np.abs(found[0][0] - first).max()
    assert moved > 1e-3, moved
for other in found[1:]:
    for a, b in zip(*map(jax.tree.leaves, (found[0], other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3 * moved)
print(mesh.axis_names)
"""


def on_eight_devices(program: str, *words: str) -> str:
    """What a program prints on eight forced host devices."""
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=Path(__file__).parents[2], check=False,
        capture_output=True, text=True,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "idm", "m3d", "dance", "ncfm", "dancejax"])
def test_devices_that_share_images_give_what_one_gives(method):
    """Ten images on four devices, three of them filled up, and on eight."""
    assert "images" in on_eight_devices(SHARED, method)


OWNERS = """
import jax, jax.numpy as jnp, numpy as np
from dancejax.runs import parallel
for classes in (10, 100, 200):
    shared = parallel.sharing(classes, 128)
    with parallel.use(parallel.CLASSES, shared=shared) as mesh:

        def own(x, _):
            part = parallel.own_images(jnp.ones((len(x), 128)))
            number = jax.lax.axis_index(mesh.axis_names)
            images = jnp.zeros((len(x), 8)).at[:, number].set(part.sum(1))
            return images if shared == 1 else jax.lax.psum(images, parallel.IMAGES)

        spread = lambda x: parallel.map_blocks(own, x, None, size=1, axis=parallel.CLASSES)
        print(*np.asarray(jax.jit(spread)(jnp.zeros(classes))).sum(0).astype(int))
"""


@pytest.mark.slow
def test_eight_devices_share_classes_and_images():
    """What devices in fact compute: the images of each, for 10, 100 and 200 classes of 128."""
    found = [list(map(int, line.split())) for line in on_eight_devices(OWNERS).splitlines()]
    assert found == [[160] * 8, [13 * 128] * 7 + [9 * 128], [25 * 128] * 8]
