"""Training several networks on one set side by side: the loop of experts, evaluation, forgetting.

A team of networks is one stacked state. It can stop after any step and goes on bit for bit.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dancejax import interpolate, keys, networks, runs, training
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import backend, checkpoint, integrity, parallel
from dancejax.training import TrainConfig, TrainData, TrainState, prefetch

AfterEpoch = Callable[[int, TrainState, float, Any], Any]
Watch = Callable[[training.Presented, Any], Any]


def team_size(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    config: TrainConfig,
    total: int,
    at_once: int | None = None,
) -> int:
    """How many of `total` networks to train side by side.

    Args:
      network, image_shape, config: what is trained, for the memory that a network's step needs.
      total: how many there are, those that are finished included.
      at_once: at most so many; None leaves it to the backend.

    Raises:
      UserError: at_once is below 1.
    """
    if at_once is not None and at_once < 1:
        raise UserError(f"networks at once must be at least 1, not {at_once}.")
    per_image, _ = networks.activation_bytes(network, image_shape)
    size = backend.networks_per_call(total, config.batch_size * per_image)
    return size if at_once is None else min(size, at_once)


def teams(members: list[int], folder: Path | None, size: int) -> list[list[int]]:
    """The members still to be trained in teams of at most `size`.

    A team that was stopped under way comes first and stays together, so that it can go on.
    """
    started: list[int] = []
    if folder is not None:
        about = checkpoint.latest_metadata(folder)
        started = [] if about is None else about["members"]
    first = [started] if started and set(started) & set(members) else []
    rest = [n for n in members if not (first and n in started)]
    return first + [rest[i : i + size] for i in range(0, len(rest), size)]


def init_team(
    seed: int,
    members: list[int],
    network: nn.Module,
    image_shape: tuple[int, int, int],
    config: TrainConfig,
    mesh: Mesh,
    *,
    purpose: str = keys.EXPERTS,
) -> tuple[TrainState, jax.Array]:
    """(state before the first step, training keys) of the members of a seed, spread over the mesh.

    Leaves [N, ...]: the members, and repeats of the last one up to a multiple of the devices.
    purpose: what the networks are for (`keys`).
    """
    filled = members + [members[-1]] * (-len(members) % mesh.size)
    pairs = [jax.random.split(keys.member(seed, purpose, member)) for member in filled]
    states = [training.init_state(first, network, image_shape, config) for first, _ in pairs]
    own = jnp.stack([key for _, key in pairs])
    return parallel.place((interpolate.stack(states), own), mesh, parallel.NETWORKS)


def place(dataset: Dataset, placement: str, mesh: Mesh) -> TrainData | Dataset:
    """A data set for `train`: on the mesh's devices, or with placement "host" where it is.

    Raises UserError for an unknown placement.
    """
    prefetch.check_placement(placement)
    if placement == "host":
        return dataset
    return parallel.place(training.train_data(dataset), mesh)


def train(
    state: TrainState,
    keys: jax.Array,
    data: TrainData | Dataset,
    *,
    mesh: Mesh,
    network: nn.Module,
    config: TrainConfig,
    members: list[int],
    about: dict[str, Any],
    folder: Path | None,
    after_epoch: AfterEpoch,
    extra: Any,
    stop: runs.StopFlag,
    bar: runs.Progress,
    watch: Watch | None = None,
    offset: int = 0,
    checkpoint_seconds: float = 300.0,
) -> tuple[TrainState, Any]:
    """Trains a team to its last epoch; returns (state, extra).

    data: on the device, or a data set that stays on the host, whose batches are sent ahead. about:
    what the run is, for checkpoints in `folder` (None: none), which `clear` removes when the
    results are safe; they hold the members alone, so that a run can go on with another number of
    devices. after_epoch: (epoch from 1, state, mean loss, extra) -> extra, arrays that belong to
    the checkpoint. watch: (what a step presented, extra) -> extra. Raises UserError when a loss
    or a parameter is not finite.
    """
    about = integrity.plain({**about, "members": members})
    count = data.images.shape[0]
    per_epoch = training.steps_per_epoch(count, config.batch_size)
    total = per_epoch * config.epochs
    loss_sum = jnp.zeros(len(keys))
    step = 0
    if folder is not None:
        target = _shapes_of_members((state, loss_sum), len(members))
        saved = checkpoint.latest_step(
            folder,
            (target[0], extra, target[1]),
            about,
            missing=training.EARLIER,
            cut=True,  # earlier versions stored the repeats that fill up the devices, too
        )
        if saved is not None:
            step, (state, extra, loss_sum), _ = saved
            state, loss_sum = _filled((state, loss_sum), len(members), len(keys))
    state, loss_sum = parallel.place((state, loss_sum), mesh, parallel.NETWORKS)
    batches = prefetch.train_batches(data, keys, step, config.batch_size, mesh)
    saver = runs.Every(checkpoint_seconds)
    agree = parallel.Agreement(step)

    def save() -> None:
        if folder is not None:
            own, losses = _members_only(parallel.fetch((state, loss_sum)), len(members))
            checkpoint.save_step(folder, step, (own, extra, losses), about)

    with batches:
        while step < total:
            state, losses, *presented = training.train_step(
                state,
                keys,
                batches.next(),
                network=network,
                config=config,
                count=count,
                watch=watch is not None,
            )
            if watch is not None:
                extra = watch(parallel.fetch(presented[0]), extra)
            loss_sum = loss_sum + losses
            step += 1
            if backend.is_cpu():
                jax.block_until_ready(losses)
                bar.update(offset + step * len(members))
            epoch, rest = divmod(step, per_epoch)
            if not rest:
                means = parallel.fetch(loss_sum)[: len(members)] / per_epoch
                _check_finite(means, state, members, epoch)
                loss_sum = jnp.zeros_like(loss_sum)
                extra = after_epoch(epoch, state, float(np.mean(means)), extra)
                bar.update(offset + step * len(members), loss=float(np.mean(means)))
            signum, due = agree(step, lambda: stop.signum, saver.due)
            if signum or due:
                save()
            if signum:
                raise runs.Interrupted(signum)
    save()
    return state, extra


def _shapes_of_members(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), tree)


def _members_only(tree: Any, count: int) -> Any:
    """The first `count` entries of leaves [N, ...], without the repeats that fill up devices."""
    return jax.tree.map(lambda x: x[:count], tree)


def _filled(tree: Any, count: int, wanted: int) -> Any:
    """Leaves [count, ...] with repeats of the last entry, [wanted, ...]."""
    index = np.minimum(np.arange(wanted), count - 1)
    return jax.tree.map(lambda x: x[index], tree)


def clear(folder: Path | None) -> None:
    """Removes a team's checkpoints, once its results are stored."""
    if folder is not None and parallel.is_primary():
        shutil.rmtree(folder, ignore_errors=True)


@jax.jit
def _finite(variables: Any) -> jax.Array:
    """Which of N stacked networks have finite parameters only, bool [N]."""
    leaves = jax.tree.leaves(variables)
    return jnp.stack([jnp.isfinite(x).all(tuple(range(1, x.ndim))) for x in leaves]).all(0)


def _check_finite(losses: np.ndarray, state: TrainState, members: list[int], epoch: int) -> None:
    """The parameters too: XLA's fast maximum on CPU makes relu(NaN) zero, and the loss finite."""
    finite = np.isfinite(losses) & parallel.fetch(_finite(state.variables))[: len(members)]
    if not finite.all():
        bad = members[int(np.argmin(finite))]
        raise UserError(
            f"the loss or the parameters of network {bad} are not finite after epoch {epoch}; "
            "lower the learning rate."
        )
