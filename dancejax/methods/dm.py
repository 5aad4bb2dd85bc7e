"""DM: distribution matching under random networks (Zhao and Bilen, WACV 2023)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import mmd, networks
from dancejax.errors import UserError
from dancejax.methods import base, descent
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.descent import Descent
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE, TINY, DatasetLike, Paper, side, unmirrored
from dancejax.methods.settings.dm import (
    ABLATIONS as ABLATIONS,
    MOMENTS as MOMENTS,
    Config as Config,
    MatchingConfig as MatchingConfig,
)

Discrepancy = Callable[[Array, Array], Array]


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return DM's published settings.

    They are published for IPC up to 1250; the learning rate is 10 from IPC 100 on, but for
    CIFAR-100.

    Args:
      dataset: whose name, size and mirroring they depend on.
      ipc: stored images per class.
    """
    rate = 10.0 if ipc >= 100 and dataset.name != "cifar100" else 1.0
    return Paper(
        steps=10_000 if TINY <= side(dataset) < LARGE else 20_000,
        settings={"learning_rate": rate, **unmirrored(Config.augmentation, dataset)},
        init="real",
        protocol="dm",
        title="DM",
        networks=100,  # 20 for each of 5 sets
    )


def create(config: Config, network: nn.Module, optimizer: Optimizer = base.SGD) -> Method:
    """Return DM as a Method.

    With batch norm, the synthetic images of all classes form one batch, which gives the statistics
    under which they are seen; likewise the real ones.

    Args:
      config: the settings.
      network: whose features are matched, with random parameters.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, equation 5;
      with more than one moment Zhang et al., "M3D", AAAI 2024, Table 1.
    """
    if not 1 <= config.moments <= MOMENTS:
        raise UserError(f"moments must lie between 1 and {MOMENTS}, not {config.moments}.")
    discrepancy = partial(mmd.moment_discrepancy, moments=config.moments)
    return matching("dm", config, network, discrepancy, base.NORMALISED, optimizer)


class Matching(NamedTuple):
    """A method that matches features under random networks, as its functions need it."""

    config: MatchingConfig
    network: nn.Module
    discrepancy: Discrepancy
    space: base.Space
    descent: Descent


def matching(
    name: str,
    config: MatchingConfig,
    network: nn.Module,
    discrepancy: Discrepancy,
    space: base.Space,
    optimizer: Optimizer = base.SGD,
) -> Method:
    """Return a Method that matches features of real and synthetic images under random networks.

    Args:
      name: the method's name.
      config: the settings.
      network: whose features are matched, with random parameters.
      discrepancy: (real [k, B, d], synthetic [k, m, d]) -> [k], the loss of each class.
      space: that the pixels live in.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.
    """
    base.check_settings(config)
    base.check_positive(config, "iterations_per_model")
    steps = Descent(optimizer, config.learning_rate, config.momentum)
    setup = Matching(config, network, discrepancy, space, steps)
    return Method(
        name=name,
        config=config,
        factor=config.factor,
        needs_experts=False,
        init=partial(_init, setup),
        update=partial(_update, setup),
        pixels=base.stored(space),
        draw=base.draw_with(lambda key: _keys(key)[0], config.batch_real),
        network=network,
        optimizer=optimizer,
    )


class _Shared(NamedTuple):
    """What all classes of an iteration share."""

    variables: networks.Variables
    keys: base.ImageKeys
    step: Array
    context: Context


def _keys(key: Array) -> Array:
    """The run's keys: of the epochs of real images, random networks, iterations."""
    return jax.random.split(key, 3)


def _init(setup: Matching, key: Array, pixels: Array, context: Context) -> State:
    stored = setup.space.enter(pixels, context)
    return State(jnp.zeros((), jnp.int32), key, stored, descent.init(setup.descent, stored))


def _update(
    setup: Matching, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    k_real, k_network, k_run = _keys(state.key)
    k_subset, k_augment = jax.random.split(jax.random.fold_in(k_run, state.step))
    model = state.step // setup.config.iterations_per_model
    k_model = jax.random.fold_in(k_network, model)
    variables = networks.init(setup.network, k_model, base.image_shape(state))
    keys = base.ImageKeys(k_real, k_subset, k_augment)
    shared = _Shared(variables, keys, state.step, context)
    loss = partial(_loss, setup)
    size = descent.block_size(setup.network, state, setup.config, class_chunk)
    pixels, opt_state, metrics = descent.descend(
        setup.descent,
        setup.space.constrain(state.pixels),
        state.opt_state,
        lambda own, classes: descent.class_gradients(loss, own, classes, shared, size),
    )
    return State(state.step + 1, state.key, pixels, opt_state), metrics


def _loss(setup: Matching, pixels: Array, classes: Array, shared: _Shared) -> tuple[Array, Metrics]:
    """Each class's discrepancy of features, [k]."""
    config, network = setup.config, setup.network
    variables, keys, step, context = shared
    images = base.real_batch(config, keys, step, classes, context)
    _, real = base.forward_classes(network, variables, images)
    images = base.synthetic(config, setup.space, keys, pixels, classes, context)
    _, syn = base.forward_classes(network, variables, images)
    losses = setup.discrepancy(jax.lax.stop_gradient(real), syn)
    return losses, {"matching": losses}
