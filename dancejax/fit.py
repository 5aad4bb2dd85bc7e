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

from dancejax import backend, checkpoint, interpolate, parallel, runs, training
from dancejax.data import streaming
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, TrainData, TrainState

AfterEpoch = Callable[[int, TrainState, float, Any], Any]


def teams(members: list[int], folder: Path | None, total: int) -> list[list[int]]:
    """The members still to be trained in teams, as the backend likes them.

    total: how many there are with those finished. A team that was stopped under way comes first and
    stays together, so that it can go on.
    """
    started: list[int] = []
    if folder is not None:
        about = checkpoint.latest_metadata(folder)
        started = [] if about is None else about["members"]
    first = [started] if started and set(started) & set(members) else []
    rest = [n for n in members if not (first and n in started)]
    size = backend.networks_per_call(total)
    return first + [rest[i : i + size] for i in range(0, len(rest), size)]


def init_team(
    seed: int,
    members: list[int],
    network: nn.Module,
    image_shape: tuple[int, int, int],
    config: TrainConfig,
    mesh: Mesh,
) -> tuple[TrainState, jax.Array]:
    """(state before the first step, training keys) of the members of a seed, spread over the mesh.

    Leaves [N, ...]: the members, and repeats of the last one up to a multiple of the devices.
    """
    filled = members + [members[-1]] * (-len(members) % mesh.size)
    pairs = [jax.random.split(key) for key in training.member_keys(seed, filled)]
    states = [training.init_state(first, network, image_shape, config) for first, _ in pairs]
    keys = jnp.stack([key for _, key in pairs])
    return parallel.place((interpolate.stack(states), keys), mesh, parallel.NETWORKS)


def place(dataset: ImageDataset, placement: str, mesh: Mesh) -> TrainData | ImageDataset:
    """A data set for `train`: on the mesh's devices, or with placement "host" where it is.

    Raises UserError for an unknown placement.
    """
    streaming.check_placement(placement)
    if placement == "host":
        return dataset
    return parallel.place(training.train_data(dataset), mesh)


def train(
    state: TrainState,
    keys: jax.Array,
    data: TrainData | ImageDataset,
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
    offset: int = 0,
    checkpoint_seconds: float = 300.0,
) -> tuple[TrainState, Any]:
    """Trains a team to its last epoch; returns (state, extra).

    data: on the device, or a data set that stays on the host, whose batches are sent ahead. about:
    what the run is, for checkpoints in `folder` (None: none), which `clear` removes when the
    results are safe. after_epoch: (epoch from 1, state, mean loss, extra) -> extra, arrays that
    belong to the checkpoint. Raises UserError when a loss or a parameter is not finite.
    """
    about = checkpoint.plain({**about, "members": members})
    count = data.images.shape[0]
    per_epoch = training.steps_per_epoch(count, config.batch_size)
    total = per_epoch * config.epochs
    loss_sum = jnp.zeros(len(keys))
    step = 0
    if folder is not None:
        saved = checkpoint.latest_step(folder, (state, extra, loss_sum), about)
        if saved is not None:
            step, (state, extra, loss_sum) = saved
    state, loss_sum = parallel.place((state, loss_sum), mesh, parallel.NETWORKS)
    batches = streaming.train_batches(data, keys, step, config.batch_size, mesh)
    saver = runs.Every(checkpoint_seconds)

    def save() -> None:
        if folder is not None:
            checkpoint.save_step(folder, step, (state, extra, loss_sum), about)

    with batches:
        while step < total:
            state, losses = training.train_step(
                state, keys, batches.next(), network=network, config=config, count=count
            )
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
            signum = parallel.agree(lambda: stop.signum, step)
            if signum or parallel.agree(saver.due, step):
                save()
            if signum:
                raise runs.Interrupted(signum)
    save()
    return state, extra


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
