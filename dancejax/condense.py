"""The loop that runs any method: one compiled iteration, metrics, checkpoints, resume."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dancejax import backend, checkpoint, coreset, multiformation, parallel, runs
from dancejax.condensed import CondensedSet, dataset_source, describe_source
from dancejax.data import sampling, streaming
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.experts import ExpertPool
from dancejax.figures import save_grid
from dancejax.methods import Context, Method, State

INITS = ("real", "noise")


def make_context(
    dataset: ImageDataset, pool: ExpertPool | None = None, *, placement: str = "device"
) -> Context:
    """Moves a data set and a pool of experts to the device.

    placement "host" leaves the images where they are: a `StreamedData` takes their place.
    """
    on_device = placement == "device"
    return Context(
        real=sampling.class_data(dataset) if on_device else sampling.class_sizes(dataset)[0],
        mean=jnp.asarray(dataset.mean, jnp.float32),
        std=jnp.asarray(dataset.std, jnp.float32),
        experts=pool,
    )


def initial_pixels(
    dataset: ImageDataset, ipc: int, factor: int, *, init: str = "real", seed: int = 0
) -> jax.Array:
    """Where condensation starts, float32 [C, ipc, h, w, c] in [0, 1].

    real: each of the factor**2 tiles of a stored image is another random real image of the class
    ("mix"). noise: uniform. Raises UserError for an IPC or factor that does not fit.
    """
    coreset.check_ipc(dataset, ipc)
    h, w, c = dataset.image_shape
    multiformation.check_factor(factor, h, w)
    shape = (dataset.num_classes, ipc, h, w, c)
    if init == "noise":
        return jax.random.uniform(jax.random.key(seed), shape)
    if init != "real":
        raise UserError(f"unknown initialisation {init!r}; choose one of {', '.join(INITS)}.")
    chosen = coreset.random_indices(dataset, ipc * factor**2, seed=seed)
    images = jnp.asarray(dataset.images[chosen.reshape(-1)], jnp.float32) / 255
    return multiformation.encode(images, factor).reshape(shape)


def condense(
    method: Method,
    dataset: ImageDataset,
    *,
    ipc: int,
    steps: int,
    pool: ExpertPool | None = None,
    init: str = "real",
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    workdir: Path | None = None,
    log_every: int = 10,
    picture_every: int = 0,
    placement: str = "device",
    devices: int | None = None,
    checkpoint_seconds: float = 300.0,
    tensorboard: bool = False,
    progress: bool = True,
) -> CondensedSet:
    """Condenses a data set to `ipc` stored images per class by `steps` iterations of a method.

    settings: said in the artifact beside those of the method (network, experts, ...). With a
    workdir: result.json (time and memory of this call's iterations), metrics.jsonl (means over
    classes and the last log_every iterations), checkpoints/, pictures/ each picture_every
    iterations (0: none); stopping saves and raises Interrupted, and the same call goes on where it
    stopped, bit for bit on the same devices. placement: "host" for a data set larger than the
    device's memory, whose batches are sent ahead. devices: how many the classes are spread over
    (None: all). tensorboard: metrics as events for it, too. Raises UserError for settings that
    don't fit, and when a loss stops being finite; the last good checkpoint stays.
    """
    if steps < 1 or log_every < 1 or picture_every < 0:
        raise UserError("steps and log_every must be at least 1, picture_every at least 0.")
    if method.needs_experts and pool is None:
        raise UserError(f"{method.name} needs a pool of experts; train one with launch.pretrain.")
    streaming.check_placement(placement)
    parallel.check_devices(devices)
    context = make_context(dataset, pool, placement=placement)
    start = initial_pixels(dataset, ipc, method.factor, init=init, seed=seed)
    state = method.init(jax.random.key(seed), start, context)
    settings = {
        **dataclasses.asdict(method.config),
        **(settings or {}),
        "ipc": ipc,
        "init": init,
        "seed": seed,
    }
    run: dict[str, Any] = {
        "method": method.name,
        "source": dataset_source(dataset),
        "settings": settings,
        "log_every": log_every,
    }

    def artifact(state: State) -> CondensedSet:
        pixels = np.asarray(parallel.fetch(method.pixels(state, context)), np.float32)
        return CondensedSet(
            images=pixels.reshape(-1, *pixels.shape[2:]),
            labels=np.repeat(np.arange(dataset.num_classes, dtype=np.int32), ipc),
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
            factor=method.factor,
            method=method.name,
            source=describe_source(dataset),
            settings={**settings, "steps": int(state.step)},
        )

    saved = None
    if workdir is not None:
        workdir = runs.open_workdir(workdir)
        # Two checkpoints, one being written, and the set with its pictures.
        runs.check_space(workdir, 4 * sum(x.nbytes for x in jax.tree.leaves(state)) + 2**20)
        saved = checkpoint.latest_step(workdir / "checkpoints", state, run)
    step = 0
    if saved is not None:
        step, state = saved
        if step > steps:
            raise UserError(
                f"{workdir} has done {step} iterations already, more than the {steps} asked for; "
                "choose another --workdir."
            )
    log = runs.MetricsLog(workdir, tensorboard=tensorboard)
    log.rewind(method.name, step)
    first = step
    saver = runs.Every(checkpoint_seconds)
    window: list[dict[str, jax.Array]] = []

    def save() -> None:
        if workdir is not None:
            checkpoint.save_step(workdir / "checkpoints", step, state, run)

    def picture() -> None:
        if workdir is not None and picture_every and step % picture_every == 0:
            (workdir / "pictures").mkdir(exist_ok=True)
            path = workdir / "pictures" / f"step_{step:06d}.png"
            save_grid(path, artifact(state), note=f"iteration {step}")

    with (
        parallel.use(parallel.CLASSES, devices) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress(method.name, steps, start=step, enabled=progress) as bar,
    ):
        state, context = parallel.place((state, context), mesh)
        batches: streaming.Ahead | streaming.Same = streaming.Same(context.real)
        if placement == "host":
            batches = streaming.class_batches(dataset, method.draw, state.key, step, mesh)
        if step == 0:
            picture()
        with batches:
            update: Any = None
            while step < steps:
                context = context._replace(real=batches.next())
                if update is None:
                    began = time.monotonic()
                    update = compile_step(method, state, context, mesh)
                    compiled = time.monotonic()
                state, metrics = update(state, context)
                step += 1
                window.append(metrics)
                if backend.is_cpu():
                    jax.block_until_ready(metrics)
                    bar.update(step)
                if step % log_every == 0 or step == steps:
                    means = _summarise(parallel.fetch(window), step, dataset.classes)
                    log.write(method.name, step, **means)
                    bar.update(step, **means)
                    window = []
                    # Only here, so that a resumed run averages over the same windows.
                    number = step // log_every
                    signum = parallel.agree(lambda: stop.signum, number)
                    if step < steps and (signum or parallel.agree(saver.due, number)):
                        save()
                        if signum:
                            raise runs.Interrupted(signum)
                picture()
        save()
    log.close()
    if workdir is not None and step > first:
        seconds = time.monotonic() - compiled
        measured = {
            "iterations": step,
            "measured_iterations": step - first,
            "seconds_per_iteration": seconds / (step - first),
            "data_wait_seconds_per_iteration": batches.waited / (step - first),
            "compile_seconds": compiled - began,
            "step_memory_mb": backend.program_memory(update) / 2**20,
            "devices": mesh.size,
            "device": jax.devices()[0].device_kind,
        }
        runs.write_json(workdir / "result.json", measured)
    return artifact(state)


def compile_step(method: Method, state: State, context: Context, mesh: Mesh) -> Any:
    """The compiled iteration, (state, context) -> (state, metrics), that `condense` repeats.

    Under the mesh of `parallel.use`, for arguments placed on it. It gives the state's memory away.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    step = jax.jit(partial(_advance, method), donate_argnums=0, out_shardings=everywhere)
    return step.lower(state, context).compile()


_ADVICE = "the last good checkpoint is kept; lower the learning rate of the pixels, or use float32."


def _advance(method: Method, state: State, context: Context) -> tuple[State, dict[str, jax.Array]]:
    """An iteration, with a metric "pixels" that is NaN for classes whose pixels are not finite.

    Losses alone do not tell: XLA's fast maximum on CPU makes relu(NaN) zero.
    """
    state, metrics = method.update(state, context)
    finite = jnp.isfinite(state.pixels).all(axis=(1, 2, 3, 4))
    return state, {"pixels": jnp.where(finite, 0.0, jnp.nan), **metrics}


def _summarise(
    window: list[dict[str, jax.Array]], step: int, classes: tuple[str, ...]
) -> dict[str, float]:
    """Means of the metrics over a window; raises UserError naming the first that is not finite."""
    values = {k: np.stack([np.asarray(m[k]) for m in window]) for k in window[0]}
    for name, value in values.items():
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            iteration = step - len(window) + 1 + int(bad[0][0])
            where = f" of class {classes[bad[0][1]]!r}" if value.ndim > 1 else ""
            raise UserError(f"{name}{where} became not finite in iteration {iteration}; {_ADVICE}")
    return {name: float(value.mean()) for name, value in values.items() if name != "pixels"}
