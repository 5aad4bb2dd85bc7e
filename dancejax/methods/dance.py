"""DANCE: dual-view distribution alignment (IJCAI 2024)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import interpolate, mmd
from dancejax.methods import base
from dancejax.methods.base import Array, Context, Method, Metrics, State


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """DANCE's settings: those of all methods (`base.Config`) and its two losses (Table 5).

    A learning_rate of None is the paper's 0.01 * IPC (0.1 * IPC from 128 pixels on). In iterations
    without calibration its loss is logged as 0.
    """

    factor: int = 2
    batch_real: int = 128
    batch_syn: int | None = 200
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    pltda: bool = base.setting(
        True, "match features between initial and final expert; else under the final one"
    )
    calibration: bool = base.setting(True, "lower the final expert's cross-entropy, too")
    calibration_every: int = base.setting(1, "I_c, iterations between updates by calibration")


def create(config: Config, network: nn.Module) -> Method:
    """DANCE as a Method; needs a pool of experts of `network`."""
    base.check_positive(
        config, "factor", "batch_real", "batch_syn", "class_chunk", "calibration_every"
    )
    space = base.UNIT
    view = base.view(config, space)

    def optimizer(pixels: Array) -> optax.GradientTransformation:
        rate = config.learning_rate
        if rate is None:
            rate = (0.1 if min(pixels.shape[2:4]) >= 128 else 0.01) * pixels.shape[1]
        return optax.sgd(rate, config.momentum)

    def run_keys(key: Array) -> Array:
        return jax.random.split(key)

    def init(key: Array, pixels: Array, context: Context) -> State:
        base.experts_of(context)
        stored = space.enter(pixels, context)
        return State(jnp.zeros((), jnp.int32), key, stored, optimizer(stored).init(stored))

    def update(state: State, context: Context) -> tuple[State, Metrics]:
        k_real, k_run = run_keys(state.key)
        k_expert, k_lambda, *keys = jax.random.split(jax.random.fold_in(k_run, state.step), 6)
        experts = base.experts_of(context)
        chosen = jax.random.randint(k_expert, (), 0, len(jax.tree.leaves(experts.final)[0]))
        first = interpolate.select(experts.init, chosen)
        final = interpolate.select(experts.final, chosen)
        lam = jax.random.uniform(k_lambda) if config.pltda else 0.0
        mid = interpolate.lerp(first, final, lam)

        def align(pixels: Array, classes: Array, shared: Any) -> tuple[Array, Metrics]:
            """PLTDA: distance of the mean features under the mid encoder."""
            mid, k_real, (k_subset, k_augment), step, context = shared
            real = base.real_batch(view, k_real, k_augment, step, classes, context)
            syn = base.synthetic(view, k_subset, k_augment, pixels, classes, context)
            _, real = base.forward_classes(network, mid, real)
            _, syn = base.forward_classes(network, mid, syn)
            losses = mmd.mean_discrepancy(jax.lax.stop_gradient(real), syn)
            return losses, {"pltda": losses}

        def calibrate(pixels: Array, classes: Array, shared: Any) -> tuple[Array, Metrics]:
            """Distribution calibration: the expert's cross-entropy on the synthetic images."""
            final, (k_subset, k_augment), context = shared
            syn = base.synthetic(view, k_subset, k_augment, pixels, classes, context)
            logits, _ = base.forward_classes(network, final, syn)
            losses = base.cross_entropy(logits, classes)
            return losses, {"calibration": losses}

        chunk = base.block_size(network, state, config)

        def step(
            loss: base.ClassLoss,
            pixels: Array,
            opt_state: optax.OptState,
            shared: Any,
            pieces: int = 1,
        ) -> tuple[Array, optax.OptState, Metrics]:
            metrics, grads = base.class_gradients(loss, pixels, shared, chunk, pieces=pieces)
            updates, opt_state = optimizer(pixels).update(grads, opt_state)
            return optax.apply_updates(pixels, updates), opt_state, metrics

        seen = context._replace(experts=None)
        shared = mid, k_real, keys[:2], state.step, seen
        pixels = space.constrain(state.pixels)
        pixels, opt_state, metrics = step(align, pixels, state.opt_state, shared)
        if config.calibration:
            pieces = base.image_pieces(network, state, config)
            skipped = {"calibration": jnp.zeros(len(pixels))}
            pixels, opt_state, own = jax.lax.cond(
                state.step % config.calibration_every == 0,
                lambda p, o: step(calibrate, p, o, (final, keys[2:], seen), pieces),
                lambda p, o: (p, o, skipped),
                pixels,
                opt_state,
            )
            metrics = {**metrics, **own}
        return State(state.step + 1, state.key, pixels, opt_state), metrics

    return Method(
        name="dance",
        config=config,
        factor=config.factor,
        needs_experts=True,
        init=init,
        update=update,
        pixels=base.stored(space),
        draw=base.draw_with(lambda key: run_keys(key)[0], config.batch_real),
    )
