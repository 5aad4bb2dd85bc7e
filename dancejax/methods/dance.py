"""DANCE: dual-view distribution alignment (IJCAI 2024)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import interpolate, mmd, networks
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.methods import base
from dancejax.methods.base import Array, Context, Method, Metrics, State


@dataclasses.dataclass(frozen=True)
class Config:
    """DANCE's settings.

    factor: tiles a side (l). batch_real: B, real images per class. batch_syn: decoded synthetic
    images per class at most. learning_rate: of the pixels; None is the paper's 0.01 * IPC (0.1 *
    IPC from 128 pixels on). pltda, calibration: the two losses, each can be left out (Table 5;
    without PLTDA the features of the final expert are matched, lambda = 0). calibration_every: I_c.
    """

    factor: int = 2
    batch_real: int = 128
    batch_syn: int = 200
    learning_rate: float | None = None
    momentum: float = 0.5
    pltda: bool = True
    calibration: bool = True
    calibration_every: int = 1
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    class_chunk: int | None = None


def create(config: Config, network: nn.Module) -> Method:
    """DANCE as a Method; needs a pool of experts of `network`."""
    for name in ("factor", "batch_real", "batch_syn", "calibration_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} must be at least 1, not {getattr(config, name)}.")

    def optimizer(pixels: Array) -> optax.GradientTransformation:
        rate = config.learning_rate
        if rate is None:
            rate = (0.1 if min(pixels.shape[2:4]) >= 128 else 0.01) * pixels.shape[1]
        return optax.sgd(rate, config.momentum)

    def init(key: Array, pixels: Array, context: Context) -> State:
        if context.experts is None:
            raise UserError("DANCE needs a pool of experts; train one with launch.pretrain.")
        pixels = jnp.clip(pixels, 0, 1)
        return State(jnp.zeros((), jnp.int32), key, pixels, optimizer(pixels).init(pixels))

    def synthetic(pixels: Array, subset: Array, augment: Array, context: Context) -> Array:
        """Decoded, normalised and augmented with per-class keys, [k, m, h, w, c]."""
        decoded = base.decode_classes(pixels, config.factor)
        decoded = base.subsample(subset, decoded, config.batch_syn)
        images = sampling.normalise(decoded, context.mean, context.std)
        return base.siamese_classes(augment, images, config.augmentation, config.mode)

    def update(state: State, context: Context) -> tuple[State, Metrics]:
        k_real, k_run = jax.random.split(state.key)
        key = jax.random.fold_in(k_run, state.step)
        k_expert, k_lambda, *k_align = jax.random.split(key, 6)
        k_align, k_calibrate = k_align[:2], k_align[2:]
        count = jax.tree.leaves(context.experts.final)[0].shape[0]
        chosen = jax.random.randint(k_expert, (), 0, count)
        first = interpolate.select(context.experts.init, chosen)
        final = interpolate.select(context.experts.final, chosen)
        lam = jax.random.uniform(k_lambda) if config.pltda else 0.0
        mid = interpolate.lerp(first, final, lam)

        def align(pixels: Array, classes: Array) -> Array:
            """PLTDA: distance of the mean features under the mid encoder (equation 5)."""
            real = base.real_batch(k_real, state.step, context, classes, config.batch_real)
            subset, augment = (base.class_keys(k, classes) for k in k_align)
            real = base.siamese_classes(augment, real, config.augmentation, config.mode)
            syn = synthetic(pixels, subset, augment, context)
            means = [
                networks.features(network, mid, base.flatten_classes(x)).reshape(*x.shape[:2], -1)
                for x in (real, syn)
            ]
            return mmd.mean_discrepancy(jax.lax.stop_gradient(means[0]), means[1])

        def calibrate(pixels: Array, classes: Array) -> Array:
            """Distribution calibration: the expert's cross-entropy on the synthetic images."""
            subset, augment = (base.class_keys(k, classes) for k in k_calibrate)
            syn = synthetic(pixels, subset, augment, context)
            logits, _ = networks.forward(network, final, base.flatten_classes(syn))
            labels = jnp.repeat(classes, syn.shape[1])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.reshape(syn.shape[:2]).mean(1)

        opt = optimizer(state.pixels)
        chunk = base.block_size(network, state.pixels, config.batch_real, config.class_chunk)
        pixels, opt_state = jnp.clip(state.pixels, 0, 1), state.opt_state
        losses, grads = base.class_gradients(align, pixels, chunk)
        updates, opt_state = opt.update(grads, opt_state)
        pixels = optax.apply_updates(pixels, updates)
        metrics = {"pltda": losses}

        if config.calibration:
            due = state.step % config.calibration_every == 0

            def step(pixels: Array, opt_state: optax.OptState) -> tuple[Array, ...]:
                losses, grads = base.class_gradients(calibrate, pixels, chunk)
                updates, opt_state = opt.update(grads, opt_state)
                return optax.apply_updates(pixels, updates), opt_state, losses

            if config.calibration_every == 1:
                pixels, opt_state, metrics["calibration"] = step(pixels, opt_state)
            else:
                skipped = jnp.zeros(pixels.shape[0])
                pixels, opt_state, metrics["calibration"] = jax.lax.cond(
                    due, step, lambda p, o: (p, o, skipped), pixels, opt_state
                )
        return State(state.step + 1, state.key, pixels, opt_state), metrics

    return Method(
        name="dance",
        config=config,
        factor=config.factor,
        needs_experts=True,
        init=init,
        update=update,
        pixels=lambda state, context: jnp.clip(state.pixels, 0, 1),
    )
