"""IDM: improved distribution matching (Zhao et al., CVPR 2023): a queue of networks in training."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import interpolate, mmd, networks
from dancejax.data.sampling import ClassData, Draws
from dancejax.errors import UserError
from dancejax.methods import base, descent, idm_queue
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.descent import Descent
from dancejax.methods.idm_queue import Queue, Training
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE, TINY, DatasetLike, Paper, side, unmirrored
from dancejax.methods.settings.idm import ABLATIONS as ABLATIONS, Config as Config


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return IDM's published settings; above IPC 50, where none are published, those for 50.

    The batch of real images is no larger than the smallest class: 5000 of a class of 500 would be
    ten copies of each.

    Args:
      dataset: whose name, image size, class sizes and mirroring they depend on.
      ipc: stored images per class.
    """
    large, tiny = side(dataset) >= LARGE, TINY <= side(dataset) < LARGE
    hundred = dataset.name == "cifar100" and 1 < ipc < 50
    many = ipc == 1 and dataset.name in ("cifar10", "cifar100")
    weak = ipc >= 50 or hundred
    batch = 128 if large else 5000 if many else 256
    settings = {
        "factor": 1 if large and ipc >= 50 else 2,
        "batch_real": min([batch, *map(int, dataset.class_counts)]),
        "queue_size": 50 if large and ipc < 50 else 100,
        "push_every": 50 if large else 5 if many else 30,
        "train_steps": 50 if hundred or (tiny and ipc >= 50) else 10,
        "regularisation": 3.0 if large else 0.8 if tiny and ipc >= 50 else 0.1 if weak else 0.5,
        "accuracy_window": 500 if ipc >= 50 else 100,
        **unmirrored(Config.augmentation, dataset),
    }
    return Paper(
        steps=20_000,
        settings=settings,
        init="real_mean",
        protocol="dm",
        title="IDM",
        network={"depth": 3} if tiny else {},
    )


def cpu_settings(batch_real: int) -> dict[str, int]:
    """Return settings of the queue that suit a CPU on which batch_real was chosen for it."""
    return {"train_batch": batch_real, "queue_size": 20}


class _Setup(NamedTuple):
    """The method as its functions need it."""

    config: Config
    network: nn.Module
    descent: Descent
    training: Training


def create(config: Config, network: nn.Module, optimizer: Optimizer = base.SGD) -> Method:
    """Return IDM as a Method.

    An iteration matches mean features under one network of a queue in training, adds
    regularisation * accuracy of that network in percent * cross-entropy of the synthetic images,
    and trains some networks of the queue.

    Args:
      config: the settings.
      network: of the queue.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Zhao et al., "Improved Distribution Matching for Dataset Condensation", CVPR 2023.
    """
    _check(config)
    trainer = optax.chain(
        optax.add_decayed_weights(config.train_decay),
        optax.sgd(config.train_rate, config.train_momentum),
    )
    setup = _Setup(
        config,
        network,
        Descent(optimizer, config.learning_rate, config.momentum, config.update_order),
        Training(network, trainer, config.train_steps, config.train_batch),
    )
    return Method(
        name="idm",
        config=config,
        factor=config.factor,
        needs_experts=False,
        init=partial(_init, setup),
        update=partial(_update, setup),
        pixels=base.stored(base.NORMALISED),
        draw=partial(_draw, config),
        network=network,
        optimizer=optimizer,
    )


def _check(config: Config) -> None:
    """Raise UserError for settings that make no sense."""
    base.check_settings(config)
    counts = ("queue_start", "queue_size", "push_every", "networks_trained")
    base.check_positive(config, *counts, "train_steps", "train_batch")
    if config.accuracy_window < 0:
        raise UserError(f"accuracy_window must be at least 0, not {config.accuracy_window}.")
    if config.networks_trained > min(config.queue_start, config.queue_size):
        raise UserError(
            f"networks_trained ({config.networks_trained}) must not be above queue_start "
            f"({config.queue_start}) and queue_size ({config.queue_size})."
        )


class _Keys(NamedTuple):
    """The run's keys: of new networks, epochs of matching and of training, iterations."""

    network: Array
    epochs: Array
    training: Array
    run: Array


def _keys(key: Array) -> _Keys:
    return _Keys(*jax.random.split(key, 4))


def _init(setup: _Setup, key: Array, pixels: Array, context: Context) -> State:
    config, stored = setup.config, base.NORMALISED.enter(pixels, context)
    opt_state = descent.init(setup.descent, stored)
    state = State(jnp.zeros((), jnp.int32), key, stored, opt_state)
    k_network, shape = _keys(key).network, base.image_shape(state)
    queue = idm_queue.empty(setup.training, config.queue_size, shape)
    for number in range(min(config.queue_start, config.queue_size)):
        new = idm_queue.fresh(setup.training, jax.random.fold_in(k_network, number), shape)
        queue = idm_queue.push(queue, *new)
    return state._replace(extra=queue)


def _trained_per_iteration(config: Config) -> int:
    """Steps of training, of all networks together."""
    return config.networks_trained * config.train_steps


def _draw(config: Config, key: Array, step: Array, sizes: ClassData) -> Draws:
    keys = _keys(key)
    own = base.draw_with(lambda _: keys.epochs, config.batch_real)(key, step, sizes)
    each = _trained_per_iteration(config)
    numbers = step * each + jnp.arange(each)
    mixed = jax.vmap(
        lambda number: idm_queue.batch_indices(keys.training, number, config.train_batch, sizes)
    )(numbers)
    return own._replace(training=mixed.reshape(-1))


class _Shared(NamedTuple):
    """What all classes of an iteration share."""

    variables: networks.Variables
    percent: Array
    keys: base.ImageKeys
    step: Array
    context: Context


def _update(
    setup: _Setup, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    config, training, run = setup.config, setup.training, _keys(state.key)
    queue: Queue = state.extra
    key = jax.random.fold_in(run.run, state.step)
    k_match, k_train, k_subset, k_augment = jax.random.split(key, 4)
    due = (state.step % config.push_every == 0) & (state.step > 0)
    k_new = jax.random.fold_in(run.network, queue.pushed)
    new = idm_queue.fresh(training, k_new, base.image_shape(state))
    queue = idm_queue.push(queue, *new, when=due)
    slot = idm_queue.sample(k_match, queue, 1)[0]
    variables = interpolate.select(queue.variables, slot)
    percent = idm_queue.accuracy(queue, slot)
    keys = base.ImageKeys(run.epochs, k_subset, k_augment)
    shared = _Shared(variables, percent, keys, state.step, context)
    loss = partial(_loss, setup)
    size = descent.block_size(setup.network, state, config, class_chunk)
    pixels, opt_state, metrics = descent.descend(
        setup.descent,
        state.pixels,
        state.opt_state,
        lambda own, classes: descent.class_gradients(loss, own, classes, shared, size),
    )
    slots = idm_queue.sample(k_train, queue, config.networks_trained)
    first = state.step * _trained_per_iteration(config)
    queue = idm_queue.fade(queue, config.accuracy_window)
    queue = idm_queue.train(training, queue, slots, run.training, first, context)
    metrics = {**metrics, "network_accuracy": percent}
    return State(state.step + 1, state.key, pixels, opt_state, queue), metrics


def _loss(setup: _Setup, pixels: Array, classes: Array, shared: _Shared) -> tuple[Array, Metrics]:
    """DM's distance and the class-aware regularisation of each class, [k]."""
    config, network = setup.config, setup.network
    variables, percent, keys, step, context = shared
    images = base.real_batch(config, keys, step, classes, context)
    _, real = base.forward_classes(network, variables, images)
    images = base.synthetic(config, base.NORMALISED, keys, pixels, classes, context)
    logits, syn = base.forward_classes(network, variables, images)
    distances = mmd.mean_discrepancy(jax.lax.stop_gradient(real), syn)
    entropy = base.cross_entropy(logits, classes)
    total = distances + config.regularisation * percent * entropy
    return total, {"matching": distances, "cross_entropy": entropy}
