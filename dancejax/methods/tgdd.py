"""TGDD: DANCE under snapshots of the experts' training (Ran et al., AAAI 2026)."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import interpolate, mmd, networks
from dancejax.errors import UserError
from dancejax.methods import base, dance, descent, guided, trajectories
from dancejax.methods.base import Array, Context, Method, Metrics, State, Visits
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import DatasetLike, Paper
from dancejax.methods.settings.tgdd import Config as Config
from dancejax.types import Json

NEEDS_EXPERTS = True
NEEDS_TRAJECTORIES = True


C = TypeVar("C", bound=Config, covariant=True)
_Setup = guided.Setup[Config]


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return TGDD's published settings: those of the authors' setup, in which alpha is 1.

    Args:
      dataset: whose image size they depend on.
      ipc: stored images per class.
    """
    return dataclasses.replace(dance.paper(dataset, ipc), title="TGDD")


def create(config: Config, network: nn.Module, optimizer: Optimizer = base.SGD) -> Method:
    """Return TGDD as a Method, which needs experts with their parameters after every epoch.

    An iteration draws an expert, an epoch t of its training and an epoch u from t on, both from the
    initial parameters (0) to the final ones. On one augmented batch it lowers, by one step, the
    distance of mean features under the snapshot of t plus alpha times the cross-entropy of the
    snapshot of u on the synthetic images.

    Args:
      config: the settings.
      network: the experts'.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Ran et al., "Trajectory Guided Dataset Distillation with Balanced Distribution", AAAI 2026,
      arXiv 2512.02469.
    """
    return method_of("tgdd", _Setup(config, network, optimizer), _update)


def method_of(
    name: str, setup: guided.Setup[C], update: Callable[..., tuple[State, Metrics]]
) -> Method:
    """Return the Method of an update that goes along the experts' trajectories.

    Args:
      name: the method's.
      setup: what `update` takes first.
      update: (setup, state, context, class_chunk) -> (state, metrics).

    Raises:
      UserError: a setting that makes no sense.
    """
    config = setup.config
    base.check_settings(config)
    for field in ("alpha", "epoch_interval"):
        if not getattr(config, field) >= 0:
            raise UserError(f"{field} must not be negative, but is {getattr(config, field)}.")
    method = setup.method(name, guided.init, update)
    return method._replace(resolved=partial(_resolved, config), visits=partial(_visits, config))


def _resolved(config: Config, ipc: int, image_shape: tuple[int, ...]) -> Json:
    """The settings that hold for a run."""
    rate = guided.pixel_rate(config, ipc, image_shape)
    return {**dataclasses.asdict(config), "learning_rate": rate, "alpha": config.weight(ipc)}


def _step_keys(key: Array, step: Array) -> Array:
    """An iteration's keys: of snapshots, of the subset of synthetic images, of augmentation."""
    return jax.random.split(jax.random.fold_in(guided.run_keys(key)[1], step), 3)


def _visits(config: Config, key: Array, step: Array, count: int, snapshots: int) -> Visits:
    """The snapshots of an iteration, of one expert: whose features count, whose cross-entropy."""
    k_expert, k_first, k_second = jax.random.split(_step_keys(key, step)[0], 3)
    expert = jax.random.randint(k_expert, (), 0, count)
    first = jax.random.randint(k_first, (), 0, snapshots)
    reach = config.epoch_interval or snapshots
    second = jax.random.randint(k_second, (), first, jnp.minimum(first + reach, snapshots))
    return Visits(jnp.stack([expert, expert]), jnp.stack([first, second]))


class Shared(NamedTuple):
    """What all classes of an iteration share.

    Attributes:
      matched: the snapshot whose features are matched.
      classifier: the snapshot whose cross-entropy counts.
      keys: of the iteration's images.
      step: number of the iteration.
      context: of the run, without experts.
    """

    matched: networks.Variables
    classifier: networks.Variables
    keys: base.ImageKeys
    step: Array
    context: Context


def shared(config: Config, state: State, context: Context) -> Shared:
    """Return what all classes of the next iteration share.

    Args:
      config: the settings.
      state: before the iteration.
      context: of the run, with trajectories.
    """
    _, *k_images = _step_keys(state.key, state.step)
    both = trajectories.snapshots_of(context, partial(_visits, config, state.key, state.step))
    return Shared(
        interpolate.select(both, 0),
        interpolate.select(both, 1),
        base.ImageKeys(guided.run_keys(state.key)[0], *k_images),
        state.step,
        context._replace(experts=None, trajectories=None, visited=None),
    )


def _update(
    setup: _Setup, state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    config, common = setup.config, shared(setup.config, state, context)
    size = descent.block_size(setup.network, state, config, class_chunk)
    loss = partial(_loss, setup)
    pixels, opt_state, metrics = descent.descend(
        guided.steps(setup, state.pixels),
        base.UNIT.constrain(state.pixels),
        state.opt_state,
        lambda own, classes: descent.class_gradients(loss, own, classes, common, size),
    )
    return State(state.step + 1, state.key, pixels, opt_state), metrics


def _loss(setup: _Setup, pixels: Array, classes: Array, common: Shared) -> tuple[Array, Metrics]:
    """The distance of mean features and the weighted cross-entropy of each class, [k]."""
    config, network = setup.config, setup.network
    matched, classifier, keys, step, context = common
    real = base.real_batch(config, keys, step, classes, context)
    syn = base.synthetic(config, base.UNIT, keys, pixels, classes, context)
    _, real_features = base.forward_classes(network, matched, real)
    _, features = base.forward_classes(network, matched, syn)
    distances = mmd.mean_discrepancy(jax.lax.stop_gradient(real_features), features)
    logits, _ = base.forward_classes(network, classifier, syn)
    entropy = base.cross_entropy(logits, classes)
    return distances + config.alpha * entropy, {"matching": distances, "cross_entropy": entropy}
