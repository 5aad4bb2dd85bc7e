"""This project's method, "dancejax": TGDD with any later snapshot, a ridge regression, and Adam."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import mmd
from dancejax.errors import UserError
from dancejax.methods import base, dance, descent, guided, tgdd
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import DatasetLike, Paper
from dancejax.methods.settings.own import Config as Config
from dancejax.runs import parallel

NAME = "dancejax"
NEEDS_EXPERTS = True
NEEDS_TRAJECTORIES = True
_Setup = guided.Setup[Config]
_HALF = 150
"""Iterations after which the rate has fallen to half."""


def falling(rate: float) -> optax.Schedule:
    """Return a rate that falls as 1 / sqrt(1 + 3 step / 150), whatever number of steps follows."""
    return lambda step: rate / jnp.sqrt(1 + 3 * step / _HALF)


OPTIMIZER = Optimizer("adam_falling", lambda rate, momentum: optax.adam(falling(rate)))
"""Where none is asked for: Adam with a rate that falls, so that the last iterations settle."""


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return how the method is meant to be run: as DANCE is in all that they share.

    Args:
      dataset: whose image size the settings depend on.
      ipc: stored images per class.
    """
    shared = dance.paper(dataset, ipc)
    settings = {k: v for k, v in shared.settings.items() if k in ("factor", "batch_real")}
    return dataclasses.replace(
        shared, title="dancejax (own)", settings=settings, networks=0, published=False
    )


def create(config: Config, network: nn.Module, optimizer: Optimizer = OPTIMIZER) -> Method:
    """Return the method, which needs experts with their parameters after every epoch.

    An iteration is TGDD's (`tgdd.create`) with these choices of ours: the later snapshot, whose
    cross-entropy counts, is any from the earlier one's epoch to the last; with few images it counts
    more, by max(alpha, alpha_few / IPC); all classes are augmented alike and take their step
    together; a ridge regression from the synthetic images' features to their classes is to be right
    on real ones (`regression_error`); and Adam moves the pixels, with a rate that falls. Each was
    kept for what it brought on images held out of the training images (docs/methods.md).

    Args:
      config: the settings.
      network: the experts'.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Ran et al., "Trajectory Guided Dataset Distillation with Balanced Distribution", AAAI 2026,
      arXiv 2512.02469; Zhou et al., "Dataset Distillation using Neural Feature Regression", NeurIPS
      2022; Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """
    if config.update_order != "joint":
        raise UserError(
            f"{NAME} steps all classes together; leave update_order={config.update_order} out."
        )
    if not config.alpha_few >= 0:
        raise UserError(f"alpha_few must not be negative, but is {config.alpha_few}.")
    if not config.ridge >= 0 or not config.ridge_penalty > 0:
        raise UserError(
            f"ridge must not be negative and ridge_penalty be above 0, not {config.ridge} and "
            f"{config.ridge_penalty}."
        )
    return tgdd.method_of(NAME, _Setup(config, network, optimizer), _update)


def regression_error(real: Array, syn: Array, penalty: float) -> Array:
    """Compute the error on real images of a ridge regression on synthetic ones.

    The regression has the features of the synthetic images and a constant as inputs and their
    classes as targets (one-hot, minus 1 / C). Features are those of the real images' mean and of
    their total deviation (the root of the sum of all coordinates' variances) taken as units.

    Args:
      real: features of real images by class, [C, n, d].
      syn: features of synthetic images by class, [C, m, d].
      penalty: added to the diagonal of the Gram matrix, times the C * m images; above 0.

    Returns:
      Half the squared error, summed over the outputs, mean over real images; a scalar, not
      negative.

    References:
      The loss of Zhou et al., "Dataset Distillation using Neural Feature Regression" (FRePo),
      NeurIPS 2022, equation 4, there under networks trained on the synthetic images.
    """
    count = real.shape[0]
    seen, made = (x.reshape(-1, x.shape[-1]) for x in (real, syn))
    mean = seen.mean(0)
    unit = jnp.sqrt(jnp.sum(jnp.square(seen - mean), -1).mean())
    inputs, tested = (
        jnp.concatenate([(x - mean) / unit, jnp.ones((len(x), 1))], 1) for x in (made, seen)
    )
    goal, truth = (jnp.repeat(jnp.eye(count), x.shape[1], 0) - 1 / count for x in (syn, real))
    images, coordinates = inputs.shape
    if images <= coordinates:
        gram = _product(inputs, inputs.T) + penalty * images * jnp.eye(images)
        weights = _product(inputs.T, jax.scipy.linalg.solve(gram, goal, assume_a="pos"))
    else:
        gram = _product(inputs.T, inputs) + penalty * images * jnp.eye(coordinates)
        goal = _product(inputs.T, goal)
        weights = jax.scipy.linalg.solve(gram, goal, assume_a="pos")
    errors = _product(tested, weights) - truth
    return 0.5 * jnp.sum(jnp.square(errors), -1).mean()


_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def _update(
    setup: _Setup, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    """One iteration: the features of all images, then the gradient, part by part.

    What is matched depends on all images at once, but only by their features. Its gradient by these
    leaves a loss that is linear in the features and a sum over images, so that the pass with a
    gradient takes parts of a class small enough to be computed once.
    """
    config, shared = setup.config, tgdd.shared(setup.config, state, context)
    size = descent.block_size(setup.network, state, config, class_chunk)
    pixels = base.UNIT.constrain(state.pixels)
    real, syn = parallel.map_blocks(
        partial(_features, setup),
        (pixels, jnp.arange(len(pixels), dtype=jnp.int32)),
        shared,
        size=size,
        axis=parallel.CLASSES,
    )
    pull, matched = jax.grad(partial(_matching, config), 1, has_aux=True)(real, syn)
    parts = descent.image_pieces(setup.network, state, config)
    loss = partial(_loss, setup, config.weight(pixels.shape[1]))

    def gradients(own: Array, classes: Array) -> tuple[Metrics, Array]:
        found, grads = descent.class_gradients(
            loss, own, (classes, parts * pull), shared, size, pieces=parts
        )
        return {**matched, **found}, grads

    pixels, opt_state, metrics = descent.descend(
        guided.steps(setup, pixels), pixels, state.opt_state, gradients
    )
    return State(state.step + 1, state.key, pixels, opt_state), metrics


def _features(setup: _Setup, own: tuple[Array, Array], shared: tgdd.Shared) -> tuple[Array, Array]:
    """Features of the real and synthetic images of some classes, [k, n, d] and [k, m, d]."""
    pixels, classes = own
    config, (matched, _, keys, step, context) = setup.config, shared
    real = base.real_batch(config, keys, step, classes, context)
    syn = base.synthetic(config, base.UNIT, keys, pixels, classes, context)
    found = [base.forward_classes(setup.network, matched, batch)[1] for batch in (real, syn)]
    return found[0], found[1]


def _matching(config: Config, real: Array, syn: Array) -> tuple[Array, Metrics]:
    """The distances of the classes' mean features plus, once a class, the regression's error.

    real: [C, n, d]. syn: [C, m, d].
    """
    distances = mmd.mean_discrepancy(real, syn)
    total, metrics = distances.sum(), {"matching": distances}
    if config.ridge:
        error = regression_error(real, syn, config.ridge_penalty)
        total, metrics = total + config.ridge * len(syn) * error, {"ridge": error, **metrics}
    return total, metrics


def _loss(
    setup: _Setup,
    weight: float,
    pixels: Array,
    each: tuple[Array, Array],
    shared: tgdd.Shared,
) -> tuple[Array, Metrics]:
    """What is matched, of which only the gradient is right, plus the weighted cross-entropy, [k].

    each: the classes, [k], and the gradient of what is matched by the features, [k, m, d].
    """
    (classes, pull), (matched, classifier, keys, _, context) = each, shared
    syn = base.synthetic(setup.config, base.UNIT, keys, pixels, classes, context)
    _, features = base.forward_classes(setup.network, matched, syn)
    logits, _ = base.forward_classes(setup.network, classifier, syn)
    entropy = base.cross_entropy(logits, classes)
    return jnp.sum(pull * features, (1, 2)) + weight * entropy, {"cross_entropy": entropy}
