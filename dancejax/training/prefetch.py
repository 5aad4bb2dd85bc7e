"""Batches of sets that stay on the host, sent to the device ahead of the step that needs them.

Which images a step sees follows from its number alone (`sampling`), so that a thread can compute
the indices, gather and send batches while earlier steps run; results do not depend on placement.
"""

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import training
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.data.sampling import ClassData, Draws, StreamedData
from dancejax.runs import parallel
from dancejax.training import DrawnBatch, TrainData
from dancejax.types import Tree

_AHEAD = 3


class Ahead:
    """make(step), make(step + 1), ... in order, computed by a thread some steps ahead.

    A context manager; `next` raises what the thread raised. waited: seconds that `next` has waited
    after the first.
    """

    def __init__(self, make: Callable[[int], Any], start: int) -> None:
        self._made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make, start), daemon=True)
        self._taken = 0
        self.waited = 0.0

    def _run(self, make: Callable[[int], Any], step: int) -> None:
        while not self._stop.is_set():
            try:
                item: tuple[Any, BaseException | None] = make(step), None
            except BaseException as error:  # said where the batch is asked for
                item = None, error
            while not self._stop.is_set():
                try:
                    self._made.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            step += 1

    def next(self) -> Tree:
        began = time.monotonic()
        value, error = self._made.get()
        if self._taken:
            self.waited += time.monotonic() - began
        self._taken += 1
        if error is not None:
            raise error
        return value

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()


class Same:
    """Stands for `Ahead` where every step gets the same."""

    waited = 0.0

    def __init__(self, value: Any) -> None:
        self._value = value

    def next(self) -> Tree:
        return self._value

    def __enter__(self) -> "Same":
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def train_batches(
    data: TrainData | Dataset,
    keys: jax.Array,
    start: int,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> Ahead | Same:
    """What `training.train_step` takes as data, step after step, for the networks of `keys`."""
    if isinstance(data, TrainData):
        return Same(data)
    images, labels, count = data.images, data.labels, len(data.labels)
    keys, host = _on_host(keys)
    mean, std = jnp.asarray(data.mean, jnp.float32), jnp.asarray(data.std, jnp.float32)
    mean, std = parallel.place((mean, std), mesh)

    @jax.jit
    def indices(keys: jax.Array, step: jax.Array) -> jax.Array:
        return jax.vmap(lambda key: training.batch_indices(key, step, count, batch_size)[0])(keys)

    def make(step: int) -> DrawnBatch:
        with jax.default_device(host):
            taken = np.asarray(indices(keys, np.int32(step)))
        drawn = parallel.place((images[taken], labels[taken]), mesh, parallel.NETWORKS)
        return DrawnBatch(drawn[0], drawn[1], mean, std)

    return Ahead(make, start)


def class_batches(
    dataset: Dataset,
    draw: Callable[[jax.Array, jax.Array, ClassData], Draws],
    key: jax.Array,
    start: int,
    mesh: jax.sharding.Mesh,
) -> Ahead:
    """The real images of each iteration as a `StreamedData`.

    draw: a method's, (run's key, step, class data without images) -> which images it uses.
    """
    sizes, order = sampling.class_sizes(dataset)
    (key, sizes), host = _on_host((key, sizes))
    compute = jax.jit(partial(draw))

    def make(step: int) -> StreamedData:
        with jax.default_device(host):
            draws = jax.tree.map(np.asarray, compute(key, np.int32(step), sizes))
        own, mixed = order[draws.classes], order[draws.training]
        drawn = dataset.images[own], dataset.images[mixed], dataset.labels[mixed]
        return StreamedData(*parallel.place(drawn, mesh))

    return Ahead(make, start)


def _on_host(tree: Any) -> tuple[Any, jax.Device]:
    """A copy for the CPU's own programs, which do not wait for an accelerator's."""
    host = jax.local_devices(backend="cpu")[0]

    def copy(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = parallel.fetch(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(jax.device_put(data, host))
        return jax.device_put(parallel.fetch(leaf), host)

    return jax.tree.map(copy, tree), host
