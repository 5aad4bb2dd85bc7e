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
    """Labelled images of which a step takes some.

    Attributes:
      images: uint8, or float in [0, 1], [n, h, w, c]: the whole set, or only those of one step.
      labels: of these images, int32 [n], or float [n, C], shares of the classes.
      mean: [c], in [0, 1] units.
      std: likewise.
      drawn: int32 [b], where among `images` the step's are; None: at the places that
        `batch_indices` names.
    """

    images: Array | np.ndarray
    labels: Array | np.ndarray
    mean: Array | np.ndarray
    std: Array | np.ndarray
    drawn: Array | None = None

    @property
    def on_host(self) -> bool:
        """Whether the images lie in the host's memory, or in a file mapped into it."""
        return isinstance(self.images, np.ndarray)


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


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """The direction; the rate is applied outside of it, as PyTorch's SGD has it."""
    if config.optimizer == "adamw":
        return optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(config.weight_decay))
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
    """Find which images a network sees in a step.

    Args:
      key: the network's.
      step: int32 [], from 0.
      count: images in the training set.
      batch_size: at most so many a step.

    Returns:
      (int32 [b], float32 [b]) with b = min(batch_size, count): which images, and their weights; the
      last batch of an epoch is filled with repeats of weight 0.
    """
    per_epoch = steps_per_epoch(count, batch_size)
    batch = min(batch_size, count)
    k_order, _ = jax.random.split(key)
    position = step % per_epoch * batch + jnp.arange(batch)
    epoch = jnp.broadcast_to(step // per_epoch, position.shape)
    taken = sampling.permuted_index(k_order, epoch, position % count, count)
    return taken, (position < count).astype(jnp.float32)


class Recipe(NamedTuple):
    """What all steps of a training have in common, static for the compiler."""

    network: nn.Module
    config: TrainConfig
    images: int  # in the training set

    @property
    def per_epoch(self) -> int:
        """Steps an epoch."""
        return steps_per_epoch(self.images, self.config.batch_size)


class _Batch(NamedTuple):
    """A step's images as the network sees them."""

    images: Array  # normalised, augmented, mixed [b, h, w, c]
    labels: Array  # int32 [b], or shares of the classes [b, C]
    others: Array  # likewise, labels of the images that were mixed in
    lam: Array  # share of the images' own pixels
    taken: Array  # int32 [b], which images these are
    weights: Array  # float32 [b], 0 for the repeats that fill up an epoch's last batch


def _draw(step: Array, key: Array, data: TrainData, recipe: Recipe) -> _Batch:
    """The batch of a step, augmented."""
    config = recipe.config
    _, k_step = jax.random.split(key)
    k_augment, k_cutmix = jax.random.split(jax.random.fold_in(k_step, step))
    index, weights = batch_indices(key, step, recipe.images, config.batch_size)
    place = index if data.drawn is None else data.drawn
    labels = jnp.asarray(data.labels)[place]
    images = sampling.normalise(jnp.asarray(data.images)[place], data.mean, data.std)
    strategy = config.augmentation
    if config.cutmix:
        strategy = augment.without(strategy, "cutout")
    images = augment.independent(k_augment, images, strategy, config.mode, draw_by=config.draw)
    partner, lam = jnp.arange(len(images)), jnp.ones(())
    if config.cutmix:
        images, partner, lam = augment.cutmix(k_cutmix, images, config.cutmix)
    return _Batch(images, labels, labels[partner], lam, index, weights)


def _cross_entropy(logits: Array, labels: Array) -> Array:
    """Of each image, [b]; labels: int32 [b], or shares of the classes [b, C]."""
    if labels.ndim == 1:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return optax.softmax_cross_entropy(logits, labels.astype(jnp.float32))


def _gradients(
    variables: networks.Variables, batch: _Batch, network: nn.Module, watch: bool
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
    state: TrainState, grads: optax.Params, updated: networks.Variables, recipe: Recipe
) -> TrainState:
    """The state after the optimiser's step, with the rate that holds in this one."""
    config, params = recipe.config, state.variables["params"]
    drops = [epoch * recipe.per_epoch for epoch in drop_epochs(config)]
    scales = {step: config.decay ** drops.count(step) for step in drops}
    rate = optax.piecewise_constant_schedule(config.learning_rate, scales)(state.step)
    opt_state = state.opt_state
    if config.reset_momentum:
        restart = jnp.isin(state.step, jnp.array(drops))
        opt_state = jax.tree.map(lambda m: jnp.where(restart, jnp.zeros_like(m), m), opt_state)
    direction, opt_state = _optimizer(config).update(grads, opt_state, params)
    params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
    variables = {**state.variables, **updated, "params": params}
    return TrainState(variables, opt_state, state.step + 1)


def _train_step(
    state: TrainState,
    key: Array,
    data: TrainData,
    recipe: Recipe,
    watch: bool,
) -> tuple[Any, ...]:
    """One SGD step of the network that `key` names: (state, loss), and `Presented` with watch."""
    batch = _draw(state.step, key, data, recipe)
    (loss, (updated, right)), grads = _gradients(state.variables, batch, recipe.network, watch)
    state = _descend(state, grads, updated, recipe)
    if not watch:
        return state, loss
    return state, loss, Presented(batch.taken, right > 0, batch.weights > 0)


@partial(jax.jit, static_argnames=("recipe", "watch"))
def train_step(
    states: TrainState,
    keys: Array,
    data: TrainData,
    recipe: Recipe,
    *,
    watch: bool = False,
) -> tuple[Tree, ...]:
    """Take one SGD step of each of N networks, spread over the ambient mesh's networks.

    Args:
      states: leaves [N, ...].
      keys: [N], one for each network, the same in all its steps.
      data: the training set, or with `drawn` [N, b] the batches of this step, [N, b, h, w, c].
      recipe: network, settings and number of images.
      watch: whether to return what the step presented.

    Returns:
      (states, losses [N]), and with `watch` a `Presented` with a leading axis N.
    """
    apart = () if data.drawn is None else ("images", "labels", "drawn")
    fields = data._asdict()
    each = {name: fields.pop(name) for name in apart}

    def step(own: Any, shared: Any) -> Any:
        state, key, batch = own
        return _train_step(state, key, TrainData(**batch, **shared), recipe, watch)

    return cast(tuple[Any, ...], parallel.over_networks(step, (states, keys, each), fields))
