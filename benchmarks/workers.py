"""One thing to be timed per process: `python -m benchmarks.workers JSON` sets it up and says so,
then runs it once for each line on stdin, and answers with the seconds.

Processes of their own, so that each has the allocator and threads that it would have in use, and
can take turns with the others: on a machine with other guests only interleaved timings compare.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]
Prepared = tuple[Work, dict[str, Any]]
STACK = contextlib.ExitStack()
"""Keeps meshes ambient until the process ends."""


def forward_flops(width: int, side: int, channels: int, depth: int = 3) -> int:
    """Multiplications and additions of ConvNet's convolutions for one image."""
    total, c_in = 0, channels
    for block in range(depth):
        total += 2 * (side >> block) ** 2 * 9 * c_in * width
        c_in = width
    return total


def step_flops(spec: dict[str, Any]) -> int:
    """Convolutions' operations that an iteration needs, whatever an implementation repeats.

    Real images go forward; synthetic ones forward and back to the pixels, twice in DANCE and what
    came after it, and forward once more for our own method's regression. IDM's training of its
    networks is not counted.
    """
    method = spec["method"]
    decoded = spec["ipc"] * (1 if method == "dm" else 4)
    decoded = min(decoded, 200) if method == "dance" else decoded
    each = {"dance": 4, "ncfm": 4, "tgdd": 4, "dancejax": 5}.get(method, 2)
    passes = spec["batch"] + decoded * each
    return spec["classes"] * passes * forward_flops(spec["width"], spec["side"], 3)


def prepare_step(spec: dict[str, Any]) -> Prepared:
    """An iteration of a method on random images."""
    import jax
    import numpy as np

    from dancejax import condensation, interpolate, methods, networks
    from dancejax.data import Dataset
    from dancejax.methods.base import ExpertPool, sharing
    from dancejax.runs import backend, parallel
    from dancejax.training.experts import Experts

    classes, ipc, side = spec["classes"], spec["ipc"], spec["side"]
    dataset = _random_dataset(classes, max(spec["batch"], 4 * ipc), side)
    assert isinstance(dataset, Dataset)
    options = {"dtype": spec["precision"]} if spec["precision"] != "float32" else {}
    shape = (side, side, 3)
    network = networks.create("convnet", classes, shape, width=spec["width"], **options)
    keys = jax.random.split(jax.random.key(0), 4)
    variables = [networks.init(network, key, shape) for key in keys]
    ends = ExpertPool(interpolate.stack(variables[:2]), interpolate.stack(variables[2:]))
    paths = jax.tree.map(lambda *x: np.stack(x, 1), *ends)  # two snapshots of each
    pool = Experts(ends, network, {}, paths)
    extra: dict[str, Any] = {}
    if spec["method"] == "idm":
        extra = {"queue_size": 20, "train_batch": spec["batch"]}
    method = methods.create(spec["method"], network=network, batch_real=spec["batch"], **extra)
    method, state, context = condensation.start(method, dataset, ipc=ipc, experts=pool, seed=1)
    assert np.isfinite(np.asarray(state.pixels)).all()
    shared = sharing(method, classes, spec["devices"])
    mesh = STACK.enter_context(parallel.use(parallel.CLASSES, spec["devices"], shared=shared))
    state, context = parallel.place((state, context), mesh)
    began = time.perf_counter()
    chunk = spec["class_chunk"]
    update = condensation.compile_step(method, state, context, mesh, class_chunk=chunk)
    about = {
        "compile_s": time.perf_counter() - began,
        "step_memory_mb": backend.program_memory(update) / 2**20,
        "flops": step_flops(spec),
        "images": classes * (spec["batch"] + ipc * method.factor**2),
        "devices": mesh.size,
    }
    kept = [state]

    def work() -> None:
        kept[0], metrics = update(kept[0], context)
        jax.block_until_ready(metrics)

    return work, about


def prepare_train(spec: dict[str, Any]) -> Prepared:
    """Steps of training networks side by side, as experts and evaluation do."""
    import jax

    from dancejax import keys, networks, training
    from dancejax.runs import parallel
    from dancejax.training import loop

    side = spec["side"]
    dataset = _random_dataset(10, 500, side)
    network = networks.create("convnet", 10, (side, side, 3), width=spec["width"])
    config = training.TrainConfig(epochs=60, batch_size=spec["batch"], cutmix=0.0)
    count = spec["networks"]
    devices = parallel.devices_for(count, spec["devices"])
    mesh = STACK.enter_context(parallel.use(parallel.NETWORKS, devices))
    data = training.TrainData(*parallel.place(training.train_data(dataset), mesh))
    job = loop.Job("train", network, config, dataset, count, 0, keys.EXPERTS, {})
    taken = loop.steps(job, loop.init_team(job, list(range(count)), mesh), data, mesh)

    def work() -> None:
        for _ in range(spec["repeat"]):
            jax.block_until_ready(next(taken).losses)

    began = time.perf_counter()
    work()
    about = {
        "compile_s": time.perf_counter() - began,
        "images": spec["repeat"] * count * spec["batch"],
        "flops": 3 * spec["repeat"] * count * spec["batch"] * forward_flops(spec["width"], side, 3),
        "devices": mesh.size,
    }
    return work, about


def prepare_piece(spec: dict[str, Any]) -> Prepared:
    """A product of matrices (the machine's peak), decoding, or augmentation."""
    import jax
    import jax.numpy as jnp

    from dancejax import augment, multiformation

    if spec["piece"] == "matmul":
        a = jnp.ones((spec["side"], spec["side"]), spec["precision"])
        product = jax.jit(lambda a: a @ a).lower(a).compile()
        return lambda: jax.block_until_ready(product(a)), {"flops": 2 * spec["side"] ** 3}
    images = jax.random.uniform(jax.random.key(0), (spec["images"], spec["side"], spec["side"], 3))
    run = {
        "decode": lambda x: multiformation.decode(x, 2),
        "augment": lambda x: augment.siamese(jax.random.key(1), x, "color_crop_cutout", "multi"),
        "augment_all": lambda x: augment.independent(
            jax.random.key(1), x, "color_crop_flip_scale_rotate", "multi"
        ),
    }[spec["piece"]]
    compiled = jax.jit(run).lower(images).compile()
    return lambda: jax.block_until_ready(compiled(images)), {"images": spec["images"]}


def prepare_torch_step(spec: dict[str, Any]) -> Prepared:
    """DANCE's iteration in plain PyTorch."""
    import torch

    from benchmarks import torch_dance

    device = _torch_device(spec)
    classes, side = spec["classes"], spec["side"]
    real = torch.randn(classes, max(spec["batch"], 4 * spec["ipc"]), 3, side, side, device=device)
    experts = []
    for _ in range(2):
        made = [torch_dance.ConvNet(classes, spec["width"], 3, side).to(device) for _ in range(2)]
        experts.append((made[0].state_dict(), made[1].state_dict()))
    pixels = torch.rand(classes, spec["ipc"], 3, side, side, device=device)
    run = torch_dance.Dance(pixels, real, experts, spec["width"], spec["batch"])
    decoded = spec["classes"] * (spec["batch"] + 4 * spec["ipc"])
    return run.step, {"flops": step_flops(spec), "images": decoded}


def prepare_torch_train(spec: dict[str, Any]) -> Prepared:
    """Steps of training a network in plain PyTorch."""
    import torch

    from benchmarks import torch_dance

    device = _torch_device(spec)
    run = torch_dance.Training(10, spec["width"], 3, spec["side"])
    run.network.to(device)
    images = torch.randn(spec["batch"], 3, spec["side"], spec["side"], device=device)
    labels = torch.randint(0, 10, (spec["batch"],), device=device)

    def work() -> None:
        for _ in range(spec["repeat"] * spec["networks"]):
            run.step(images, labels)

    count = spec["repeat"] * spec["networks"] * spec["batch"]
    flops = 3 * count * forward_flops(spec["width"], spec["side"], 3)
    return work, {"images": count, "flops": flops}


def _torch_device(spec: dict[str, Any]) -> Any:
    import torch

    if "core" in spec:
        torch.set_num_threads(1)
    return torch.device("cuda" if torch.cuda.is_available() and not spec.get("cpu") else "cpu")


def _random_dataset(classes: int, per_class: int, side: int) -> Any:
    import numpy as np

    from dancejax.data import Dataset

    rng = np.random.default_rng(0)
    count = classes * per_class
    return Dataset(
        name="random",
        split_name="train",
        images=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        labels=np.arange(count, dtype=np.int32) % classes,
        classes=tuple(map(str, range(classes))),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


PREPARE: dict[str, Callable[[dict[str, Any]], Prepared]] = {
    "step": prepare_step,
    "train": prepare_train,
    "piece": prepare_piece,
    "torch_step": prepare_torch_step,
    "torch_train": prepare_torch_train,
}


def main(spec: dict[str, Any]) -> None:
    if not spec["kind"].startswith("torch"):
        from dancejax.runs import backend

        backend.tune_allocator()
        backend.use_cores(spec.get("devices"))
    work, about = PREPARE[spec["kind"]](spec)
    work()
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        work()
        print(time.perf_counter() - began, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    final: dict[str, Any] = {"peak_rss_mb": peak}
    if not spec["kind"].startswith("torch"):
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            final["peak_device_mb"] = stats["peak_bytes_in_use"] / 2**20
        final["device"] = jax.devices()[0].device_kind
    print(json.dumps(final), flush=True)


if __name__ == "__main__":
    with STACK:
        main(json.loads(sys.argv[1]))
