"""DANCE: dual-view distribution alignment (Zhang et al., IJCAI 2024)."""

import dataclasses
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import interpolate, mmd, networks
from dancejax.errors import UserError
from dancejax.methods import base, descent, guided
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE, DatasetLike, Paper, side
from dancejax.methods.settings.dance import (
    ABLATIONS as ABLATIONS,
    WITHOUT_PLTDA as WITHOUT_PLTDA,
    Config as Config,
)
from dancejax.types import Json

NEEDS_EXPERTS = True
_FIXED_NETWORK = zlib.crc32(b"fixed network")


_Setup = guided.Setup[Config]


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return DANCE's published settings.

    Above IPC 50, where none are published, the learning rate goes on in proportion to IPC.

    Args:
      dataset: whose image size they depend on.
      ipc: stored images per class.
    """
    large = side(dataset) >= LARGE
    return Paper(
        steps=10_000,
        settings={"factor": 3 if large else 2, "learning_rate": (0.1 if large else 0.01) * ipc},
        init="first_nearest",
        protocol="dance",
        title="DANCE",
        networks=10,
        experts=5,
    )


def resolved(config: Config, ipc: int, image_shape: tuple[int, ...]) -> Json:
    """Return the settings that hold for a run; those without effect are left out.

    Args:
      config: the settings.
      ipc: stored images per class.
      image_shape: (h, w, c).
    """
    found = dataclasses.asdict(config)
    if config.pltda:
        del found["without_pltda"]
    return {**found, "learning_rate": guided.pixel_rate(config, ipc, image_shape)}


def create(config: Config, network: nn.Module, optimizer: Optimizer = base.SGD) -> Method:
    """Return DANCE as a Method, which needs a pool of experts.

    An iteration draws an expert and lambda ~ U(0, 1). Pseudo Long-Term Distribution Alignment
    (PLTDA) lowers the distance of mean features under
    phi_mid = lambda * phi_0 + (1 - lambda) * phi_expert; distribution calibration then lowers the
    cross-entropy of phi_expert on the synthetic images, by an update of its own.

    Args:
      config: the settings.
      network: the experts'.
      optimizer: of the pixels; both losses share its state.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Zhang et al., "DANCE: Dual-View Distribution Alignment for Dataset Condensation", IJCAI 2024,
      Algorithm 1.
    """
    base.check_settings(config)
    base.check_positive(config, "calibration_every")
    if config.without_pltda not in WITHOUT_PLTDA:
        raise UserError(
            f"unknown without_pltda {config.without_pltda!r}; choose one of "
            f"{', '.join(WITHOUT_PLTDA)}."
        )
    method = _Setup(config, network, optimizer).method("dance", _init, _update)
    return method._replace(resolved=partial(resolved, config))


class _Shared(NamedTuple):
    """What all classes share in one of an iteration's two updates."""

    variables: networks.Variables  # the mid encoder's, or the final expert's
    keys: base.ImageKeys
    step: Array
    context: Context


def _init(setup: _Setup, key: Array, pixels: Array, context: Context) -> State:
    base.experts_of(context)
    return guided.init(setup, key, pixels, context)


def _update(
    setup: _Setup, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    config, network = setup.config, setup.network
    k_real, k_run = guided.run_keys(state.key)
    k_expert, k_lambda, *keys = jax.random.split(jax.random.fold_in(k_run, state.step), 6)
    experts = base.experts_of(context)
    chosen = jax.random.randint(k_expert, (), 0, len(jax.tree.leaves(experts.final)[0]))
    expert = interpolate.select(experts, chosen)
    mid = _mid_encoder(setup, k_lambda, state, expert)
    size = descent.block_size(network, state, config, class_chunk)
    seen = context._replace(experts=None)
    shared = _Shared(mid, base.ImageKeys(k_real, *keys[:2]), state.step, seen)
    pixels = base.UNIT.constrain(state.pixels)
    pixels, opt_state, metrics = _step(setup, _align, (pixels, state.opt_state), shared, size)
    if config.calibration:
        own = _Shared(expert.final, base.ImageKeys(k_real, *keys[2:]), state.step, seen)
        pieces = descent.image_pieces(network, state, config)
        skipped = {"calibration": jnp.zeros(len(pixels))}
        pixels, opt_state, calibration = jax.lax.cond(
            state.step % config.calibration_every == 0,
            lambda p, o: _step(setup, _calibrate, (p, o), own, size, pieces=pieces),
            lambda p, o: (p, o, skipped),
            pixels,
            opt_state,
        )
        metrics = {**metrics, **calibration}
    return State(state.step + 1, state.key, pixels, opt_state), metrics


def _mid_encoder(
    setup: _Setup, key: Array, state: State, expert: base.ExpertPool
) -> networks.Variables:
    """The variables of the network whose features are matched in an iteration."""
    if setup.config.pltda:
        return interpolate.lerp(expert.init, expert.final, jax.random.uniform(key))
    if setup.config.without_pltda == "expert":
        return expert.final
    fixed = jax.random.fold_in(state.key, _FIXED_NETWORK)
    return networks.init(setup.network, fixed, base.image_shape(state))


_Loss = Callable[[_Setup, Array, Array, _Shared], tuple[Array, Metrics]]


def _step(
    setup: _Setup,
    loss: _Loss,
    optimised: tuple[Array, networks.OptState],
    shared: _Shared,
    size: int | None,
    *,
    pieces: int = 1,
) -> tuple[Array, networks.OptState, Metrics]:
    """The update of (pixels, optimiser state) by one of the losses."""
    pixels, opt_state = optimised
    own_loss = partial(loss, setup)

    def gradients(own: Array, classes: Array) -> tuple[Metrics, Array]:
        return descent.class_gradients(own_loss, own, classes, shared, size, pieces=pieces)

    return descent.descend(guided.steps(setup, pixels), pixels, opt_state, gradients)


def _align(setup: _Setup, pixels: Array, classes: Array, shared: _Shared) -> tuple[Array, Metrics]:
    """PLTDA: distance of the mean features under the mid encoder, [k]."""
    mid, keys, step, context = shared
    images = base.real_batch(setup.config, keys, step, classes, context)
    _, real = base.forward_classes(setup.network, mid, images)
    images = base.synthetic(setup.config, base.UNIT, keys, pixels, classes, context)
    _, syn = base.forward_classes(setup.network, mid, images)
    losses = mmd.mean_discrepancy(jax.lax.stop_gradient(real), syn)
    return losses, {"pltda": losses}


def _calibrate(
    setup: _Setup, pixels: Array, classes: Array, shared: _Shared
) -> tuple[Array, Metrics]:
    """Distribution calibration: the expert's cross-entropy on the synthetic images, [k]."""
    final, keys, _, context = shared
    syn = base.synthetic(setup.config, base.UNIT, keys, pixels, classes, context)
    logits, _ = base.forward_classes(setup.network, final, syn)
    losses = base.cross_entropy(logits, classes)
    return losses, {"calibration": losses}
