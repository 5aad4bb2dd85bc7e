"""What the parts of a program will take: images that pass through networks, and a machine's speed.

A part is counted from its plan, so that nothing of it runs: a forward pass for an image that is
looked at, GRADIENT for one that is learnt from. The speed is that of a gradient on this machine.
Compiling, augmentation, loading and pictures are not counted.
"""

import heapq
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import names, networks, runs
from dancejax.applications.plan import GRADIENT, forward_operations
from dancejax.runs.jobs import Job
from dancejax.training import TrainConfig

LINES = 40
"""Parts that have a line of their own; of more, the longest have."""
_BATCH = 64
_ROUNDS = 3


class Load(NamedTuple):
    """Images that pass through networks of one kind.

    Attributes:
      network: the kind.
      image_shape: (h, w, c) of the images.
      passes: forward passes of one image.
    """

    network: nn.Module
    image_shape: tuple[int, int, int]
    passes: float

    @property
    def operations(self) -> float:
        """Floating-point operations."""
        return self.passes * forward_operations(self.network, self.image_shape)

    def times(self, count: float) -> "Load":
        """The same so many times."""
        return self._replace(passes=self.passes * count)


def trained(
    network: nn.Module, image_shape: tuple[int, int, int], images: int, config: TrainConfig
) -> Load:
    """Count the training of a network.

    Args:
      network: what is trained.
      image_shape: (h, w, c) of the images.
      images: in the training set.
      config: how it is trained.
    """
    return Load(network, image_shape, GRADIENT * images * config.epochs)


class Machine(NamedTuple):
    """How fast this machine is.

    Attributes:
      devices: how many work on a part.
      kind: of the devices.
      speed: operations a second of all devices together.
    """

    devices: int
    kind: str
    speed: float

    def seconds(self, loads: Iterable[Load]) -> float:
        """What all devices need for these loads."""
        return sum(load.operations for load in loads) / self.speed


def measure(load: Load, devices: int | None = None) -> Machine:
    """Time gradients of a load's network on all devices at once, which compiles one program.

    Args:
      load: whose network and images.
      devices: how many devices a part uses (None: all).
    """
    found = jax.devices()[:devices]
    variables = networks.init(load.network, _key(), load.image_shape)
    images = jnp.zeros((_BATCH, *load.image_shape))

    @jax.jit
    def gradient(variables: networks.Variables, images: jax.Array) -> networks.Variables:
        def loss(variables: networks.Variables) -> jax.Array:
            return jnp.square(networks.forward(load.network, variables, images)[0]).mean()

        return jax.grad(loss)(variables)

    placed = [jax.device_put((variables, images), device) for device in found]
    taken = []
    for _ in range(1 + _ROUNDS):
        began = time.perf_counter()
        jax.block_until_ready([gradient(*given) for given in placed])
        taken.append(time.perf_counter() - began)
    done = len(found) * _BATCH * GRADIENT * forward_operations(load.network, load.image_shape)
    return Machine(len(found), str(found[0].device_kind), done / min(taken[1:]))


def _key() -> jax.Array:
    return jax.random.key(0)


class Expected(NamedTuple):
    """A part and the seconds that it will take; 0 for one that is finished."""

    job: Job
    seconds: float


def elapsed(parts: Sequence[Expected], workers: int | None) -> float:
    """Return the seconds until all parts are finished.

    Args:
      parts: in an order in which they can run.
      workers: parts at a time (None: as many as can run).
    """
    ends: dict[str, float] = {}
    free = [0.0] * (len(parts) if workers is None else workers)
    for job, seconds in parts:
        if not seconds:
            ends[job.name] = 0.0
            continue
        begin = max([heapq.heappop(free), *(ends.get(name, 0.0) for name in job.after)])
        ends[job.name] = begin + seconds
        heapq.heappush(free, ends[job.name])
    return max(ends.values(), default=0.0)


def expect(
    parts: Sequence[Job],
    done: Mapping[str, bool],
    loads: Mapping[str, Sequence[Load]],
    devices: int | None,
) -> tuple[Machine | None, list[Expected]]:
    """Return the machine's speed, if there is anything to do, and what each part will take.

    Args:
      parts: in an order in which they can run.
      done: whether a part is finished, by name.
      loads: of each part, by name.
      devices: how many a part uses (None: all).
    """
    left = [load for job in parts if not done[job.name] for load in loads[job.name]]
    if not left:
        return None, [Expected(job, 0.0) for job in parts]
    machine = measure(max(left, key=lambda load: load.operations), devices)
    seconds = {job.name: machine.seconds(loads[job.name]) for job in parts}
    return machine, [Expected(job, 0 if done[job.name] else seconds[job.name]) for job in parts]


def table(
    found: Sequence[Expected], machine: Machine | None, *, local: bool, workers: int | None
) -> str:
    """Show what parts will take as Markdown, with the sums.

    Args:
      found: the parts.
      machine: where they run.
      local: whether workers share this machine, instead of having such a machine each.
      workers: parts at a time (None: as many as can run).
    """
    todo = [part for part in found if part.seconds]
    plural = "" if len(found) == 1 else "s"
    counts = f"{len(found)} part{plural}, {len(found) - len(todo)} finished"
    if machine is None:
        return counts
    lines = ["| part | expected |", "|---|---|"]
    longest = sorted(todo, key=lambda part: -part.seconds)[:LINES]
    shown = todo if len(todo) <= LINES else longest
    lines += [f"| {names.markdown(p.job.name)} | {runs.duration(p.seconds)} |" for p in shown]
    if len(shown) < len(todo):
        others = [part.seconds for part in todo if part not in shown]
        mean = runs.duration(statistics.fmean(others))
        lines.append(f"| {len(others)} others | {mean} each |")
    total = sum(part.seconds for part in todo)
    hours = total / 3600 * machine.devices
    each = f"{machine.devices} x {machine.kind}"
    if local and workers:
        whole = elapsed([part._replace(seconds=part.seconds * workers) for part in found], workers)
    else:
        whole = elapsed(found, workers)
    at_a_time = "all that can run" if workers is None else str(workers)
    place = f"share {each}" if local else f"have {each} each"
    sums = f"{counts}; the rest is {runs.duration(total)} of {each}, {hours:.3g} device hours"
    if workers != 1:
        sums += f"; {at_a_time} at a time, which {place}: {runs.duration(whole)}"
    return "\n".join([*lines, "", f"{sums}. Counted roughly, without compiling and augmentation."])
