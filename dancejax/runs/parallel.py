"""Work spread over devices and processes: a mesh, maps over a leading axis, images in parts.

With several processes (`start`) every process runs the same program; the first one writes files.
"""

import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dancejax import checks
from dancejax.errors import UserError
from dancejax.runs import backend
from dancejax.types import Tree

Array = jax.Array
T = TypeVar("T")
CLASSES, NETWORKS = "classes", "networks"
IMAGES = "images"
"""Axis of a mesh whose devices share the images of each class."""
HEARTBEAT_SECONDS = 40
"""After so long without a sign of another process of the run, JAX ends this one."""
_LOST = re.compile("Gloo|NCCL|[Cc]oordination ?[Ss]ervice|heartbeat|Socket closed|Connection reset")


def start(coordinator: str, processes: int | None = None, process: int | None = None) -> None:
    """Joins this process to the others of a run, before anything is computed.

    coordinator: host:port of process 0, with the number of processes and this one's; or "auto" on
    TPU pods and clusters that jax.distributed knows. Raises UserError if they don't meet.
    """
    try:
        jax.distributed.initialize(
            None if coordinator == "auto" else coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the processes did not meet at {coordinator} ({reason}).") from error


def lost_another(error: jax.errors.JaxRuntimeError) -> bool:
    """Return whether an error means that another process of the run is gone."""
    return jax.process_count() > 1 and _LOST.search(str(error)) is not None


def is_primary() -> bool:
    """Whether this process is the one that writes files and talks."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def primary_says(make: Callable[[], T]) -> T:
    """Return what `make` returns in the first process, in all of them.

    What one process sees of a folder is not what another sees at the same time, and processes that
    decide differently wait for each other for ever: so the first one decides. The others wait for
    it, as at a barrier.

    Args:
      make: runs in the first process only; with several processes its value must be JSON.

    Raises:
      UserError: `make` raised it, in every process.
    """
    if jax.process_count() == 1:
        return make()
    answer: dict[str, Any] = {}
    failed: UserError | None = None
    if is_primary():
        try:
            answer = {"value": make()}
        except UserError as error:
            failed, answer = error, {"error": str(error)}
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.resize(text, length) if is_primary() else np.zeros(length, np.uint8)
    answer = json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))).decode())
    if failed is not None:
        raise failed
    if "error" in answer:
        raise UserError(answer["error"])
    return cast(T, answer["value"])


class Agreement:
    """Decisions that all processes of a run take at the same step.

    Asking costs a round between the processes; they ask about once in `seconds`, by the time that
    the slowest one's steps take. A single process asks at every step.
    """

    def __init__(self, step: int, *, seconds: float = 1.0) -> None:
        self._seconds, self._next = seconds, step
        self._step, self._time = step, time.monotonic()

    def __call__(self, step: int, *questions: Callable[[], int]) -> tuple[int, ...]:
        """The largest of the processes' answers to each question; zeros at steps between."""
        if jax.process_count() == 1:
            return tuple(int(question()) for question in questions)
        if step < self._next:
            return (0,) * len(questions)
        now = time.monotonic()
        microseconds = int(1e6 * (now - self._time) / max(1, step - self._step))
        answers = [microseconds, *(int(question()) for question in questions)]
        gathered = multihost_utils.process_allgather(np.array(answers, np.int32))
        slowest, *largest = np.max(gathered, axis=0).tolist()
        wait = int(self._seconds * 1e6 / max(1, slowest)) if step > self._step else 1
        self._next = step + min(1000, max(1, wait))
        self._step, self._time = step, now
        return tuple(largest)


def check_devices(devices: int | None) -> None:
    """Raises UserError for more devices than there are, or not all of several processes'."""
    available = jax.local_device_count()
    if devices is not None:
        checks.whole("devices", devices)
    if devices is not None and not 1 <= devices <= available:
        raise UserError(f"{devices} devices are asked for, there are {available}; ask for fewer.")
    if devices not in (None, available) and jax.process_count() > 1:
        raise UserError("with several processes all their devices are used; leave --devices out.")


def devices_for(count: int, devices: int | None = None) -> int | None:
    """How many devices to use for `count` pieces of work: no more than there are pieces.

    devices: at most so many (None: all there are). Several processes use all of theirs.
    """
    if jax.process_count() > 1:
        return None
    return min(count, devices or jax.device_count())


def sharing(classes: int, images: int, devices: int | None = None) -> int:
    """Return how many devices should share the images of each class, so that all have even work.

    1 where the classes alone are spread within a tenth of the mean; else the number that comes
    nearest to it. A device has four images of a class at least.

    Args:
      classes: how many.
      images: of each class in a batch.
      devices: how many (None: all there are).
    """
    devices = devices or jax.device_count()
    each = [n for n in range(1, devices + 1) if devices % n == 0 and (n == 1 or 4 * n <= images)]

    def largest(shared: int) -> float:
        """The largest device's share of the mean."""
        spread = devices // shared
        return -(-classes // spread) * spread / classes * -(-images // shared) * shared / images

    even = [n for n in each if largest(n) <= 1.1]
    return even[0] if even else min(each, key=largest)


@contextlib.contextmanager
def use(axis: str, devices: int | None = None, *, shared: int = 1) -> Iterator[Mesh]:
    """Makes a mesh the ambient one: `map_blocks` over its axis is spread over it.

    axis: CLASSES (condensation) or NETWORKS (experts, evaluation). devices: how many, the first
    ones; None, and with several processes always: all. shared: how many of them share the images
    of each class, along the axis IMAGES. Raises UserError if there are not so many.
    """
    check_devices(devices)
    taken = np.array(jax.devices() if jax.process_count() > 1 else jax.devices()[:devices])
    axes = (axis,) if shared == 1 else (axis, IMAGES)
    shape = (-1,) if shared == 1 else (-1, shared)
    mesh = Mesh(taken.reshape(shape), axes, axis_types=(AxisType.Auto,) * len(axes))
    with jax.set_mesh(mesh):
        yield mesh


def _sharers() -> int:
    """How many devices share the images of each class, in a function that `map_blocks` runs."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[IMAGES] if IMAGES in mesh.manual_axes else 1


def own_images(images: Array) -> Array:
    """Take this device's part of the images of some classes, [k, n, ...] to [k, ceil(n / s), ...].

    s devices share them; what does not divide is filled up with repeats of the last image.
    """
    sharers = _sharers()
    if sharers == 1:
        return images
    count = images.shape[1]
    size = -(-count // sharers)
    filled = images[:, np.minimum(np.arange(sharers * size), count - 1)]
    return lax.dynamic_slice_in_dim(filled, lax.axis_index(IMAGES) * size, size, axis=1)


def of_all_images(own: Array, count: int) -> Array:
    """Put together what each device computed of its images, [k, ceil(n / s), ...] to [k, n, ...].

    Every device has all of it, and goes on with it as the others do: gradients are to be taken
    through `mean_over_sharers`.
    """
    if _sharers() == 1:
        return own
    return lax.all_gather(own, IMAGES, axis=1, tiled=True)[:, :count]


def mean_over_sharers(grads: Tree) -> Tree:
    """Gradients from those that each device has.

    The gradient of `of_all_images` adds up what s devices say, who all say the same; so a device
    has s times the part of its own images, and the mean is the whole.
    """
    return grads if _sharers() == 1 else lax.pmean(grads, IMAGES)


def place(tree: Tree, mesh: Mesh, axis: str | None = None) -> Tree:
    """Arrays on the mesh's devices: a copy on each, or the leading axis spread over them.

    Each process has to hold the same values.
    """
    sharding = NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(axis))
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def one(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array):
            if leaf.sharding == sharding:
                return leaf
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(one(jax.random.key_data(leaf)))
        host = fetch(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(one, tree)


def fetch(tree: Tree) -> Tree:
    """Arrays as NumPy arrays, in every process, wherever their parts are."""

    def one(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if leaf.is_fully_replicated:
                return np.asarray(leaf.addressable_data(0))
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def shares(count: int, devices: int, size: int) -> tuple[int, int]:
    """Return (blocks, size of each) of every device, for `count` entries in blocks of `size` at
    most: the fewest blocks, as small as they go."""
    each = -(-count // devices)
    blocks = -(-each // size)
    return blocks, -(-each // blocks)


def map_blocks(
    function: Callable[[Tree, Tree], Tree],
    mapped: Tree,
    shared: Tree,
    *,
    size: int | None,
    axis: str | tuple[str, ...],
) -> Tree:
    """function(block of mapped, shared) over a leading axis, results put together again.

    mapped: arrays [n, ...]; function takes and returns arrays with a leading axis of at most
    `size`. Spread over the ambient mesh if it has this axis (those that it has of several). What
    does not divide is filled up with repeats of the last entry, whose results are dropped. size
    None: one block of all, which is not spread.
    """
    count = len(jax.tree.leaves(mapped)[0])
    if size is None:
        return function(mapped, shared)
    sizes = jax.sharding.get_abstract_mesh().shape
    axes = tuple(name for name in ([axis] if isinstance(axis, str) else axis) if name in sizes)
    devices = math.prod(sizes[name] for name in axes)
    blocks, size = shares(count, devices, size)
    filled = np.minimum(np.arange(devices * blocks * size), count - 1)
    if len(filled) > count:
        mapped = jax.tree.map(lambda x: x[filled], mapped)

    def run(own: Any, shared: Any) -> Any:
        if blocks == 1:
            return function(own, shared)
        cut = jax.tree.map(lambda x: x.reshape(blocks, size, *x.shape[1:]), own)
        outputs = lax.map(lambda block: function(block, shared), cut)
        return jax.tree.map(lambda x: x.reshape(blocks * size, *x.shape[2:]), outputs)

    if devices > 1:
        along, whole = PartitionSpec(axes), PartitionSpec()
        # Nothing is reduced over devices, so there is no need to track what varies over them.
        run = jax.shard_map(run, in_specs=(along, whole), out_specs=along, check_vma=False)
    return jax.tree.map(lambda x: x[:count], run(mapped, shared))


def sum_over_blocks(
    part: Callable[..., Tree], size: int, *batch: Array, filled: Array | None = None
) -> Tree:
    """Sum part(*block) over blocks of a batch.

    Args:
      part: (arrays [size, ...]) -> a tree of arrays; rows of zeros must add nothing.
      size: rows of a block.
      *batch: arrays [n, ...], filled up with zeros to whole blocks.
      filled: int32 [], rows that add something, the first ones; blocks without any are left out.
        None: all.

    Returns:
      A tree like part's.
    """
    count = batch[0].shape[0]
    if size >= count:
        return part(*batch)
    blocks = [
        jnp.pad(x, [(0, -count % size)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, size, *x.shape[1:])
        for x in batch
    ]

    def add(index: Array, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, part(*(x[index] for x in blocks)))

    shapes = jax.eval_shape(part, *(x[0] for x in blocks))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    needed = len(blocks[0]) if filled is None else -(-filled // size)
    return jax.lax.fori_loop(0, needed, add, zeros)


def over_networks(
    function: Callable[[Tree, Tree], Tree],
    mapped: Tree,
    shared: Tree,
    *,
    axis: str | tuple[str, ...] = NETWORKS,
) -> Tree:
    """function(one network's part, shared) for stacked networks, as the backend likes it.

    Spread over the ambient mesh if it has this axis.
    """
    number = len(jax.tree.leaves(mapped)[0])
    if not backend.is_cpu():
        many = jax.vmap(function, in_axes=(0, None))
        return map_blocks(many, mapped, shared, size=number, axis=axis)

    def single(own: Any, shared: Any) -> Any:
        output = function(jax.tree.map(lambda x: x[0], own), shared)
        return jax.tree.map(lambda x: x[None], output)

    return map_blocks(single, mapped, shared, size=1, axis=axis)
