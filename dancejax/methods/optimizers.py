"""The optimiser of the pixels: the papers' SGD with momentum, or any optax transformation."""

from collections.abc import Callable
from typing import NamedTuple

import optax

from dancejax import checks, registries
from dancejax.errors import UserError
from dancejax.registries import Registry


class Optimizer(NamedTuple):
    """An optimiser by its name in records, made when the learning rate is known.

    Attributes:
      name: one of OPTIMIZERS, or OWN.
      make: (learning rate, momentum) of the method -> optax transformation.
    """

    name: str
    make: Callable[[float, float], optax.GradientTransformation]


SGD = Optimizer("sgd", optax.sgd)
"""The papers' optimiser: v <- momentum * v + gradient, pixels <- pixels - rate * v."""
ADAM = Optimizer("adam", lambda rate, momentum: optax.adam(rate))
ADAMW = Optimizer("adamw", lambda rate, momentum: optax.adamw(rate))
RMSPROP = Optimizer("rmsprop", lambda rate, momentum: optax.rmsprop(rate, momentum=momentum))
OPTIMIZERS: Registry[Optimizer] = registries.OPTIMIZERS
"""Optimisers by name, with the method's learning rate; adam and adamw do without its momentum and
keep optax's defaults."""
OWN = "own"
"""What a record calls a transformation that a library user gave."""


def resolve(
    optimizer: str | optax.GradientTransformation | Optimizer | None, usual: Optimizer = SGD
) -> Optimizer:
    """Return the optimiser that a caller means.

    Args:
      optimizer: None for the usual one; one of OPTIMIZERS by name; or an optax transformation, with
        a learning rate of its own.
      usual: the method's.

    Raises:
      UserError: an unknown name, or something else.
    """
    if optimizer is None:
        return usual
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise UserError(
                f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}."
            )
        return OPTIMIZERS[optimizer]
    hint = "optax.adam(0.01) makes one"
    checks.instance("the optimizer", optimizer, optax.GradientTransformation, hint=hint)
    return Optimizer(OWN, lambda rate, momentum: optimizer)
