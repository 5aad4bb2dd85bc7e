"""NCFM: matching characteristic functions of features (Wang et al., CVPR 2025)."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import interpolate, mmd, networks
from dancejax.data.sampling import ClassData, Draws
from dancejax.errors import UserError
from dancejax.methods import base, descent, guided
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import DatasetLike, Paper
from dancejax.methods.settings.ncfm import ABLATIONS as ABLATIONS, Config as Config
from dancejax.runs import parallel
from dancejax.types import Tree

NEEDS_EXPERTS = True
OPTIMIZER = Optimizer("ncfm_adamw", lambda rate, momentum: optax.adamw(rate, weight_decay=5e-4))
"""The paper's, where none is asked for."""
SAMPLING = ("normal", "scaled", "network")
REAL = ("fresh", "fixed")
_SCALE = 300.0
_DRAWS = 16
"""Frequencies that share a row of the sampling network."""
_ASCENT = optax.sgd(1e-3, momentum=0.5)
_SAMPLING_NETWORK = zlib.crc32(b"sampling network")


_Setup = guided.Setup[Config]


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return NCFM's published settings: those of the authors' setups, without a sampling network.

    The batch of real images is no larger than the smallest class. 20 experts, batch 128 each, are
    the authors'.

    Args:
      dataset: whose name and class sizes they depend on.
      ipc: stored images per class.
    """
    settings: dict[str, Any] = {"batch_real": min([1024, *map(int, dataset.class_counts)])}
    if dataset.name == "cifar100" and ipc == 10:
        settings |= {"optimizer": "sgd", "learning_rate": 0.01}
    return Paper(
        steps=20_000,
        settings=settings,
        init="first_nearest",
        protocol="ncfm",
        title="NCFM",
        networks=10,
        experts=20,
    )


class _Sampler(nn.Module):
    """psi: three layers over rows of noise [k, d], normalised over the rows."""

    @nn.compact
    def __call__(self, noise: Array) -> Array:
        for layer in range(3):
            noise = nn.Dense(noise.shape[-1])(noise)
            noise = nn.LayerNorm(epsilon=1e-5, reduction_axes=0, feature_axes=-1)(noise)
            noise = nn.tanh(noise) if layer == 2 else nn.leaky_relu(noise, 0.2)
        return noise


def _transformation(setup: _Setup) -> optax.GradientTransformationExtraArgs:
    """Of one class: the optimiser, and the halvings of its rate where the loss stays."""
    config = setup.config
    own = setup.optimizer.make(config.learning_rate, config.momentum)
    if config.patience == 0:
        return optax.with_extra_args_support(own)
    # The mean of the iteration's two losses falls and stays as their sum does.
    losses = 1 + int(config.calibration)
    halving = optax.contrib.reduce_on_plateau(
        0.5, patience=config.patience + 1, rtol=1e-4, accumulation_size=losses
    )
    return optax.chain(own, halving)


def create(config: Config, network: nn.Module, optimizer: Optimizer = OPTIMIZER) -> Method:
    """Return NCFM as a Method, which needs a pool of experts.

    An iteration draws an expert and lambda ~ U(0, 1), as DANCE does, and lowers the distance of the
    characteristic functions of features, each of length 1, under
    phi_mid = lambda * phi_0 + (1 - lambda) * phi_expert, at frequencies drawn anew for each class;
    then the cross-entropy of phi_expert on the synthetic images, by a step of its own. Each class
    has an optimiser of its own, whose rate halves when its loss no longer falls.

    With a sampling network psi, one step of psi for all classes together raises the distance after
    the pixels' steps.

    Args:
      config: the settings.
      network: the experts'.
      optimizer: of the pixels of each class; both losses share its state.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective",
      CVPR 2025, arXiv 2502.20653, equations 4 to 7.
    """
    base.check_settings(config)
    base.check_positive(config, "frequencies")
    for name, values in (("sampling", SAMPLING), ("real", REAL)):
        if getattr(config, name) not in values:
            raise UserError(
                f"unknown {name} {getattr(config, name)!r}; choose one of {', '.join(values)}."
            )
    if config.sampling != "normal" and config.frequencies % _DRAWS:
        raise UserError(
            f"a sampling network makes frequencies by {_DRAWS}; choose a multiple of that, not "
            f"{config.frequencies}."
        )
    if not 0 <= config.amplitude < 1:
        raise UserError(f"amplitude must lie in [0, 1), not {config.amplitude}.")
    if config.patience < 0:
        raise UserError(f"patience must not be negative, but is {config.patience}.")
    method = _Setup(config, network, optimizer).method("ncfm", _init, _update)
    return method._replace(draw=_draw(config))


def _draw(config: Config) -> Callable[[Array, Array, ClassData], Draws]:
    epochs = base.draw_with(lambda key: guided.run_keys(key)[0], config.batch_real)
    return lambda key, step, sizes: epochs(key, _epoch_step(config, step), sizes)


def _epoch_step(config: Config, step: Array) -> Array:
    """The iteration whose real images are seen: this one, or always the first."""
    return step if config.real == "fresh" else jnp.zeros_like(step)


class _Shared(NamedTuple):
    """What all classes share in one of an iteration's updates."""

    variables: networks.Variables  # the mid encoder's, or the final expert's
    keys: base.ImageKeys
    frequencies: Array  # key
    psi: Tree  # of the sampling network
    step: Array
    context: Context


def _init(setup: _Setup, key: Array, pixels: Array, context: Context) -> State:
    experts = base.experts_of(context)
    stored = base.UNIT.enter(pixels, context)
    opt_state = jax.vmap(_transformation(setup).init)(stored)
    extra: Tree = ()
    if setup.config.sampling != "normal":
        one = interpolate.select(experts.final, 0)
        features = jax.eval_shape(partial(networks.features, setup.network), one, stored[0])
        noise = jnp.zeros((setup.config.frequencies // _DRAWS, features.shape[-1]))
        psi = _Sampler().init(jax.random.fold_in(key, _SAMPLING_NETWORK), noise)
        extra = (psi, _ASCENT.init(psi))
    return State(jnp.zeros((), jnp.int32), key, stored, opt_state, extra)


def _update(
    setup: _Setup, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    config, network = setup.config, setup.network
    k_real, k_run = guided.run_keys(state.key)
    k_expert, k_lambda, k_frequencies, *keys = jax.random.split(
        jax.random.fold_in(k_run, state.step), 7
    )
    experts = base.experts_of(context)
    chosen = jax.random.randint(k_expert, (), 0, len(jax.tree.leaves(experts.final)[0]))
    expert = interpolate.select(experts, chosen)
    mid = interpolate.lerp(expert.init, expert.final, jax.random.uniform(k_lambda))
    size = descent.block_size(network, state, config, class_chunk)
    seen, step = context._replace(experts=None), _epoch_step(config, state.step)
    psi = state.extra[0] if state.extra else ()
    matched = _Shared(mid, base.ImageKeys(k_real, *keys[:2]), k_frequencies, psi, step, seen)
    optimised = (base.UNIT.constrain(state.pixels), state.opt_state)
    optimised, metrics = _step(setup, _match, optimised, matched, size)
    if config.calibration:
        own = matched._replace(
            variables=expert.final, keys=base.ImageKeys(k_real, *keys[2:]), psi=()
        )
        pieces = descent.image_pieces(network, state, config)
        optimised, calibration = _step(setup, _calibrate, optimised, own, size, pieces=pieces)
        metrics = {**metrics, **calibration}
    extra = _ascend(setup, state.extra, optimised[0], matched, size) if state.extra else ()
    return State(state.step + 1, state.key, *optimised, extra), metrics


_Loss = Callable[[_Setup, Array, Array, _Shared], tuple[Array, Metrics]]
_Optimised = tuple[Array, networks.OptState]


def _step(
    setup: _Setup,
    loss: _Loss,
    optimised: _Optimised,
    shared: _Shared,
    size: int | None,
    *,
    pieces: int = 1,
) -> tuple[_Optimised, Metrics]:
    """The update of (pixels, optimisers' states) by one of the losses."""
    pixels, opt_state = optimised
    metrics, grads = descent.class_gradients(
        partial(loss, setup), pixels, jnp.arange(len(pixels)), shared, size, pieces=pieces
    )
    (losses,) = metrics.values()
    own = _transformation(setup)
    updates, opt_state = jax.vmap(lambda g, s, p, v: own.update(g, s, p, value=v))(
        grads, opt_state, pixels, losses
    )
    return (optax.apply_updates(pixels, updates), opt_state), metrics


def _match(setup: _Setup, pixels: Array, classes: Array, shared: _Shared) -> tuple[Array, Metrics]:
    """The distance of each class's characteristic functions under the mid encoder, [k]."""
    real, syn = _features(setup, pixels, classes, shared)
    frequencies = partial(_frequencies, setup.config, shared.psi, size=syn.shape[-1])
    drawn = jax.vmap(frequencies)(base.class_keys(shared.frequencies, classes))
    losses = _distance(setup.config, jax.lax.stop_gradient(real), syn, drawn)
    return losses, {"matching": losses}


def _distance(config: Config, real: Array, syn: Array, frequencies: Array) -> Array:
    return _SCALE * mmd.characteristic_discrepancy(real, syn, frequencies, config.amplitude)


def _features(setup: _Setup, pixels: Array, classes: Array, shared: _Shared) -> tuple[Array, Array]:
    """Features of length 1 of some classes' real and synthetic images, [k, n, d] and [k, m, d]."""
    config, network, context = setup.config, setup.network, shared.context
    real = base.real_batch(config, shared.keys, shared.step, classes, context)
    syn = base.synthetic(config, base.UNIT, shared.keys, pixels, classes, context)
    found = []
    for batch in (real, syn):
        _, features = base.forward_classes(network, shared.variables, batch)
        squared = jnp.sum(features**2, axis=-1, keepdims=True)
        found.append(features * jax.lax.rsqrt(jnp.maximum(squared, 1e-24)))
    return found[0], found[1]


def _frequencies(config: Config, psi: Tree, key: Array, *, size: int) -> Array:
    """The frequencies of a class in an iteration, [frequencies, size]."""
    k_normal, k_noise = jax.random.split(key)
    shape = (config.frequencies, size)
    if config.sampling == "normal":
        return jax.random.normal(k_normal, shape)
    rows = config.frequencies // _DRAWS
    made = cast(Array, _Sampler().apply(psi, jax.random.normal(k_noise, (rows, size))))
    if config.sampling == "network":
        return made
    return jnp.repeat(made, _DRAWS, axis=0) * jax.random.normal(k_normal, shape)


def _calibrate(
    setup: _Setup, pixels: Array, classes: Array, shared: _Shared
) -> tuple[Array, Metrics]:
    """The final expert's cross-entropy on the synthetic images, [k]."""
    syn = base.synthetic(setup.config, base.UNIT, shared.keys, pixels, classes, shared.context)
    logits, _ = base.forward_classes(setup.network, shared.variables, syn)
    losses = base.cross_entropy(logits, classes)
    return losses, {"calibration": losses}


def _ascend(setup: _Setup, extra: Tree, pixels: Array, shared: _Shared, size: int | None) -> Tree:
    """psi and its optimiser's state after a step that raises the distance of all classes."""
    config = setup.config
    psi, opt_state = extra
    classes = jnp.arange(len(pixels))

    def block(taken: tuple[Array, Array], shared: _Shared) -> tuple[Array, Array]:
        return _features(setup, *taken, shared)

    features = parallel.map_blocks(
        block, (pixels, classes), shared, size=size, axis=parallel.CLASSES
    )
    keys = base.class_keys(shared.frequencies, classes)

    def add(total: Tree, own: tuple[Array, tuple[Array, Array]]) -> tuple[Tree, None]:
        key, (real, syn) = own

        def lowered(psi: Tree) -> Array:
            drawn = _frequencies(config, psi, key, size=syn.shape[-1])
            return -_distance(config, real, syn, drawn)

        return jax.tree.map(jnp.add, total, jax.grad(lowered)(psi)), None

    grads, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, psi), (keys, features))
    updates, opt_state = _ASCENT.update(grads, opt_state)
    return optax.apply_updates(psi, updates), opt_state
