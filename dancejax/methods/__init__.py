"""Condensation methods by name. A new method is a file here and a line in METHODS."""

import dataclasses
import typing
from types import ModuleType
from typing import Any

import flax.linen as nn

from dancejax import augment, checks
from dancejax.errors import UserError
from dancejax.methods import dance, dm, idm, m3d
from dancejax.methods.base import Context, Method, State

__all__ = [
    "METHODS",
    "Context",
    "Method",
    "State",
    "create",
    "setting_meanings",
    "setting_types",
    "without_flips",
]

METHODS: dict[str, ModuleType] = {"dm": dm, "idm": idm, "m3d": m3d, "dance": dance}


def create(name: str, *, network: nn.Module, **config: Any) -> Method:
    """Makes a method by name for a network; `config` sets fields of the method's Config.

    Raises UserError for an unknown method, field or value.
    """
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}.")
    module = METHODS[name]
    fields = [field.name for field in dataclasses.fields(module.Config)]
    for option in config:
        if option not in fields:
            raise UserError(f"{name} has no setting {option!r}; it has {', '.join(fields)}.")
    checks.instance("the network", network, nn.Module, hint="networks.create makes one")
    made = module.Config(**config)
    checks.fields(made, name)
    augment.parse(made.augmentation)
    return module.create(made, network)


def without_flips(method: Method) -> Method:
    """A method by name that never mirrors images, for data where that changes the label.

    Methods that are not in METHODS, or do not mirror, come back as they are.
    """
    augmentation = getattr(method.config, "augmentation", "")
    if method.name not in METHODS or method.network is None:
        return method
    if "flip" not in augment.parse(augmentation):
        return method
    kept = augment.without(augmentation, "flip")
    config = dataclasses.replace(method.config, augmentation=kept)
    return METHODS[method.name].create(config, method.network)


def setting_types(name: str) -> dict[str, type]:
    """The settings of a method, the fields of its Config, with the type of each."""
    module = METHODS[name]
    hints = typing.get_type_hints(module.Config)
    kinds = {}
    for field in dataclasses.fields(module.Config):
        hint = hints[field.name]
        options = typing.get_args(hint) or (hint,)
        kinds[field.name] = next(kind for kind in options if kind is not type(None))
    return kinds


def setting_meanings(name: str) -> dict[str, str]:
    """What each setting of a method means, in a line; empty where its Config does not say."""
    found: dict[str, str] = {}
    for kind in reversed(METHODS[name].Config.__mro__):
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                meaning = field.metadata.get("meaning", found.get(field.name, ""))
                found[field.name] = meaning
    return found
