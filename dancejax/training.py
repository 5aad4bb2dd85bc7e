"""Training a network on a labelled set: the step that experts and evaluation share."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import augment, networks
from dancejax.data import sampling
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """SGD with momentum and weight decay on augmented images.

    milestones: shares of the epochs after which the rate is multiplied by `decay`.
    augmentation: per image; cutmix: probability per batch.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    decay: float = 0.2
    reset_momentum: bool = False
    augmentation: str = "color_crop"
    mode: str = "multi"
    cutmix: float = 0.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UserError(
                f"epochs ({self.epochs}) and batch size ({self.batch_size}) must be at least 1."
            )
        augment.parse(self.augmentation)


class TrainData(NamedTuple):
    """A training set on the device: images uint8 or float [0, 1] [n, h, w, c], labels int32 [n]."""

    images: Array
    labels: Array
    mean: Array  # [c]
    std: Array  # [c]


class TrainState(NamedTuple):
    variables: networks.Variables
    opt_state: optax.OptState
    step: Array  # int32


def train_data(dataset: ImageDataset) -> TrainData:
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


def _train_step(
    state: TrainState, key: Array, data: TrainData, *, network: nn.Module, config: TrainConfig
) -> tuple[TrainState, Array]:
    """One SGD step of the network that `key` names; returns the new state and the loss."""
    count = data.images.shape[0]
    per_epoch = steps_per_epoch(count, config.batch_size)
    batch = min(config.batch_size, count)
    epoch, index = state.step // per_epoch, state.step % per_epoch
    k_order, k_step = jax.random.split(key)
    k_augment, k_cutmix = jax.random.split(jax.random.fold_in(k_step, state.step))

    position = index * batch + jnp.arange(batch)
    weights = (position < count).astype(jnp.float32)  # the last batch is filled with repeats
    taken = sampling.permuted_index(
        k_order, jnp.broadcast_to(epoch, position.shape), position % count, count
    )
    images = sampling.normalise(data.images[taken], data.mean, data.std)
    labels = data.labels[taken]
    strategy = (
        augment.without(config.augmentation, "cutout") if config.cutmix else (config.augmentation)
    )
    images = augment.independent(k_augment, images, strategy, config.mode)
    partner, lam = jnp.arange(batch), jnp.ones(())
    if config.cutmix:
        images, partner, lam = augment.cutmix(k_cutmix, images, config.cutmix)

    def loss_fn(params: optax.Params) -> tuple[Array, networks.Variables]:
        (logits, _), updated = network.apply(
            {**state.variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        losses = lam * cross_entropy(logits, labels)
        losses += (1 - lam) * cross_entropy(logits, labels[partner])
        return jnp.sum(losses * weights) / jnp.sum(weights), dict(updated)

    params = state.variables["params"]
    (loss, updated), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    drops = {round(m * config.epochs) * per_epoch: config.decay for m in config.milestones}
    rate = optax.piecewise_constant_schedule(config.learning_rate, drops)(state.step)
    opt_state = state.opt_state
    if config.reset_momentum:
        restart = jnp.isin(state.step, jnp.array(list(drops)))
        opt_state = jax.tree.map(lambda m: jnp.where(restart, 0.0, m), opt_state)
    direction, opt_state = _optimizer(config).update(grads, opt_state, params)
    params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
    variables = {**state.variables, **updated, "params": params}
    return TrainState(variables, opt_state, state.step + 1), loss


train_step = jax.jit(_train_step, static_argnames=("network", "config"), donate_argnums=0)


@partial(jax.jit, static_argnames=("network", "config"), donate_argnums=0)
def train_step_many(
    states: TrainState, keys: Array, data: TrainData, *, network: nn.Module, config: TrainConfig
) -> tuple[TrainState, Array]:
    """`train_step` for several networks at once: states and keys with a leading axis."""
    step = partial(_train_step, network=network, config=config)
    return jax.vmap(step, in_axes=(0, 0, None))(states, keys, data)


@partial(jax.jit, static_argnames=("network", "block"))
def predict(
    variables: networks.Variables, data: TrainData, *, network: nn.Module, block: int = 256
) -> tuple[Array, Array]:
    """(logits [n, C], features [n, d]) of all images in inference mode, in blocks."""
    count = data.images.shape[0]
    block = min(block, count)
    padding = [(0, -count % block)] + [(0, 0)] * 3
    blocks = jnp.pad(data.images, padding).reshape(-1, block, *data.images.shape[1:])

    def one(images: Array) -> tuple[Array, Array]:
        return networks.infer(network, variables, sampling.normalise(images, data.mean, data.std))

    outputs = jax.lax.map(one, blocks)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1])[:count], outputs)


@partial(jax.jit, static_argnames=("network",))
def accuracy(variables: networks.Variables, data: TrainData, *, network: nn.Module) -> Array:
    """Share of the images that the network classifies rightly, in [0, 1]."""
    chex.assert_equal_shape_prefix([data.images, data.labels], 1)
    logits, _ = predict(variables, data, network=network)
    return jnp.mean(jnp.argmax(logits, -1) == data.labels)


def member_keys(seed: int, members: Sequence[int]) -> list[Array]:
    """One key per network, from the seed and the network's number alone."""
    root = jax.random.key(seed)
    return [jax.random.fold_in(root, member) for member in members]
