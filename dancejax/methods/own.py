"""This project's method, "dancejax": TGDD with any later snapshot, and Adam whose rate falls."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import optax

from dancejax.methods import dance, tgdd
from dancejax.methods.base import Method
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import DatasetLike, Paper
from dancejax.methods.settings.own import Config as Config

NAME = "dancejax"
NEEDS_EXPERTS = True
NEEDS_TRAJECTORIES = True
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

    An iteration is TGDD's (`tgdd.create`) with three choices of ours: the later snapshot, whose
    cross-entropy counts, is any from the earlier one's epoch to the last; all classes take their
    step together; and Adam moves the pixels, with a rate that falls. Each was kept for what it
    brought on images held out of the training images (docs/methods.md).

    Args:
      config: the settings.
      network: the experts'.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Ran et al., "Trajectory Guided Dataset Distillation with Balanced Distribution", AAAI 2026,
      arXiv 2512.02469; Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """
    return tgdd.create(config, network, optimizer)._replace(name=NAME)
