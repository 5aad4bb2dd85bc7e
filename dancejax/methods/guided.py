"""What the methods share that match under experts: one setup, keys of a run, and rates."""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax.methods import base, descent
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.descent import Descent
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE
from dancejax.methods.settings.guided import Config

C = TypeVar("C", bound=base.Config, covariant=True)


class Setup(NamedTuple, Generic[C]):
    """A method as its functions need it."""

    config: C
    network: nn.Module
    optimizer: Optimizer

    def method(
        self,
        name: str,
        init: Callable[["Setup[C]", Array, Array, Context], State],
        update: Callable[..., tuple[State, Metrics]],
    ) -> Method:
        """Return the Method of functions whose first argument is this setup."""
        return Method(
            name=name,
            config=self.config,
            factor=self.config.factor,
            needs_experts=True,
            init=partial(init, self),
            update=partial(update, self),
            pixels=base.stored(base.UNIT),
            draw=base.draw_with(lambda key: run_keys(key)[0], self.config.batch_real),
            network=self.network,
            optimizer=self.optimizer,
        )


def run_keys(key: Array) -> Array:
    """Return the run's keys, [2]: of the epochs of real images, and of iterations."""
    return jax.random.split(key)


def pixel_rate(config: base.Config, ipc: int, image_shape: tuple[int, ...]) -> float:
    """Return the learning rate of the pixels: the setting, or DANCE's rule.

    Args:
      config: the settings.
      ipc: stored images per class.
      image_shape: (h, w, c).

    Returns:
      config.learning_rate; where that is None 0.01 * ipc, or 0.1 * ipc from 128 pixels on.
    """
    if config.learning_rate is not None:
        return config.learning_rate
    return (0.1 if min(image_shape[:2]) >= LARGE else 0.01) * ipc


def steps(setup: Setup[Config], pixels: Array) -> Descent:
    """Return how pixels take steps.

    Args:
      setup: of the method.
      pixels: [C, IPC, h, w, c].
    """
    config = setup.config
    rate = pixel_rate(config, pixels.shape[1], pixels.shape[2:])
    return Descent(setup.optimizer, rate, config.momentum, config.update_order)


def init(setup: Setup[Config], key: Array, pixels: Array, context: Context) -> State:
    """Return the state before the first iteration.

    Args:
      setup: of the method.
      key: of the run.
      pixels: [C, IPC, h, w, c] in [0, 1].
      context: with experts or their trajectories.
    """
    stored = base.UNIT.enter(pixels, context)
    opt_state = descent.init(steps(setup, stored), stored)
    return State(jnp.zeros((), jnp.int32), key, stored, opt_state)
