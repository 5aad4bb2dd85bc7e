"""DANCE: dual-view distribution alignment (IJCAI 2024)."""

import dataclasses
import zlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import interpolate, mmd, networks
from dancejax.errors import UserError
from dancejax.methods import base
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.papers import LARGE, DatasetLike, Paper, side

NEEDS_EXPERTS = True


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
    update_order: str = base.setting(
        "classwise", "classwise steps the optimiser after each class, joint once for all classes"
    )
    pltda: bool = base.setting(
        True, "match features between the initial and the final expert; else see without_pltda"
    )
    without_pltda: str = base.setting(
        "random",
        "whose features are matched without pltda: random, one random network for the whole run, "
        "as in the authors' setup; or expert, the final one",
    )
    calibration: bool = base.setting(True, "lower the final expert's cross-entropy, too")
    calibration_every: int = base.setting(1, "I_c, iterations between updates by calibration")


WITHOUT_PLTDA = ("random", "expert")
_FIXED_NETWORK = zlib.crc32(b"fixed network")


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


def pixel_rate(config: Config, ipc: int, image_shape: tuple[int, ...]) -> float:
    """The learning rate of the pixels: the setting's, or the paper's rule for IPC and size."""
    if config.learning_rate is not None:
        return config.learning_rate
    return (0.1 if min(image_shape[:2]) >= 128 else 0.01) * ipc


def resolved(config: Config, ipc: int, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """The settings that hold for IPC stored images per class; those without effect are left out."""
    found = dataclasses.asdict(config)
    if config.pltda:
        del found["without_pltda"]
    return {**found, "learning_rate": pixel_rate(config, ipc, image_shape)}


def create(config: Config, network: nn.Module) -> Method:
    """DANCE as a Method; needs a pool of experts of `network`."""
    base.check_settings(config)
    base.check_positive(config, "calibration_every")
    if config.without_pltda not in WITHOUT_PLTDA:
        raise UserError(
            f"unknown without_pltda {config.without_pltda!r}; choose one of "
            f"{', '.join(WITHOUT_PLTDA)}."
        )
    space = base.UNIT
    view = base.view(config, space)

    def rate(pixels: Array) -> float:
        return pixel_rate(config, pixels.shape[1], pixels.shape[2:])

    def optimizer(pixels: Array) -> optax.GradientTransformation:
        return optax.sgd(rate(pixels), config.momentum)

    def run_keys(key: Array) -> Array:
        return jax.random.split(key)

    def mid_encoder(key: Array, state: State, first: Any, final: Any) -> networks.Variables:
        """The network whose features are matched in an iteration."""
        if config.pltda:
            return interpolate.lerp(first, final, jax.random.uniform(key))
        if config.without_pltda == "expert":
            return final
        fixed = jax.random.fold_in(state.key, _FIXED_NETWORK)
        return networks.init(network, fixed, base.image_shape(state))

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
        mid = mid_encoder(k_lambda, state, first, final)

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
            return base.descend(
                config.update_order,
                optimizer(pixels),
                rate(pixels),
                config.momentum,
                pixels,
                opt_state,
                lambda own: base.class_gradients(loss, own, shared, chunk, pieces=pieces),
            )

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
        needs_experts=NEEDS_EXPERTS,
        init=init,
        update=update,
        pixels=base.stored(space),
        draw=base.draw_with(lambda key: run_keys(key)[0], config.batch_real),
        network=network,
        resolved=lambda ipc, image_shape: resolved(config, ipc, image_shape),
    )
