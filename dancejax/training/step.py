"""Training a network on a labelled set: the step that experts and evaluation share."""

from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dancejax import augment, networks
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.runs import parallel
from dancejax.training.config import TrainConfig, drop_epochs
from dancejax.types import Tree

Array = jax.Array


class TrainData(NamedTuple):
    """A set to train on or to test on.

    Attributes:
      images: uint8, or float in [0, 1], [n, h, w, c].
      labels: of these images, int32 [n], or float [n, C], shares of the classes.
      mean: [c], in [0, 1] units.
      std: likewise.
    """

    images: Array | np.ndarray
    labels: Array | np.ndarray
    mean: Array | np.ndarray
    std: Array | np.ndarray

    @property
    def on_host(self) -> bool:
        """Whether the images lie in the host's memory, or in a file mapped into it."""
        return isinstance(self.images, np.ndarray)


class Batch(NamedTuple):
    """What a step shows to each of N networks; the last one of an epoch is filled with repeats.

    Attributes:
      images: uint8, or float in [0, 1], [N, b, h, w, c].
      labels: int32 [N, b], or float [N, b, C], shares of the classes.
      which: int32 [N, b], the images' places in the set.
      weights: float32 [N, b], 0 for the repeats, else 1.
    """

    images: Array
    labels: Array
    which: Array
    weights: Array


class Common(NamedTuple):
    """What all networks have in common in a step.

    Attributes:
      rate: float32 [], by which the optimiser's direction is multiplied.
      restart: bool [], whether the optimiser's state is reset before.
      mean: of the images, [c], in [0, 1] units.
      std: likewise.
    """

    rate: Array | np.float32
    restart: Array | np.bool_
    mean: Array | np.ndarray
    std: Array | np.ndarray


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
    """Return a data set to train on, on the host; its images are not copied."""
    mean, std = (np.asarray(values, np.float32) for values in (dataset.mean, dataset.std))
    return TrainData(dataset.images, dataset.labels, mean, std)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches an epoch, the last one partly filled where the batch size does not divide."""
    return -(-count // batch_size)


def batch_length(count: int, batch_size: int) -> int:
    """Images of a batch: the batch size, or all where there are fewer."""
    return min(batch_size, count)


class Recipe(NamedTuple):
    """What a step is compiled for; sets of any size and schedules of any length have it in common.

    Attributes: as of `TrainConfig`, but for the network.
    """

    network: nn.Module
    optimizer: str
    momentum: float
    weight_decay: float
    augmentation: str
    mode: str
    draw: str
    cutmix: float

    @classmethod
    def of(cls, network: nn.Module, config: TrainConfig) -> "Recipe":
        """Return what a training of a network has of it."""
        return cls(network, **{name: getattr(config, name) for name in cls._fields[1:]})

    @property
    def descent(self) -> optax.GradientTransformation:
        """The direction; the rate is applied outside of it, as PyTorch's SGD has it."""
        decay = optax.add_decayed_weights(self.weight_decay)
        if self.optimizer == "adamw":
            return optax.chain(optax.scale_by_adam(), decay)
        return optax.chain(decay, optax.trace(self.momentum))


@partial(jax.jit, static_argnames=("recipe", "image_shape"))
def init_state(key: Array, recipe: Recipe, image_shape: tuple[int, int, int]) -> TrainState:
    """A freshly initialised network before its first step."""
    variables = networks.init(recipe.network, key, image_shape)
    opt_state = recipe.descent.init(variables["params"])
    return TrainState(variables, opt_state, jnp.zeros((), jnp.int32))


def batch_indices(key: Array, step: Array, count: Array | int, length: int) -> tuple[Array, Array]:
    """Find which images a network sees in a step.

    Args:
      key: the network's.
      step: int32 [], from 0.
      count: images in the training set, int32 [].
      length: of the batch, b, at most `count` (`batch_length`).

    Returns:
      (int32 [b], float32 [b]): which images, and their weights; the last batch of an epoch is
      filled with repeats of weight 0.
    """
    per_epoch = -(-count // length)
    k_order, _ = jax.random.split(key)
    position = step % per_epoch * length + jnp.arange(length)
    epoch = jnp.broadcast_to(step // per_epoch, position.shape)
    taken = sampling.permuted_index(k_order, epoch, position % count, count)
    return taken, (position < count).astype(jnp.float32)


@partial(jax.jit, static_argnames="length")
def indices(keys: Array, step: Array, count: Array, length: int) -> tuple[Array, Array]:
    """`batch_indices` of N networks with keys [N], spread over the ambient mesh's networks."""

    def one(key: Array, shared: tuple[Array, Array]) -> tuple[Array, Array]:
        step, count = shared
        return batch_indices(key, step, count, length)

    return cast(tuple[Array, Array], parallel.over_networks(one, keys, (step, count)))


def draw(keys: Array, step: int, data: TrainData, batch_size: int) -> Batch:
    """Take the images of a step from a set on the device.

    Args:
      keys: of N networks.
      step: from 0.
      data: the set.
      batch_size: at most so many images.
    """
    count = data.images.shape[0]
    length = batch_length(count, batch_size)
    return _take(data, *indices(keys, np.int32(step), np.int32(count), length))


@jax.jit
def _take(data: TrainData, which: Array, weights: Array) -> Batch:
    def one(own: tuple[Array, Array], data: TrainData) -> Batch:
        which, weights = own
        return Batch(data.images[which], data.labels[which], which, weights)

    return cast(Batch, parallel.over_networks(one, (which, weights), data))


def in_common(config: TrainConfig, data: TrainData, step: int) -> Common:
    """Find what all networks have in common in a step.

    Args:
      config: of the training.
      data: what they are trained on.
      step: from 0.
    """
    per_epoch = steps_per_epoch(data.images.shape[0], config.batch_size)
    drops = [epoch * per_epoch for epoch in drop_epochs(config)]
    rate = np.float32(config.learning_rate)
    for drop in sorted(set(drops)):
        if step >= drop:
            rate *= np.float32(config.decay ** drops.count(drop))
    restart = np.bool_(config.reset_momentum and step in drops)
    return Common(rate, restart, data.mean, data.std)


class _Shown(NamedTuple):
    """A batch as a network sees it."""

    images: Array  # augmented, mixed [b, h, w, c]
    labels: Array  # int32 [b], or shares of the classes [b, C]
    others: Array  # likewise, labels of the images that were mixed in
    lam: Array  # share of the images' own pixels
    weights: Array  # float32 [b], 0 for the repeats that fill up an epoch's last batch


def _show(step: Array, key: Array, batch: Batch, common: Common, recipe: Recipe) -> _Shown:
    """The batch of a network in a step, augmented."""
    _, k_step = jax.random.split(key)
    k_augment, k_cutmix = jax.random.split(jax.random.fold_in(k_step, step))
    strategy = recipe.augmentation
    if recipe.cutmix:
        strategy = augment.without(strategy, "cutout")
    images = sampling.normalise(batch.images, common.mean, common.std)
    images = augment.independent(k_augment, images, strategy, recipe.mode, draw_by=recipe.draw)
    partner, lam = jnp.arange(len(images)), jnp.ones(())
    if recipe.cutmix:
        images, partner, lam = augment.cutmix(k_cutmix, images, recipe.cutmix)
    return _Shown(images, batch.labels, batch.labels[partner], lam, batch.weights)


def _cross_entropy(logits: Array, labels: Array) -> Array:
    """Of each image, [b]; labels: int32 [b], or shares of the classes [b, C]."""
    if labels.ndim == 1:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return optax.softmax_cross_entropy(logits, labels.astype(jnp.float32))


def _gradients(
    variables: networks.Variables, batch: _Shown, network: nn.Module, watch: bool
) -> tuple[tuple[Array, tuple[networks.Variables, Any]], optax.Params]:
    """Loss, batch statistics, what was right, and the gradient of a batch."""
    size = len(batch.images)

    def part(
        images: Array, labels: Array, others: Array, shares: Array, positions: Array
    ) -> tuple[tuple[Array, tuple[networks.Variables, Any]], optax.Params]:
        def loss_fn(params: optax.Params) -> tuple[Array, tuple[networks.Variables, Any]]:
            (logits, _), updated = network.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            own, mixed = _cross_entropy(logits, labels), _cross_entropy(logits, others)
            losses = batch.lam * own + (1 - batch.lam) * mixed
            classes = labels if labels.ndim == 1 else jnp.argmax(labels, -1)
            right = (jnp.argmax(logits, -1) == classes) & (shares > 0)
            seen = jnp.zeros(size, jnp.int32).at[positions].add(right) if watch else ()
            return jnp.sum(losses * shares), (dict(updated), seen)

        return jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])

    shares = batch.weights / jnp.sum(batch.weights)
    block = networks.images_per_block(network, size, batch.images.shape[1:])
    arrays = batch.images, batch.labels, batch.others, shares, jnp.arange(size)
    real = jnp.sum(batch.weights).astype(jnp.int32)
    return cast(Any, parallel.sum_over_blocks(part, block, *arrays, filled=real))


def _descend(
    state: TrainState,
    grads: optax.Params,
    updated: networks.Variables,
    common: Common,
    recipe: Recipe,
) -> TrainState:
    """The state after the optimiser's step."""
    params = state.variables["params"]
    opt_state = jax.tree.map(
        lambda m: jnp.where(common.restart, jnp.zeros_like(m), m), state.opt_state
    )
    direction, opt_state = recipe.descent.update(grads, opt_state, params)
    params = jax.tree.map(lambda p, d: p - common.rate * d, params, direction)
    variables = {**state.variables, **updated, "params": params}
    return TrainState(variables, opt_state, state.step + 1)


@partial(jax.jit, static_argnames=("recipe", "watch"))
def train_step(
    states: TrainState,
    keys: Array,
    batch: Batch,
    common: Common,
    recipe: Recipe,
    *,
    watch: bool = False,
) -> tuple[Tree, ...]:
    """Take one SGD step of each of N networks, spread over the ambient mesh's networks.

    Args:
      states: leaves [N, ...].
      keys: [N], one for each network, the same in all its steps.
      batch: of this step (`draw`).
      common: likewise (`in_common`).
      recipe: network and settings.
      watch: whether to return what the step presented.

    Returns:
      (states, losses [N]), and with `watch` a `Presented` with a leading axis N.
    """

    def one(own: Any, common: Common) -> tuple[Any, ...]:
        state, key, batch = own
        shown = _show(state.step, key, batch, common, recipe)
        (loss, (updated, right)), grads = _gradients(state.variables, shown, recipe.network, watch)
        state = _descend(state, grads, updated, common, recipe)
        if not watch:
            return state, loss
        return state, loss, Presented(batch.which, right > 0, batch.weights > 0)

    return cast(tuple[Any, ...], parallel.over_networks(one, (states, keys, batch), common))
