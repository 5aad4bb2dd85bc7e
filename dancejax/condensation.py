"""The loop that runs any method: one compiled iteration, metrics, checkpoints, resume."""

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dancejax import checks, condensed, coreset, keys, methods, multiformation, networks, runs
from dancejax.condensed import CondensedSet, dataset_source, describe_source
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.figures import save_grid
from dancejax.methods import Context, Method, State
from dancejax.methods.base import ExpertPool
from dancejax.runs import backend, checkpoint, integrity, parallel
from dancejax.training import experts, prefetch

_REAL = {
    "real": (False, "antialias"),
    "real_mean": (False, "mean"),
    "real_nearest": (False, "nearest"),
    "first_nearest": (True, "nearest"),
}
"""Starts from real images: whether those are the first of each class, and how they are reduced."""
INITS = (*_REAL, "noise")
"""real: random images, each reduced smoothly to a tile. real_mean: by the mean of pixels (IDM).
real_nearest: by leaving out pixels. first_nearest: so, and the first images of each class (DANCE's
authors). noise: uniform."""


def make_context(
    dataset: Dataset, pool: ExpertPool | None = None, *, placement: str = "device"
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
    dataset: Dataset,
    ipc: int,
    factor: int,
    *,
    init: str | CondensedSet = "real",
    seed: int = 0,
) -> jax.Array:
    """Make the stored images that condensation starts from.

    Args:
      dataset: what is condensed.
      ipc: stored images per class.
      factor: tiles a side of a stored image; each tile is another real image ("mix").
      init: one of INITS; or a condensed set or coreset of the data set, whose stored images are
        taken if it has the same factor, else ipc * factor**2 of its training images per class.
      seed: of what is random in it.

    Returns:
      float32 [C, ipc, h, w, c] in [0, 1].

    Raises:
      UserError: an IPC, factor or start that does not fit.
    """
    coreset.check_ipc(dataset, ipc)
    h, w, c = dataset.image_shape
    multiformation.check_factor(factor, h, w)
    shape = (dataset.num_classes, ipc, h, w, c)
    if isinstance(init, CondensedSet):
        return _from_set(init, dataset, ipc, factor).reshape(shape)
    if init == "noise":
        return jax.random.uniform(keys.root(seed, keys.INITIAL_PIXELS), shape)
    if init not in _REAL:
        raise UserError(f"unknown initialisation {init!r}; choose one of {', '.join(INITS)}.")
    first, reduction = _REAL[init]
    choose = coreset.first_indices if first else partial(coreset.random_indices, seed=seed)
    chosen = choose(dataset, ipc * factor**2)
    images = jnp.asarray(dataset.images[chosen.reshape(-1)], jnp.float32) / 255
    return multiformation.encode(images, factor, reduction=reduction).reshape(shape)


def _from_set(made: CondensedSet, dataset: Dataset, ipc: int, factor: int) -> jax.Array:
    """The stored images [C * ipc, h, w, c] of a start, by class."""
    if made.classes != dataset.classes or made.image_shape != dataset.image_shape:
        raise UserError(
            f"the set to start from has {made.num_classes} classes of {list(made.image_shape)} "
            f"images, {dataset.name} has {dataset.num_classes} of {list(dataset.image_shape)} or "
            "names them otherwise; give a set of this data set."
        )
    same = made.factor == factor
    images, labels = (made.images, made.labels) if same else made.decoded()
    each = ipc if same else ipc * factor**2
    counts = np.bincount(labels, minlength=dataset.num_classes)
    if counts.min() < each:
        raise UserError(
            f"the set to start from has {counts.min()} images in a class, {each} are needed for "
            f"{ipc} stored images of factor {factor}; choose a smaller --ipc or another set."
        )
    labels = np.asarray(labels)
    order = np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(len(counts))])
    chosen = jnp.clip(jnp.asarray(images)[order], 0, 1)
    return chosen if same else multiformation.encode(chosen, factor)


EARLIER = {
    "network": integrity.UNKNOWN,
    "settings.network": integrity.UNKNOWN,
    "pool": integrity.UNKNOWN,
    "settings.learning_rate": integrity.UNKNOWN,
    "settings.update_order": "joint",
    "settings.without_pltda": "expert",
    "settings.accuracy_window": 0,
}
"""What records of runs by earlier versions mean by the entries that they lack."""
_NOT_THE_RUN = ("settings.class_chunk", "log_every", "window")
"""Entries of a record that change nothing in the result."""


def condense(
    method: Method,
    dataset: Dataset,
    *,
    ipc: int,
    steps: int,
    pool: ExpertPool | None = None,
    init: str | CondensedSet = "real",
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    workdir: Path | None = None,
    log_every: int = 10,
    picture_every: int = 0,
    keep_every: int = 0,
    placement: str = "device",
    devices: int | None = None,
    class_chunk: int | None = None,
    checkpoint_seconds: float = 300.0,
    tensorboard: bool = False,
    progress: bool = True,
) -> CondensedSet:
    """Condenses a data set to `ipc` stored images per class by `steps` iterations of a method.

    init: see `initial_pixels`. settings: said in the artifact beside those of the method (network,
    experts, ...). With a workdir: result.json (time and memory of this call's iterations),
    metrics.jsonl (means over classes and the last log_every iterations), checkpoints/, pictures/
    each picture_every iterations and whole sets in kept/ each keep_every (0: none); stopping saves
    and raises Interrupted, and the same call goes on where it stopped, bit for bit on the same
    devices. class_chunk: classes computed at once, which bounds the memory and changes nothing else
    (None: what suits the backend). placement: "host" for a data set larger than the device's
    memory, whose batches are sent ahead. devices: how many the classes are spread over (None: all).
    tensorboard: metrics as
    events for it, too. Raises UserError for settings that don't fit, and when a loss stops being
    finite; the last good checkpoint stays.
    """
    counts = {"steps": steps, "log_every": log_every, "ipc": ipc, "seed": seed}
    counts |= {"picture_every": picture_every, "keep_every": keep_every}
    for name, value in counts.items():
        checks.whole(name, value, 1 if name in ("steps", "log_every", "ipc") else 0)
    if class_chunk is not None:
        checks.whole("class_chunk", class_chunk, 1)
    checks.number("checkpoint_seconds", checkpoint_seconds)
    checks.instance("method", method, Method, hint="methods.create makes one")
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    _check_settings(settings or {})
    _check_networks(method, dataset, pool)
    if method.needs_experts and pool is None:
        raise UserError(f"{method.name} needs a pool of experts; train one with launch.pretrain.")
    prefetch.check_placement(placement)
    parallel.check_devices(devices)
    if not dataset.flip:
        method = methods.without_flips(method)
    context = make_context(dataset, pool, placement=placement)
    start = initial_pixels(dataset, ipc, method.factor, init=init, seed=seed)
    state = method.init(jax.random.key(seed), start, context)
    record = _record(method, dataset, ipc, init, seed, settings or {})
    run: dict[str, Any] = {**record, "log_every": log_every}
    if pool is not None:
        run["pool"] = experts.fingerprint(pool)
    if method.network is not None:
        run["network"] = networks.identity(method.network)

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
            settings={**record["settings"], "steps": int(state.step)},
        )

    saved = None
    if workdir is not None:
        workdir = runs.open_workdir(workdir)
        # Two checkpoints, one being written, and the set with its pictures.
        runs.check_space(workdir, 4 * sum(x.nbytes for x in jax.tree.leaves(state)) + 2**20)
        saved = checkpoint.latest_step(
            workdir / "checkpoints", state, run, missing=EARLIER, ignored=_NOT_THE_RUN
        )
    step, window = 0, _Window(dataset.classes)
    if saved is not None:
        step, state = saved.step, saved.tree
        window.restore(saved.metadata.get("window"))
        if step > steps:
            raise UserError(
                f"{workdir} has done {step} iterations already, more than the {steps} asked for; "
                "choose another --workdir."
            )
    log = runs.MetricsLog(workdir, tensorboard=tensorboard)
    log.rewind(method.name, step)
    first = step
    saver = runs.Every(checkpoint_seconds)
    watch = _Stopwatch()
    agree = parallel.Agreement(step)

    def save() -> None:
        if workdir is not None:
            window.collect(step)
            about = {**run, "window": window.stored()}
            checkpoint.save_step(workdir / "checkpoints", step, state, about)

    def due_now(every: int) -> bool:
        return workdir is not None and every > 0 and step % every == 0

    def picture_and_keep() -> None:
        if workdir is not None and due_now(picture_every):
            (workdir / "pictures").mkdir(exist_ok=True)
            path = workdir / "pictures" / f"step_{step:06d}.png"
            save_grid(path, artifact(state), note=f"iteration {step}")
        if workdir is not None and step and due_now(keep_every):
            (workdir / "kept").mkdir(exist_ok=True)
            condensed.save(artifact(state), workdir / "kept" / f"step_{step:06d}")

    with (
        parallel.use(parallel.CLASSES, devices) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress(method.name, steps, start=step, enabled=progress) as bar,
    ):
        state, context = parallel.place((state, context), mesh)
        batches: prefetch.Ahead | prefetch.Same = prefetch.Same(context.real)
        if placement == "host":
            batches = prefetch.class_batches(dataset, method.draw, state.key, step, mesh)
        if step == 0:
            picture_and_keep()
        with batches:
            update: Any = None
            while step < steps:
                context = context._replace(real=batches.next())
                if update is None:
                    began = time.monotonic()
                    update = compile_step(method, state, context, mesh, class_chunk=class_chunk)
                    watch.start(compile_seconds=time.monotonic() - began)
                state, metrics = update(state, context)
                step += 1
                window.add(metrics)
                if backend.is_cpu():
                    jax.block_until_ready(metrics)
                    bar.update(step)
                if step % log_every == 0 or step == steps:
                    means = window.means(step)
                    log.write(method.name, step, **means)
                    bar.update(step, **means)
                signum, due = agree(step, lambda: stop.signum, saver.due)
                stopped = step < steps and (signum or due)
                if stopped or due_now(picture_every) or due_now(keep_every):
                    with watch.paused(state.pixels):
                        picture_and_keep()
                        if stopped:
                            save()
                if step < steps and signum:
                    raise runs.Interrupted(signum)
            watch.stop(state.pixels)
        save()
        (signum,) = parallel.Agreement(step)(step, lambda: stop.signum)
    log.close()
    if workdir is not None and step > first:
        measured = {
            "iterations": step,
            "measured_iterations": step - first,
            "seconds_per_iteration": watch.seconds / (step - first),
            "data_wait_seconds_per_iteration": batches.waited / (step - first),
            "compile_seconds": watch.compile_seconds,
            "step_memory_mb": backend.program_memory(update) / 2**20,
            "devices": mesh.size,
            "device": jax.devices()[0].device_kind,
        }
        runs.write_json(workdir / "result.json", measured)
    if signum:  # in the last iteration: the same call only reads what is saved
        raise runs.Interrupted(signum)
    return artifact(state)


def _check_settings(settings: dict[str, Any]) -> None:
    """Raise UserError for settings that a manifest cannot say."""
    try:
        json.dumps({**settings})
    except (TypeError, ValueError) as error:
        raise UserError(f"settings must be a dict that JSON can hold ({error}).") from error


def _check_networks(method: Method, dataset: Dataset, pool: ExpertPool | None) -> None:
    """Raise UserError for a network that does not fit the data, or experts of another network."""
    if pool is not None:
        checks.instance(
            "pool", pool, ExpertPool, hint="it is the first of what experts.load_pool returns"
        )
    if method.network is None:
        return
    networks.check(method.network, dataset.num_classes, dataset.image_shape)
    if pool is None or not method.needs_experts:
        return
    key = jax.random.key(0)
    network = method.network
    wanted = jax.eval_shape(lambda key: networks.init(network, key, dataset.image_shape), key)
    found = jax.tree.map(lambda x: x.shape[1:], pool.final)
    if found != jax.tree.map(lambda x: x.shape, wanted):
        raise UserError(
            "the experts have another network than the method; make the method with the network "
            "that experts.load_pool returns."
        )


def _record(
    method: Method,
    dataset: Dataset,
    ipc: int,
    init: str | CondensedSet,
    seed: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What a run is, as its artifact says it and its checkpoints check it."""
    start: Any = init
    if isinstance(init, CondensedSet):
        start = {"method": init.method, "fingerprint": condensed.fingerprint(init)}
    own = method.settings(ipc, dataset.image_shape)
    return {
        "method": method.name,
        "source": dataset_source(dataset),
        "settings": {**own, **settings, "ipc": ipc, "init": start, "seed": seed},
    }


def check_resume(
    workdir: Path,
    method: Method,
    dataset: Dataset,
    *,
    ipc: int,
    init: str | CondensedSet,
    seed: int,
) -> None:
    """Compare a run with the one whose checkpoints a work folder holds, before anything is made.

    Its experts, network and what else is told in the settings are compared when it goes on.

    Raises:
      UserError: it is another run.
    """
    found = checkpoint.latest_metadata(workdir / "checkpoints")
    if found is None:
        return
    if not dataset.flip:
        method = methods.without_flips(method)
    wanted = _record(method, dataset, ipc, init, seed, {})
    settings = found.get("settings") or {}
    known = {name: settings[name] for name in wanted["settings"] if name in settings}
    parts = {"method": found.get("method"), "source": found.get("source"), "settings": known}
    integrity.check_same(parts, wanted, workdir, missing=EARLIER, ignored=_NOT_THE_RUN)


class _Stopwatch:
    """Seconds that iterations take, without those of compiling, pictures and checkpoints."""

    def __init__(self) -> None:
        self.seconds = self.compile_seconds = 0.0
        self._since = 0.0

    def start(self, *, compile_seconds: float) -> None:
        self.compile_seconds, self._since = compile_seconds, time.monotonic()

    @contextlib.contextmanager
    def paused(self, last: jax.Array) -> Iterator[None]:
        """Leave out what happens inside; `last` is what the iterations so far come to."""
        jax.block_until_ready(last)
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began

    def stop(self, last: jax.Array) -> None:
        jax.block_until_ready(last)
        if self._since:
            self.seconds = time.monotonic() - self._since


class _Window:
    """Means of the metrics since the last line of the log; they survive a stop in between."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._pending: list[dict[str, jax.Array]] = []
        self._count, self._sums = 0, dict[str, float]()

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Take in an iteration's metrics, each [C] or a scalar; they stay on the device."""
        self._pending.append(metrics)

    def collect(self, step: int) -> None:
        """Add up what is pending after iteration `step`.

        Raises:
          UserError: naming the first metric that is not finite.
        """
        pending = parallel.fetch(self._pending)
        for number, metrics in enumerate(pending, step - len(pending) + 1):
            for name, value in metrics.items():
                _check_finite(name, np.asarray(value), number, self._classes)
                if name != "pixels":
                    mean = float(np.mean(value, dtype=np.float64))
                    self._sums[name] = self._sums.get(name, 0.0) + mean
        self._count += len(pending)
        self._pending = []

    def means(self, step: int) -> dict[str, float]:
        """The means, after which a new window begins."""
        self.collect(step)
        means = {name: value / self._count for name, value in self._sums.items()}
        self._count, self._sums = 0, {}
        return means

    def stored(self) -> dict[str, Any]:
        """What `restore` takes; JSON keeps every bit of a float."""
        return {"iterations": self._count, "sums": self._sums}

    def restore(self, stored: dict[str, Any] | None) -> None:
        if stored is not None:
            self._count, self._sums = stored["iterations"], dict(stored["sums"])


def _check_finite(name: str, value: np.ndarray, step: int, classes: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(value))
    if len(bad):
        where = f" of class {classes[bad[0][0]]!r}" if value.ndim else ""
        raise UserError(f"{name}{where} became not finite in iteration {step}; {_ADVICE}")


def compile_step(
    method: Method,
    state: State,
    context: Context,
    mesh: Mesh,
    *,
    class_chunk: int | None = None,
) -> Any:
    """The compiled iteration, (state, context) -> (state, metrics), that `condense` repeats.

    Under the mesh of `parallel.use`, for arguments placed on it. It gives the state's memory away.
    class_chunk: classes at once (None: what suits the backend).
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    advance = partial(_advance, method, class_chunk)
    step = jax.jit(advance, donate_argnums=0, out_shardings=everywhere)
    return step.lower(state, context).compile()


_ADVICE = "the last good checkpoint is kept; lower the learning rate of the pixels, or use float32."


def _advance(
    method: Method, class_chunk: int | None, state: State, context: Context
) -> tuple[State, dict[str, jax.Array]]:
    """An iteration, with a metric "pixels" that is NaN for classes whose pixels are not finite.

    Losses alone do not tell: XLA's fast maximum on CPU makes relu(NaN) zero.
    """
    state, metrics = method.update(state, context, class_chunk=class_chunk)
    finite = jnp.isfinite(state.pixels).all(axis=(1, 2, 3, 4))
    return state, {"pixels": jnp.where(finite, 0.0, jnp.nan), **metrics}
