"""The loop that runs any method: one compiled iteration, metrics, checkpoints, resume."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dancejax import checks, condensed, initialisation, methods, networks, records, runs
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.figures import save_grid
from dancejax.methods import Context, Method, State
from dancejax.methods.base import ExpertPool, Metrics, sharing
from dancejax.runs import Run, backend, checkpoint, parallel
from dancejax.runs.measures import Stopwatch, Window
from dancejax.training import prefetch
from dancejax.training.experts import fingerprint


def make_context(
    dataset: Dataset,
    pool: ExpertPool | list[ExpertPool] | None = None,
    trajectories: networks.Variables | list[networks.Variables] | None = None,
    *,
    placement: str = "device",
) -> Context:
    """Move a data set and a pool of experts to the device.

    Args:
      dataset: what is condensed.
      pool: its experts.
      trajectories: of the experts; those that take more than `backend.trajectory_budget` stay on
        the host, and what each step draws takes their place.
      placement: "host" leaves the images where they are, likewise.
    """
    on_device = placement == "device"
    return Context(
        real=sampling.class_data(dataset) if on_device else sampling.class_sizes(dataset)[0],
        mean=jnp.asarray(dataset.mean, jnp.float32),
        std=jnp.asarray(dataset.std, jnp.float32),
        experts=pool,
        trajectories=prefetch.placed_trajectories(trajectories),
    )


Compiled = Callable[[State, Context], tuple[State, Metrics]]
"""An iteration as `compile_step` makes it."""


class Step(NamedTuple):
    """An iteration of a method."""

    number: int  # from 1
    state: State  # the next iteration uses it up
    metrics: Metrics  # each [C] or a scalar, on the device


class Start(NamedTuple):
    """What a condensation goes on from."""

    method: Method  # as the data set allows it: without mirroring for digits
    state: State
    context: Context


def start(
    method: Method,
    dataset: Dataset,
    *,
    ipc: int,
    experts: records.Given = None,
    init: str | CondensedSet = "real",
    seed: int = 0,
    run: Run | str | os.PathLike[str] | None = None,
) -> Start:
    """Make what a method's iterations start from, on the default device; nothing is written.

    Args:
      method: as `methods.create` makes it.
      dataset: what is condensed.
      ipc: stored images per class, at least 1.
      experts: for methods that need them.
      init: what the stored images start from (`initialisation.initial_pixels`).
      seed: of everything random in the run.
      run: whose placement of the data set holds.

    Raises:
      UserError: parts that do not fit together.
    """
    checks.whole("ipc", ipc, 1)
    checks.whole("seed", seed)
    records.check_parts(method, dataset, experts)
    pool, trajectories = records.pool_of(method, experts), records.trajectories_of(method, experts)
    if not dataset.flip:
        method = methods.without_flips(method)
    context = make_context(dataset, pool, trajectories, placement=runs.of(run).placement)
    pixels = initialisation.initial_pixels(dataset, ipc, method.factor, init=init, seed=seed)
    return Start(method, method.init(jax.random.key(seed), pixels, context), context)


def steps(
    update: Compiled,
    state: State,
    context: Context,
    *,
    batches: Iterator[sampling.ClassData] | None = None,
    visited: Iterator[networks.Variables | None] | None = None,
) -> Iterator[Step]:
    """Iterate a method without end, from where its state is.

    Args:
      update: a compiled iteration (`compile_step`).
      state: as `start` makes it; the first iteration uses it up.
      context: what stays the same.
      batches: real images of each iteration; None: those in the context.
      visited: snapshots of experts of each iteration; None: those in the context.

    Yields:
      Each iteration, which can be looked at before the next is asked for.
    """
    for number in itertools.count(int(state.step) + 1):
        if batches is not None:
            context = context._replace(real=next(batches))
        if visited is not None:
            context = context._replace(visited=next(visited))
        state, metrics = update(state, context)
        yield Step(number, state, metrics)


def condense(
    method: Method,
    dataset: Dataset,
    *,
    ipc: int,
    steps: int,
    experts: records.Given = None,
    init: str | CondensedSet = "real",
    seed: int = 0,
    run: Run | str | os.PathLike[str] | None = None,
) -> CondensedSet:
    """Condense a data set to a few stored images per class.

    Args:
      method: as `methods.create` makes it.
      dataset: what is condensed.
      ipc: stored images per class, at least 1.
      steps: iterations.
      experts: for methods that need them: what `train_experts` or `load_pool` return; for several
        networks a list of that.
      init: what the stored images start from (`initialisation.initial_pixels`).
      seed: of everything random in the run.
      run: with a folder, there are result.json (time and memory of this call's iterations),
        metrics.jsonl (means over classes and the last log_every iterations), checkpoints/,
        pictures/ and kept/; stopping saves and raises Interrupted, and the same call goes on where
        it stopped, bit for bit on the same devices.

    Returns:
      The condensed set after the last iteration.

    Raises:
      UserError: settings that do not fit together, a folder of another run, or a loss that stops
        being finite; the last good checkpoint stays.
    """
    run = runs.of(run)
    checks.whole("steps", steps, 1)
    method, state, context = start(
        method, dataset, ipc=ipc, experts=experts, init=init, seed=seed, run=run
    )
    own = records.settings_of(method, experts)
    record = records.describe(method, dataset, ipc, init, seed, own)
    work = _Condensing(method, dataset, record, run.opened(), total=steps)
    state = work.restored(state, context)
    return work.run_to_end(state, context)


class _Condensing:
    """A condensation at work: its log, checkpoints, pictures and measurements."""

    def __init__(
        self, method: Method, dataset: Dataset, record: dict[str, Any], run: Run, *, total: int
    ) -> None:
        self.method, self.dataset, self.record, self.run = method, dataset, record, run
        self.total, self.step = total, 0
        self.window = Window(dataset.classes)
        self.watch = Stopwatch()

    def restored(self, state: State, context: Context) -> State:
        """The state to go on from: the newest checkpoint's, or the one given."""
        self.identity = {**self.record, "log_every": self.run.log_every}
        if context.experts is not None:
            self.identity["pool"] = fingerprint(context.experts)
        if context.trajectories is not None:
            self.identity["trajectories"] = fingerprint(context.trajectories)
        if self.method.network is not None:
            self.identity["network"] = networks.identity(self.method.network)
        self.first = 0
        folder = self.run.folder
        if folder is None:
            return state
        # Two checkpoints, one being written, and the set with its pictures.
        runs.check_space(folder, 4 * sum(x.nbytes for x in jax.tree.leaves(state)) + 2**20)
        kept, missing, ignored = folder / "checkpoints", records.EARLIER, records.NOT_THE_RUN
        saved = checkpoint.latest_step(kept, state, self.identity, missing=missing, ignored=ignored)
        if saved is None:
            return state
        self.first = self.step = saved.step
        self.window.restore(saved.metadata.get("window"))
        if self.step > self.total:
            raise UserError(
                f"{folder} has done {self.step} iterations already, more than the {self.total} "
                "asked for; choose another --workdir."
            )
        if self.step == self.total:
            records.check_kept(folder, self.step, self.run.keep_every)
        return saved.tree

    def run_to_end(self, state: State, context: Context) -> CondensedSet:
        """Iterate, save and measure; returns the condensed set."""
        run, name = self.run, self.method.name
        shared = sharing(self.method, len(state.pixels), run.devices)
        with (
            contextlib.closing(run.log()) as log,
            run.working(
                name, self.total, parallel.CLASSES, shared=shared, done=self.step
            ) as session,
        ):
            log.rewind(name, self.step)
            visited, context = prefetch.visited(
                context, self.method.visits, state.key, self.step, session.mesh
            )
            state, context = parallel.place((state, context), session.mesh)
            batches = prefetch.Batches.same(context.real)
            if run.placement == "host":
                batches = prefetch.class_batches(
                    self.dataset, self.method.draw, state.key, self.step, session.mesh
                )
            if self.step == 0:
                self._picture_and_keep(state, context, log)
            update = None
            with batches, visited:
                if self.step < self.total:
                    first, own = next(batches), next(visited)
                    context = context._replace(real=first, visited=own)
                    update = self._compiled(state, context, session.mesh)
                    taken = steps(
                        update,
                        state,
                        context,
                        batches=itertools.chain([first], batches),
                        visited=itertools.chain([own], visited),
                    )
                    state = self._iterate(taken, context, session, log)
                self.watch.stop(state.pixels)
            self._save(state)
            signum = session.signal(self.step)
        if update is not None:
            waited = batches.waited + visited.waited
            self._write_result(update, waited, session.mesh.size)
        session.interrupt(signum)  # in the last iteration: the same call only reads what is saved
        return self.artifact(state, context)

    def _compiled(self, state: State, context: Context, mesh: Mesh) -> Any:
        backend.return_memory()  # of what loading took, before compiling takes more
        began = time.monotonic()
        update = compile_step(self.method, state, context, mesh, class_chunk=self.run.class_chunk)
        backend.return_memory()
        self.watch.start(compile_seconds=time.monotonic() - began)
        return update

    def _iterate(
        self,
        taken: Iterator[Step],
        context: Context,
        session: runs.Session,
        log: runs.MetricsLog,
    ) -> State:
        """Take iterations up to the last, or until a signal; returns the last one's state."""
        session.start(self.step)
        for self.step, state, metrics in taken:
            self.window.add(metrics)
            if backend.is_cpu():
                jax.block_until_ready(metrics)
                session.bar.update(self.step)
            last = self.step == self.total
            if self.step % self.run.log_every == 0 or last:
                means = self.window.means(self.step)
                log.write(self.method.name, self.step, **means)
                session.bar.update(self.step, **means)
            signum, due = session.asked(self.step)
            due = due and not last
            if due or self._due(self.run.picture_every) or self._due(self.run.keep_every):
                with self.watch.paused(state.pixels):
                    self._picture_and_keep(state, context, log)
                    if due:
                        self._save(state)
            if last:
                break
            session.interrupt(signum)
        return state

    def artifact(self, state: State, context: Context) -> CondensedSet:
        """The condensed set as it is after the iterations of a state."""
        pixels = np.asarray(parallel.fetch(self.method.pixels(state, context)), np.float32)
        classes, ipc, *shape = pixels.shape
        return CondensedSet(
            images=pixels.reshape(-1, *shape),
            labels=np.repeat(np.arange(classes, dtype=np.int32), ipc),
            classes=self.dataset.classes,
            mean=self.dataset.mean,
            std=self.dataset.std,
            factor=self.method.factor,
            method=self.method.name,
            source=describe_source(self.dataset),
            settings={**self.record["settings"], "steps": int(state.step)},
        )

    def _due(self, every: int) -> bool:
        return self.run.folder is not None and every > 0 and self.step % every == 0

    def _picture_and_keep(self, state: State, context: Context, log: runs.MetricsLog) -> None:
        folder = self.run.folder
        if folder is not None and self._due(self.run.picture_every):
            path = folder / "pictures" / f"step_{self.step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            save_grid(path, self.artifact(state, context), note=f"iteration {self.step}")
            log.picture(self.method.name, self.step, path)
        if folder is not None and self.step and self._due(self.run.keep_every):
            condensed.save(self.artifact(state, context), records.kept_set(folder, self.step))

    def _save(self, state: State) -> None:
        if self.run.folder is not None:
            self.window.collect(self.step)
            about = {**self.identity, "window": self.window.stored()}
            checkpoint.save_step(self.run.folder / "checkpoints", self.step, state, about)

    def _write_result(self, update: Any, waited: float, devices: int) -> None:
        """Write what this call's iterations took."""
        if self.run.folder is None:
            return
        taken = self.step - self.first
        measured = {
            "iterations": self.step,
            "measured_iterations": taken,
            "seconds_per_iteration": self.watch.seconds / taken,
            "data_wait_seconds_per_iteration": waited / taken,
            "compile_seconds": self.watch.compile_seconds,
            "step_memory_mb": backend.program_memory(update) / 2**20,
            "devices": devices,
            "device": jax.devices()[0].device_kind,
        }
        runs.write_json(self.run.folder / "result.json", measured)


def compile_step(
    method: Method,
    state: State,
    context: Context,
    mesh: Mesh | None = None,
    *,
    class_chunk: int | None = None,
) -> Compiled:
    """Compile the iteration, (state, context) -> (state, metrics), that `condense` repeats.

    It gives the state's memory away.

    Args:
      method: whose iteration.
      state: as `start` makes it.
      context: likewise.
      mesh: that of `parallel.use`, on which state and context are placed; None: one device.
      class_chunk: classes at once (None: as many as suit the device).
    """
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    step = jax.jit(
        partial(_advance, method, class_chunk), donate_argnums=0, out_shardings=everywhere
    )
    return step.lower(state, context).compile()


def _advance(
    method: Method, class_chunk: int | None, state: State, context: Context
) -> tuple[State, Metrics]:
    """An iteration, with a metric "pixels" that is NaN for classes whose pixels are not finite.

    Losses alone do not tell: XLA's fast maximum on CPU makes relu(NaN) zero.
    """
    state, metrics = method.update(state, context, class_chunk=class_chunk)
    finite = jnp.isfinite(state.pixels).all(axis=(1, 2, 3, 4))
    return state, {"pixels": jnp.where(finite, 0.0, jnp.nan), **metrics}
