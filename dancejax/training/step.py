"""Training a network on a labelled set: the step that experts and evaluation share."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import augment, networks
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.runs import parallel
from dancejax.training.config import TrainConfig, drop_epochs

Array = jax.Array


class TrainData(NamedTuple):
    """A training set on the device: images uint8 or float [0, 1] [n, h, w, c], labels int32 [n]."""

    images: Array
    labels: Array
    mean: Array  # [c]
    std: Array  # [c]


class DrawnBatch(NamedTuple):
    """A step's batch of a set that stays on the host, as `batch_indices` names it."""

    images: Array  # uint8 [b, h, w, c]
    labels: Array  # int32 [b]
    mean: Array  # [c]
    std: Array  # [c]


class TrainState(NamedTuple):
    variables: networks.Variables
    opt_state: networks.OptState
    step: Array  # int32


class Presented(NamedTuple):
    """What a step showed to a network and how it did, before the step changed it."""

    images: Array  # int32 [b], which ones
    right: Array  # bool [b], classified correctly
    real: Array  # bool [b], False for the repeats that fill up an epoch's last batch


def train_data(dataset: Dataset) -> TrainData:
    """Moves a data set to the device."""
    return TrainData(
        jnp.asarray(dataset.images),
        jnp.asarray(dataset.labels),
        jnp.asarray(dataset.mean, jnp.float32),
        jnp.asarray(dataset.std, jnp.float32),
    )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches an epoch, the last one partly filled where the batch size does not divide."""
    return -(-count // batch_size)


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """SGD's direction; the rate is applied outside of it, as PyTorch's SGD has it."""
    return optax.chain(optax.add_decayed_weights(config.weight_decay), optax.trace(config.momentum))


@partial(jax.jit, static_argnames=("network", "image_shape", "config"))
def init_state(
    key: Array, network: nn.Module, image_shape: tuple[int, int, int], config: TrainConfig
) -> TrainState:
    """A freshly initialised network before its first step."""
    variables = networks.init(network, key, image_shape)
    opt_state = _optimizer(config).init(variables["params"])
    return TrainState(variables, opt_state, jnp.zeros((), jnp.int32))


def batch_indices(key: Array, step: Array, count: int, batch_size: int) -> tuple[Array, Array]:
    """Which of `count` images the network that `key` names sees in a step, and their weights.

    int32 [b] and float32 [b], b = min(batch_size, count): the last batch of an epoch is filled with
    repeats of weight 0.
    """
    per_epoch = steps_per_epoch(count, batch_size)
    batch = min(batch_size, count)
    k_order, _ = jax.random.split(key)
    position = step % per_epoch * batch + jnp.arange(batch)
    epoch = jnp.broadcast_to(step // per_epoch, position.shape)
    taken = sampling.permuted_index(k_order, epoch, position % count, count)
    return taken, (position < count).astype(jnp.float32)


def _train_step(
    state: TrainState,
    key: Array,
    data: TrainData | DrawnBatch,
    *,
    network: nn.Module,
    config: TrainConfig,
    count: int,
    watch: bool = False,
) -> Any:
    """One SGD step of the network that `key` names; returns the new state and the loss.

    watch: returns `Presented`, too.
    """
    per_epoch = steps_per_epoch(count, config.batch_size)
    batch = min(config.batch_size, count)
    _, k_step = jax.random.split(key)
    k_augment, k_cutmix = jax.random.split(jax.random.fold_in(k_step, state.step))
    taken, weights = batch_indices(key, state.step, count, config.batch_size)
    images, labels = data.images, data.labels
    if isinstance(data, TrainData):
        images, labels = images[taken], labels[taken]
    images = sampling.normalise(images, data.mean, data.std)
    strategy = config.augmentation
    if config.cutmix:
        strategy = augment.without(strategy, "cutout")
    images = augment.independent(k_augment, images, strategy, config.mode, draw_by=config.draw)
    partner, lam = jnp.arange(batch), jnp.ones(())
    if config.cutmix:
        images, partner, lam = augment.cutmix(k_cutmix, images, config.cutmix)

    params = state.variables["params"]
    shares = weights / jnp.sum(weights)

    def part(
        images: Array, labels: Array, others: Array, shares: Array, positions: Array
    ) -> tuple[tuple[Array, tuple[networks.Variables, Any]], optax.Params]:
        """Loss, batch statistics, what was right, and gradient of a part of the batch."""

        def loss_fn(params: optax.Params) -> tuple[Array, tuple[networks.Variables, Any]]:
            (logits, _), updated = network.apply(
                {**state.variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            cross_entropy = optax.softmax_cross_entropy_with_integer_labels
            losses = lam * cross_entropy(logits, labels) + (1 - lam) * cross_entropy(logits, others)
            right = (jnp.argmax(logits, -1) == labels) & (shares > 0)
            seen = jnp.zeros(batch, jnp.int32).at[positions].add(right) if watch else ()
            return jnp.sum(losses * shares), (dict(updated), seen)

        return jax.value_and_grad(loss_fn, has_aux=True)(params)

    size = networks.images_per_block(network, len(images), images.shape[1:])
    (loss, (updated, right)), grads = parallel.sum_over_blocks(
        part, size, images, labels, labels[partner], shares, jnp.arange(batch)
    )
    drops = [epoch * per_epoch for epoch in drop_epochs(config)]
    scales = {step: config.decay ** drops.count(step) for step in drops}
    rate = optax.piecewise_constant_schedule(config.learning_rate, scales)(state.step)
    opt_state = state.opt_state
    if config.reset_momentum:
        restart = jnp.isin(state.step, jnp.array(drops))
        opt_state = jax.tree.map(lambda m: jnp.where(restart, 0.0, m), opt_state)
    direction, opt_state = _optimizer(config).update(grads, opt_state, params)
    params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
    variables = {**state.variables, **updated, "params": params}
    state = TrainState(variables, opt_state, state.step + 1)
    return (state, loss, Presented(taken, right > 0, weights > 0)) if watch else (state, loss)


@partial(jax.jit, static_argnames=("network", "config", "count", "watch"))
def train_step(
    states: TrainState,
    keys: Array,
    data: TrainData | DrawnBatch,
    *,
    network: nn.Module,
    config: TrainConfig,
    count: int,
    watch: bool = False,
) -> Any:
    """One SGD step of each of N networks: states and keys with a leading axis, spread over the
    ambient mesh's networks. Returns the new states and the losses [N].

    data: the training set of `count` images, or the batches of this step, [N, b, ...]. watch:
    returns `Presented` with a leading axis N, too.
    """
    drawn = isinstance(data, DrawnBatch)
    batches = (data.images, data.labels) if drawn else ()

    def step(own: Any, shared: Any) -> Any:
        (state, key, batch), rest = own, shared
        data = DrawnBatch(*batch, *rest) if drawn else rest
        return _train_step(
            state, key, data, network=network, config=config, count=count, watch=watch
        )

    shared = (data.mean, data.std) if drawn else data
    return parallel.over_networks(step, (states, keys, batches), shared)
