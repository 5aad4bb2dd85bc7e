"""DM: distribution matching under random networks (WACV 2023)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import mmd, networks
from dancejax.methods import base
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.papers import LARGE, TINY, DatasetLike, Paper, side, unmirrored

Discrepancy = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """DM's settings: those of all methods (`base.Config`) and how long a network is kept.

    The paper's learning rate is 1, 10 from IPC 100 on.
    """

    learning_rate: float = 1.0
    iterations_per_model: int = base.setting(1, "iterations until the next random network")


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


def create(config: Config, network: nn.Module) -> Method:
    """DM as a Method (equation 5).

    With batch norm, the synthetic images of all classes form one batch, which gives the statistics
    under which they are seen; likewise the real ones.
    """
    return matching("dm", config, network, mmd.mean_discrepancy, base.NORMALISED)


def matching(
    name: str, config: Config, network: nn.Module, discrepancy: Discrepancy, space: base.Space
) -> Method:
    """Matches features of real and synthetic images under random networks, class by class.

    discrepancy: (real [k, B, d], synthetic [k, m, d]) -> [k], the loss of each class.
    """
    base.check_settings(config)
    base.check_positive(config, "iterations_per_model")
    optimizer = optax.sgd(config.learning_rate, config.momentum)
    view = base.view(config, space)

    def keys(key: Array) -> Array:
        return jax.random.split(key, 3)

    def init(key: Array, pixels: Array, context: Context) -> State:
        stored = space.enter(pixels, context)
        return State(jnp.zeros((), jnp.int32), key, stored, optimizer.init(stored))

    def update(state: State, context: Context) -> tuple[State, Metrics]:
        k_real, k_network, k_run = keys(state.key)
        k_subset, k_augment = jax.random.split(jax.random.fold_in(k_run, state.step))
        model = state.step // config.iterations_per_model
        variables = networks.init(
            network, jax.random.fold_in(k_network, model), base.image_shape(state)
        )

        shared = variables, k_real, k_subset, k_augment, state.step, context

        def loss(pixels: Array, classes: Array, shared: Any) -> tuple[Array, Metrics]:
            variables, k_real, k_subset, k_augment, step, context = shared
            real = base.real_batch(view, k_real, k_augment, step, classes, context)
            syn = base.synthetic(view, k_subset, k_augment, pixels, classes, context)
            _, real = base.forward_classes(network, variables, real)
            _, syn = base.forward_classes(network, variables, syn)
            losses = discrepancy(jax.lax.stop_gradient(real), syn)
            return losses, {"matching": losses}

        pixels = space.constrain(state.pixels)
        chunk = base.block_size(network, state, config)
        metrics, grads = base.class_gradients(loss, pixels, shared, chunk)
        updates, opt_state = optimizer.update(grads, state.opt_state)
        pixels = optax.apply_updates(pixels, updates)
        return State(state.step + 1, state.key, pixels, opt_state), metrics

    return Method(
        name=name,
        config=config,
        factor=config.factor,
        needs_experts=False,
        init=init,
        update=update,
        pixels=base.stored(space),
        draw=base.draw_with(lambda key: keys(key)[0], config.batch_real),
        network=network,
    )
