"""Training a network on a labelled set: the step that experts and evaluation share."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dancejax import augment, backend, checks, networks, parallel
from dancejax.data import sampling
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """SGD with momentum and weight decay on augmented images.

    milestones: shares of the epochs after which the rate is multiplied by `decay`, rounded down to
    whole epochs. augmentation: strengths are drawn for each image; draw says whether the choice
    among operations is made for each "image", or once a "batch", as in the authors' setups.
    cutmix: probability per batch.
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
    draw: str = "batch"

    def __post_init__(self) -> None:
        checks.fields(self, "training")
        augment.check_mode(self.mode)
        if self.draw not in augment.DRAWS:
            raise UserError(
                f"unknown draw {self.draw!r}; choose one of {', '.join(augment.DRAWS)}."
            )
        limits = {"learning_rate": float("inf"), "momentum": 1.0, "weight_decay": float("inf")}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) < limit:
                raise UserError(
                    f"{name} in training is {getattr(self, name)}; it must lie in [0, {limit})."
                )
        if not 0 <= self.cutmix <= 1:
            raise UserError(f"cutmix is a probability in [0, 1], not {self.cutmix}.")
        if self.epochs < 1 or self.batch_size < 1:
            raise UserError(
                f"epochs ({self.epochs}) and batch size ({self.batch_size}) must be at least 1."
            )
        augment.parse(self.augmentation)


def make_config(**settings: Any) -> TrainConfig:
    """Make a TrainConfig. Raises UserError for settings that it does not have."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in settings:
        if name not in known:
            raise UserError(f"training has no setting {name!r}; it has {', '.join(known)}.")
    return TrainConfig(**settings)


EARLIER = {"training.draw": "image", "keys": "experts"}
"""What records of training by earlier versions mean by the entries that they lack."""


def drop_epochs(config: TrainConfig) -> tuple[int, ...]:
    """The epochs after which the rate drops, one for each milestone: its share rounded down.

    As floor(2E/3) and floor(5E/6) of the published setups. Where two fall on one epoch the rate
    drops twice; one that would fall before the first epoch falls after it.
    """
    shares = (Fraction(m).limit_denominator(1000) for m in config.milestones)
    return tuple(max(1, int(share * config.epochs)) for share in shares)


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
    (loss, (updated, right)), grads = sum_over_blocks(
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


def sum_over_blocks(part: Callable[..., Any], size: int, *batch: Array) -> Any:
    """Sum of part(*block) over blocks of the batch's arrays, filled up with zeros."""
    count = batch[0].shape[0]
    if size >= count:
        return part(*batch)
    blocks = [
        jnp.pad(x, [(0, -count % size)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, size, *x.shape[1:])
        for x in batch
    ]

    def add(total: Any, block: list[Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part(*block)), None

    shapes = jax.eval_shape(part, *(x[0] for x in blocks))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zeros, blocks)[0]


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
    return over_networks(step, (states, keys, batches), shared)


def over_networks(
    function: Callable[[Any, Any], Any],
    mapped: Any,
    shared: Any,
    *,
    axis: str = parallel.NETWORKS,
) -> Any:
    """function(one network's part, shared) for stacked networks, as the backend likes it.

    Spread over the ambient mesh if it has this axis.
    """
    number = len(jax.tree.leaves(mapped)[0])
    if not backend.is_cpu():
        many = jax.vmap(function, in_axes=(0, None))
        return parallel.map_blocks(many, mapped, shared, size=number, axis=axis)

    def single(own: Any, shared: Any) -> Any:
        output = function(jax.tree.map(lambda x: x[0], own), shared)
        return jax.tree.map(lambda x: x[None], output)

    return parallel.map_blocks(single, mapped, shared, size=1, axis=axis)


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


def predict_all(
    variables: networks.Variables, dataset: ImageDataset, *, network: nn.Module
) -> tuple[np.ndarray, np.ndarray]:
    """`predict` on a data set of any size, which stays on the host and is sent in parts."""
    size = max(256, 2**28 // int(np.prod(dataset.image_shape)))
    mean, std = jnp.asarray(dataset.mean, jnp.float32), jnp.asarray(dataset.std, jnp.float32)
    parts = []
    for start in range(0, len(dataset.labels), size):
        images = jnp.asarray(dataset.images[start : start + size])
        data = TrainData(images, jnp.asarray(dataset.labels[start : start + size]), mean, std)
        parts.append(jax.device_get(predict(variables, data, network=network)))
    logits, features = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(features)


@partial(jax.jit, static_argnames=("network",))
def accuracy(variables: networks.Variables, data: TrainData, *, network: nn.Module) -> Array:
    """Share of the images that each of N stacked networks classifies correctly, [N] in [0, 1]."""
    chex.assert_equal_shape_prefix([data.images, data.labels], 1)

    def one(variables: networks.Variables, data: TrainData) -> Array:
        logits, _ = predict(variables, data, network=network)
        return jnp.mean(jnp.argmax(logits, -1) == data.labels)

    return over_networks(one, variables, data)


def accuracy_in_parts(
    variables: networks.Variables,
    data: TrainData | ImageDataset,
    *,
    network: nn.Module,
    mesh: jax.sharding.Mesh,
) -> np.ndarray:
    """`accuracy` as a NumPy array; a data set stays on the host and is sent in parts."""
    if isinstance(data, TrainData):
        return np.asarray(parallel.fetch(accuracy(variables, data, network=network)))
    size = max(256, 2**28 // int(np.prod(data.image_shape)))
    mean, std = np.asarray(data.mean, np.float32), np.asarray(data.std, np.float32)
    total = np.zeros(len(jax.tree.leaves(variables)[0]))
    for start in range(0, len(data), size):
        own = slice(start, start + size)
        placed = TrainData(*parallel.place((data.images[own], data.labels[own], mean, std), mesh))
        share = parallel.fetch(accuracy(variables, placed, network=network))
        total += share * len(data.labels[own])
    return total / len(data)
