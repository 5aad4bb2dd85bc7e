"""What the settings of methods are, and the tables that vary them: all that flags are made of."""

import dataclasses
import typing
from typing import Any

from dancejax import registries
from dancejax.methods.settings import Ablation
from dancejax.types import Json


def _file(name: str) -> Any:
    """What has a method's Config: its file of settings, or the module that was put in by name."""
    return registries.METHODS.settings(name) or registries.METHODS[name]


def ablations(name: str) -> dict[str, Ablation]:
    """Return the tables of the papers that vary a method, by name: ABLATIONS of its file, which may
    lack it."""
    return dict(getattr(_file(name), "ABLATIONS", {}))


def setting_types(name: str) -> dict[str, type]:
    """Return the settings of a method, the fields of its Config, with the type of each."""
    config = _file(name).Config
    hints = typing.get_type_hints(config)
    kinds = {}
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        options = typing.get_args(hint) or (hint,)
        kinds[field.name] = next(kind for kind in options if kind is not type(None))
    return kinds


def setting_defaults(name: str) -> dict[str, Any]:
    """Return what each setting of a method is where no paper says otherwise; None left out."""
    fields = dataclasses.fields(_file(name).Config)
    values = {field.name: field.default for field in fields}
    return {k: v for k, v in values.items() if v is not None and v is not dataclasses.MISSING}


def setting_meanings(name: str) -> dict[str, str]:
    """Return what each setting of a method means, in a line; "" where its Config does not say."""
    return {field: about.get("meaning", "") for field, about in _setting_metadata(name).items()}


def setting_limits(name: str) -> dict[str, dict[str, float]]:
    """Return the limits of each setting of a method; {} where its Config gives none."""
    return {field: about.get("limits", {}) for field, about in _setting_metadata(name).items()}


def _setting_metadata(name: str) -> dict[str, Json]:
    """What `base.setting` says of each setting, by those that a Config only gives a new default."""
    found: dict[str, Json] = {}
    for kind in reversed(_file(name).Config.__mro__):
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                found[field.name] = {**found.get(field.name, {}), **field.metadata}
    return found
