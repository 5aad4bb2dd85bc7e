"""Default settings chosen from the size of the data and the machine, and what a run will take."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dancejax import condensation, interpolate, keys, methods, networks, runs, training
from dancejax.data import embedded
from dancejax.data.dataset import Dataset
from dancejax.data.normalisation import known
from dancejax.methods import Method, base
from dancejax.runs import backend, parallel
from dancejax.training import TrainConfig, TrainData, experts, loop
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of a whole run: network, experts, condensation and evaluation."""

    width: int
    batch_real: int
    experts: int
    expert_epochs: int
    steps: int
    epochs: int
    repeats: int


def published(name: str) -> bool:
    """Whether a data set is one that the papers have settings for: those with known constants."""
    return known(name) and name != embedded.NAME


def choose(dataset: Dataset, ipc: int, factor: int) -> Plan:
    """Settings for any data set, by its size and the machine.

    On CPU such that two cores need a few minutes for ten classes: networks of width 32, at most
    80 000 images seen per expert and 30 000 per evaluated network. On accelerators the papers',
    with an evaluation of 5 networks and a third of the epochs.
    """
    smallest = int(dataset.class_counts.min())
    if not backend.is_cpu():
        side = min(dataset.image_shape[:2])
        full = experts.expert_training(side).epochs
        return Plan(
            width=128,
            batch_real=min(128, smallest),
            experts=5,
            expert_epochs=_epochs(3_000_000, len(dataset), 5, full),
            steps=10_000,
            epochs=500,
            repeats=5,
        )
    return Plan(
        width=32,
        batch_real=min(64, smallest),
        experts=3,
        expert_epochs=_epochs(80_000, len(dataset), 3, 60),
        steps=300,
        epochs=_epochs(30_000, ipc * factor**2 * dataset.num_classes, 20, 300),
        repeats=3,
    )


def method_settings(method: str, chosen: Plan) -> Json:
    """Return what a plan sets of a method: on CPU smaller batches and a shorter queue, too."""
    small = methods.cpu_settings(method, chosen.batch_real) if backend.is_cpu() else {}
    return {"batch_real": chosen.batch_real, **small}


def image_size(sizes: list[tuple[int, int]]) -> int | None:
    """The side to bring images of these widths and heights to; None leaves them as they are.

    32 on CPU, else the largest of 32, 64 and 128 that the images fill.
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= 64:
        return None
    if backend.is_cpu():
        return 32
    usual = float(np.median([min(size) for size in sizes]))
    return max(side for side in (32, 64, 128) if side <= max(32, usual))


GRADIENT = 3
"""Forward passes that an image with a gradient costs: the gradient's two and its own."""
INIT = "real"
"""What stored images start from without a paper's settings (`initialisation.INITS`)."""


def step_seconds(
    method: Method, dataset: Dataset, network: nn.Module, ipc: int
) -> tuple[float, str]:
    """Foresee an iteration's seconds from its arithmetic and the machine's speed.

    Nothing of the iteration is compiled: a forward pass is counted for each real image, GRADIENT
    for each one with a gradient.

    Returns:
      (seconds, the setting that most of them are due to).
    """
    passes = step_passes(method, dataset.num_classes, ipc)
    each = [own.network or network for own in method.each]
    flops = statistics.fmean(forward_operations(one, dataset.image_shape) for one in each)
    speed = backend.matmul_speed() * jax.local_device_count()
    return flops * sum(passes.values()) / speed, max(passes, key=lambda name: passes[name])


def step_passes(method: Method, classes: int, ipc: int) -> dict[str, float]:
    """Count the forward passes of an iteration, by the settings that they are due to.

    Args:
      method: made for a network.
      classes: of the data set.
      ipc: stored images per class.
    """
    config, decoded = method.config, ipc * method.config.factor**2
    synthetic = min(decoded, config.batch_syn or decoded) * classes
    passes = {"batch_real": config.batch_real * classes, "factor": GRADIENT * synthetic}
    if method.needs_experts:
        passes["factor"] *= 2  # calibration's
    trained = getattr(config, "networks_trained", 0) * getattr(config, "train_steps", 0)
    if trained:
        passes["train_batch"] = GRADIENT * trained * config.train_batch
    return passes


@functools.lru_cache(maxsize=2048)
def forward_operations(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Return the floating-point operations of a forward pass of one image; nothing is compiled."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(
        lambda key: networks.init(network, key, image_shape), jax.random.key(0)
    )
    lowered = jax.jit(lambda v, x: networks.infer(network, v, x)).lower(variables, images)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def _epochs(images: int, count: int, least: int, most: int) -> int:
    return max(least, min(most, round(images / count)))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of each part, and megabytes of a condensation step (None: not known).

    setup: compiling, loading and pictures, roughly: at least what compiling took here, where a
    compilation cache may have had it.
    """

    experts: float
    condensation: float
    evaluation: float
    setup: float
    step_memory_mb: float | None

    @property
    def seconds(self) -> float:
        return self.experts + self.condensation + self.evaluation + self.setup


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
      method: made for the network.
      dataset: what is condensed.
      network: of experts, condensation and evaluation.
      ipc: stored images per class.
      steps: iterations.
      expert_training: how experts are trained.
      expert_count: how many are to be trained of each network, 0 for none.
      pool_size: experts that condensation will use.
      evaluation: how networks are trained on the result.
      repeats: how many of them, 0 for none.
    """

    method: Method
    dataset: Dataset
    network: nn.Module
    ipc: int
    steps: int
    expert_training: TrainConfig
    expert_count: int
    evaluation: TrainConfig
    repeats: int
    pool_size: int = 1


SHARE = 0.3
"""Of the speed of matrix products, what a small network's training reaches, all in all."""
_SETUP = 30.0
"""Seconds that compiling, loading, pictures and the report take, roughly."""


def counted(work: Work, run: runs.Run = runs.QUIET) -> Estimate:
    """Foresee what a run takes from its arithmetic; nothing of it is compiled.

    Args:
      work: what is to be done.
      run: on which devices.
    """
    dataset = work.dataset
    devices = run.devices or jax.local_device_count()
    each = forward_operations(work.network, dataset.image_shape)
    each /= SHARE * backend.matmul_speed() * devices
    images = work.ipc * work.method.factor**2 * dataset.num_classes
    passes = sum(step_passes(work.method, dataset.num_classes, work.ipc).values())
    trained = {
        "experts": work.expert_count * work.expert_training.epochs * len(dataset),
        "evaluation": work.repeats * work.evaluation.epochs * images,
    }
    seconds = {part: GRADIENT * number * each for part, number in trained.items()}
    return Estimate(
        condensation=work.steps * passes * each, setup=_SETUP, step_memory_mb=None, **seconds
    )


def estimate(work: Work, run: runs.Run = runs.QUIET) -> Estimate:
    """Time a few steps of each part on this machine, which compiles what the run will use.

    Args:
      work: what is to be done.
      run: on which devices, and where the data live.
    """
    began = time.perf_counter()
    condensation, memory = _time_condensation(work, run)
    expert_seconds = evaluation_seconds = 0.0
    dataset = work.dataset
    if work.expert_count:
        for own in work.method.each:
            one = dataclasses.replace(work, network=own.network or work.network)
            expert_seconds += _time_training(
                one, dataset.images, work.expert_training, work.expert_count, run
            )
    if work.repeats:
        # A step takes as long whichever images there are.
        count = work.ipc * work.method.factor**2 * dataset.num_classes
        taken = dataset.images[np.arange(count) % len(dataset)]
        decoded = taken.astype(np.float32) / np.float32(255)
        evaluation_seconds = _time_training(work, decoded, work.evaluation, work.repeats, run)
    return Estimate(
        experts=expert_seconds,
        condensation=work.steps * condensation,
        evaluation=evaluation_seconds,
        # The run compiles the same again, or as much: testing, pictures, the first batches.
        setup=_PICTURES + time.perf_counter() - began,
        step_memory_mb=memory / 2**20,
    )


_PICTURES = 10.0
"""Seconds that pictures, plots and the report take, roughly."""


def _time_training(
    work: Work, images: np.ndarray, config: TrainConfig, number: int, run: runs.Run
) -> float:
    """Seconds that training `number` networks on images takes."""
    dataset = work.dataset
    data = TrainData(
        jnp.asarray(images),
        jnp.asarray(np.resize(dataset.labels, len(images))),
        jnp.asarray(dataset.mean, jnp.float32),
        jnp.asarray(dataset.std, jnp.float32),
    )
    job = loop.Job("estimate", work.network, config, data, number, 0, keys.EXPERTS, {})
    with parallel.use(parallel.NETWORKS, parallel.devices_for(number, run.devices)) as mesh:
        size = backend.networks_per_call(number)
        team = loop.init_team(job, list(range(size)), mesh)
        taken = loop.steps(job, team, TrainData(*parallel.place(data, mesh)), mesh)
        each = _time(lambda: next(taken).losses)
    return each * job.steps * -(-number // size)


def _time_condensation(work: Work, run: runs.Run) -> tuple[float, int]:
    """(seconds, bytes) of an iteration; experts have random parameters."""
    method, dataset = work.method, work.dataset
    pools = []
    for own in method.each if method.needs_experts else ():
        key, network = jax.random.key(0), own.network or work.network
        recipe = training.Recipe.of(network, work.expert_training)
        one = training.init_state(key, recipe, dataset.image_shape)
        parameters = interpolate.stack([one.variables] * work.pool_size)
        paths = jax.tree.map(lambda x: np.stack([x, x], 1), parameters)
        ends = base.ExpertPool(parameters, parameters)
        pools.append(experts.Experts(ends, network, {}, paths))
    if run.placement == "host":
        # What is sent ahead does not make the step slower; a few images of each class will do.
        first = [np.flatnonzero(dataset.labels == c)[:256] for c in range(dataset.num_classes)]
        few = np.concatenate(first)
        dataset = dataclasses.replace(
            dataset, images=dataset.images[few], labels=dataset.labels[few]
        )
    given = pools or None
    method, state, context = condensation.start(method, dataset, ipc=work.ipc, experts=given)
    shared = base.sharing(method, dataset.num_classes, run.devices)
    with parallel.use(parallel.CLASSES, run.devices, shared=shared) as mesh:
        state, context = parallel.place((state, context), mesh)
        update = condensation.compile_step(
            method, state, context, mesh, class_chunk=run.class_chunk
        )
        taken = condensation.steps(update, state, context)
        turns = len(method.each)
        each = _time(lambda: [next(taken).metrics for _ in range(turns)]) / turns
        return each, backend.program_memory(update)


def _time(step: Callable[[], Any], rounds: int = 4) -> float:
    """Median seconds until what a step computes is there, after the first."""
    jax.block_until_ready(step())
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(step())
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))
