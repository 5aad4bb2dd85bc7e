"""Methods by name: made of their settings, and what their files and papers say of them."""

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import flax.linen as nn
import optax

from dancejax import augment, checks, names, registries
from dancejax.errors import UserError
from dancejax.methods import base, optimizers
from dancejax.methods.about import setting_types
from dancejax.methods.base import Method
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import DatasetFacts, DatasetLike, Paper, unmirrored
from dancejax.methods.turns import in_turns
from dancejax.registries import Registry
from dancejax.text import meant
from dancejax.types import Json

METHODS: Registry[ModuleType] = registries.METHODS


def create(
    name: str,
    network: nn.Module | Sequence[nn.Module],
    *,
    optimizer: str | optax.GradientTransformation | None = None,
    **settings: Any,
) -> Method:
    """Make a method by name.

    Args:
      name: one of METHODS.
      network: whose features are matched; a classifier as `networks.create` makes them, or a
        flax.linen module that returns (logits, features). Several are matched in turns, one in each
        iteration; methods that need experts then want a list of them, in the same order.
      optimizer: of the pixels. None for the paper's, which is SGD with the settings learning_rate
        and momentum unless the method's file has another OPTIMIZER; one of OPTIMIZERS by name, with
        the setting learning_rate; or an optax transformation, for instance optax.adam(0.01).
      **settings: fields of the method's Config.

    Raises:
      UserError: an unknown method, setting or optimiser, or a value that makes no sense.
    """
    module = _module(name)
    fields = [field.name for field in dataclasses.fields(module.Config)]
    for option in settings:
        if option not in fields:
            others = ", ".join(other for other in METHODS if option in setting_types(other))
            raise UserError(
                f"{name} has no setting {option!r}{f' (one of {others})' if others else ''}; it "
                f"has {', '.join(fields)}."
            )
    several = list(network) if isinstance(network, list | tuple) else [network]
    for one in several:
        checks.instance("the network", one, nn.Module, hint="networks.create makes one")
    if not several:
        raise UserError("a method needs a network; networks.create makes one.")
    made = module.Config(**settings)
    checks.fields(made, name)
    augment.parse(made.augmentation)
    usual = optimizers.resolve(optimizer, usual_optimizer(name))
    found = [module.create(made, one, usual) for one in several]
    return in_turns(found) if len(found) > 1 else found[0]


def usual_optimizer(name: str) -> Optimizer:
    """Return the optimiser of a method where none is asked for: OPTIMIZER of its file, or SGD."""
    found: Optimizer = getattr(_module(name), "OPTIMIZER", optimizers.SGD)
    return found


def config_of(name: str, settings: Json) -> base.Config:
    """Return a method's Config of settings as `create` takes them, the optimiser left out."""
    found: base.Config = _module(name).Config(
        **{k: v for k, v in settings.items() if k != "optimizer"}
    )
    return found


def without_flips(method: Method) -> Method:
    """Return a method that never mirrors images, for data where that changes the label.

    Methods that are not in METHODS, or do not mirror, are returned as they are.
    """
    if method.turns:
        return in_turns([without_flips(own) for own in method.turns])
    augmentation = getattr(method.config, "augmentation", "")
    if method.name not in METHODS or method.network is None:
        return method
    if "flip" not in augment.parse(augmentation):
        return method
    kept = augment.without(augmentation, "flip")
    config = dataclasses.replace(method.config, augmentation=kept)
    return METHODS[method.name].create(config, method.network, method.optimizer)


STEPS = 10_000
"""Iterations of a method whose file states none."""
PROTOCOL = "dance"
"""The protocol of sets by methods that state none, coresets among them."""


def paper(name: str, dataset: DatasetLike, ipc: int) -> Paper:
    """Return how a method's paper runs it.

    Args:
      name: a method's name.
      dataset: a data set, or `DatasetFacts` of one.
      ipc: stored images per class.

    Returns:
      The published settings. For a method whose file has no function `paper`, its Config's
      defaults: `STEPS` iterations from real images, marked `published=False`.

    Raises:
      UserError: an unknown method.
    """
    module = _module(name)
    if hasattr(module, "paper"):
        return module.paper(dataset, ipc)
    return Paper(
        steps=STEPS,
        settings=unmirrored(module.Config().augmentation, dataset),
        init="real",
        protocol=PROTOCOL,
        title=names.clean(name).upper(),
        published=False,
    )


def protocol_of(name: str) -> str:
    """Return the evaluation protocol of a method's paper; DANCE's for any other name."""
    return paper(name, DatasetFacts(), 1).protocol if name in METHODS else PROTOCOL


def title(name: str) -> str:
    """Return the name of a method or coreset as people write it; clean, where it is unknown."""
    return paper(name, DatasetFacts(), 1).title if name in METHODS else names.coreset(name)


def needs_experts(name: str) -> bool:
    """Whether a method needs a pool of experts: NEEDS_EXPERTS of its file, which may lack it."""
    return bool(getattr(_module(name), "NEEDS_EXPERTS", False))


def needs_trajectories(name: str) -> bool:
    """Whether a method needs its experts' parameters after every epoch, by NEEDS_TRAJECTORIES of
    its file, which may lack it."""
    return bool(getattr(_module(name), "NEEDS_TRAJECTORIES", False))


def cpu_settings(name: str, batch_real: int) -> Json:
    """Return the settings that a method's `cpu_settings`, where its file has it, gives for a CPU.

    Args:
      name: a method's name.
      batch_real: real images per class in an iteration, chosen for the machine.

    Raises:
      UserError: an unknown method.
    """
    module = _module(name)
    if not hasattr(module, "cpu_settings"):
        return {}
    return module.cpu_settings(batch_real)


def _module(name: str) -> ModuleType:
    """A method's module; raises UserError for an unknown name."""
    if name not in METHODS:
        raise UserError(
            f"unknown method {name!r}; choose one of {', '.join(METHODS)}.{meant(name, METHODS)}"
        )
    return METHODS[name]
