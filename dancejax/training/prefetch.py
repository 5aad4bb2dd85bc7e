"""Batches of sets that stay on the host, sent to the device ahead of the step that needs them.

Which images a step sees follows from its number alone (`sampling`), so that a thread can compute
the indices, gather and send batches while earlier steps run; results do not depend on placement.
"""

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import networks, training
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.data.sampling import ClassData, Draws
from dancejax.methods.base import Context, Visits
from dancejax.methods.turns import own_key
from dancejax.runs import backend, parallel
from dancejax.training import Batch, TrainData
from dancejax.types import Tree

T = TypeVar("T")
_AHEAD = 3


class Batches(Iterator[T]):
    """What each step gets, in order: the same always, or made some steps ahead by a thread.

    A context manager, within which it can be iterated; it has no end, and raises what the thread
    raised.

    Attributes:
      waited: seconds that steps after the first have waited.
    """

    def __init__(self, make: Callable[[int], T], start: int, *, ahead: bool = True) -> None:
        """Give make(start), make(start + 1), ...; ahead: by a thread of its own."""
        self._make, self._step = make, start
        self._made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True) if ahead else None
        self._taken = 0
        self.waited = 0.0

    @classmethod
    def same(cls, value: T) -> "Batches[T]":
        """Give the same to every step."""
        return cls(lambda step: value, 0, ahead=False)

    def _run(self) -> None:
        while not self._stop.is_set():
            item: tuple[T | None, BaseException | None]
            try:
                item = self._make(self._step), None
            except BaseException as error:  # said where the batch is asked for
                item = None, error
            while not self._stop.is_set():
                try:
                    self._made.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            self._step += 1

    def __next__(self) -> T:
        if self._thread is None:
            self._step += 1
            return self._make(self._step - 1)
        began = time.monotonic()
        value, error = self._made.get()
        if self._taken:
            self.waited += time.monotonic() - began
        self._taken += 1
        if error is not None:
            raise error
        return cast(T, value)

    def __enter__(self) -> "Batches[T]":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def train_batches(
    data: TrainData,
    keys: jax.Array,
    start: int,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> Batches[Batch]:
    """What `training.train_step` takes, step after step, for the networks of `keys`."""
    if not data.on_host:
        draw = partial(training.draw, keys, data=data, batch_size=batch_size)
        return Batches(draw, start, ahead=False)
    images, labels, count = data.images, data.labels, len(data.labels)
    keys, host = _on_host(keys)
    length = training.batch_length(count, batch_size)

    def make(step: int) -> Batch:
        with jax.default_device(host):
            found = training.indices(keys, np.int32(step), np.int32(count), length)
        which, weights = map(np.asarray, found)
        drawn = images[which], labels[which], which, weights
        return Batch(*parallel.place(drawn, mesh, parallel.NETWORKS))

    return Batches(make, start)


def class_batches(
    dataset: Dataset,
    draw: Callable[[jax.Array, jax.Array, ClassData], Draws],
    key: jax.Array,
    start: int,
    mesh: jax.sharding.Mesh,
) -> Batches[ClassData]:
    """The images that each iteration draws.

    draw: a method's, (run's key, step, class data without images) -> which images it uses.
    """
    sizes, order = sampling.class_sizes(dataset)
    (key, host_sizes), host = _on_host((key, sizes))
    compute = jax.jit(partial(draw))

    def make(step: int) -> ClassData:
        with jax.default_device(host):
            draws = jax.tree.map(np.asarray, compute(key, np.int32(step), host_sizes))
        taken = order[np.concatenate([draws.classes.reshape(-1), draws.training])]
        places = np.arange(len(taken), dtype=np.int32)
        own = places[: draws.classes.size].reshape(draws.classes.shape)
        step_data = sizes._replace(
            images=dataset.images[taken],
            labels=dataset.labels[taken],
            drawn=Draws(own, places[draws.classes.size :]),
        )
        return cast(ClassData, parallel.place(step_data, mesh))

    return Batches(make, start)


Trajectories = networks.Variables | list[networks.Variables] | None


def placed_trajectories(trajectories: Trajectories) -> Trajectories:
    """Experts' trajectories on the device, or as NumPy arrays if they are too large for it."""
    size = sum(x.nbytes for x in jax.tree.leaves(trajectories))
    put = jnp.asarray if size <= backend.trajectory_budget() else np.asarray
    return jax.tree.map(put, trajectories)


def visited(
    context: Context,
    visits: Callable[[jax.Array, jax.Array, int, int], Visits] | None,
    key: jax.Array,
    start: int,
    mesh: jax.sharding.Mesh,
) -> tuple[Batches[Tree], Context]:
    """Return the snapshots that each iteration uses, where trajectories stay on the host.

    Args:
      context: of the run.
      visits: a method's.
      key: of the run.
      start: iterations done.
      mesh: where they are sent.

    Returns:
      (None for each iteration where the device has the trajectories, or leaves [k, ...] sent ahead
      of it; the context without the trajectories that are on the host).
    """
    found = context.trajectories
    leaves = jax.tree.leaves(found)
    if visits is None or found is None or isinstance(leaves[0], jax.Array):
        return Batches.same(None), context
    key, host = _on_host(key)

    def of_one(whole: networks.Variables, key: jax.Array) -> Callable[[int], networks.Variables]:
        count, snapshots = jax.tree.leaves(whole)[0].shape[:2]
        compute = jax.jit(lambda step: visits(key, step, count, snapshots))

        @functools.lru_cache(maxsize=1)  # another network's turn leaves it where it is
        def make(step: int) -> networks.Variables:
            with jax.default_device(host):
                taken = jax.tree.map(np.asarray, compute(np.int32(step)))
            own = jax.tree.map(lambda x: x[taken.experts, taken.epochs], whole)
            return cast(networks.Variables, parallel.place(own, mesh))

        return make

    without = context._replace(trajectories=None)
    if not isinstance(found, list):
        return Batches(of_one(found, key), start), without
    with jax.default_device(host):
        each = [of_one(x, own_key(key, n)) for n, x in enumerate(found)]

    def turns(step: int) -> list[networks.Variables]:
        """What each network uses in its turn, in this step or the next such."""
        return [make(-(-(step - n) // len(each))) for n, make in enumerate(each)]

    return Batches(turns, start), without


def _on_host(tree: Any) -> tuple[Any, jax.Device]:
    """A copy for the CPU's own programs, which do not wait for an accelerator's."""
    host = jax.local_devices(backend="cpu")[0]

    def copy(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = parallel.fetch(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(jax.device_put(data, host))
        return jax.device_put(parallel.fetch(leaf), host)

    return jax.tree.map(copy, tree), host
