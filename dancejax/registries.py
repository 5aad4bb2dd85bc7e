"""What has a name: methods, optimisers, networks, coresets, analyses, imported when it is used.

Flags are declared by the names alone. Something new is a file, and a line here; a program of one's
own adds to the same tables (`methods.METHODS["mine"] = module`).
"""

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

from dancejax.errors import UserError
from dancejax.types import Json

T = TypeVar("T")


def fetch(place: str) -> Any:
    """Import what a place names, "package.module" or "package.module:attribute"."""
    module, _, attribute = place.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


class Registry(MutableMapping[str, T], Generic[T]):
    """Things by name, imported when they are asked for.

    Names, their order and `in` import nothing. What is put in replaces what was listed.

    Args:
      places: where each is, as `fetch` takes it.
      settings: where the settings of each are, in a module that needs little.
    """

    def __init__(self, places: Mapping[str, str], settings: Mapping[str, str] | None = None):
        self._places: dict[str, str | None] = dict(places)
        self._found: dict[str, T] = {}
        self._settings = dict(settings or {})

    def __getitem__(self, name: str) -> T:
        if name not in self._found and (place := self._places[name]) is not None:
            self._found[name] = fetch(place)
        return self._found[name]

    def __setitem__(self, name: str, value: T) -> None:
        self._places[name] = None
        self._settings.pop(name, None)
        self._found[name] = value

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._found.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def settings(self, name: str) -> object | None:
        """Return the settings of what was listed; None for what has no place for them."""
        return fetch(self._settings[name]) if name in self._settings else None


_OF_METHODS = "dancejax.methods"
_METHODS = {
    "dm": "dm",
    "idm": "idm",
    "m3d": "m3d",
    "dance": "dance",
    "ncfm": "ncfm",
    "tgdd": "tgdd",
    "dancejax": "own",
}
METHODS: Registry[Any] = Registry(
    {name: f"{_OF_METHODS}.{file}" for name, file in _METHODS.items()},
    {name: f"{_OF_METHODS}.settings.{file}" for name, file in _METHODS.items()},
)
"""Methods: a module each, with its Config in the file of that name in settings, or in itself."""

OPTIMIZERS: Registry[Any] = Registry(
    {
        "sgd": "dancejax.methods.optimizers:SGD",
        "adam": "dancejax.methods.optimizers:ADAM",
        "adamw": "dancejax.methods.optimizers:ADAMW",
        "rmsprop": "dancejax.methods.optimizers:RMSPROP",
    }
)
"""Optimisers of the pixels, with the method's learning rate."""

NETWORKS: Registry[Any] = Registry(
    {
        "convnet": "dancejax.networks.architectures:CONVNET",
        "alexnet": "dancejax.networks.architectures:ALEXNET",
        "vgg11": "dancejax.networks.architectures:VGG",
        "resnet10": "dancejax.networks.architectures:RESNET10",
        "resnet18": "dancejax.networks.architectures:RESNET18",
        "resnetap10": "dancejax.networks.architectures:RESNETAP10",
        "densenet121": "dancejax.networks.architectures:DENSENET121",
    }
)
"""Networks, each an `Architecture`."""

CORESETS: Registry[Any] = Registry(
    {
        "random": "dancejax.coreset:RANDOM",
        "herding": "dancejax.coreset:HERDING",
        "kcenter": "dancejax.coreset:KCENTER",
        "kmeans": "dancejax.coreset:KMEANS",
        "forgetting": "dancejax.coreset:FORGETTING",
        "forgetting_least": "dancejax.coreset:FORGETTING_LEAST",
    }
)
"""Ways to choose real images, each a `Coreset`."""

_ANALYSES = {
    "discrepancy": "Discrepancy",
    "moments": "Moments",
    "consistency": "Consistency",
    "interpolation": "Interpolation",
    "expert_accuracy": "NoSettings",
    "density": "Density",
    "tsne": "Tsne",
    "cost": "Cost",
}
ANALYSES: Registry[Any] = Registry(
    {name: f"dancejax.analysis.{name}:ANALYSIS" for name in _ANALYSES},
    {name: f"dancejax.analysis.settings:{config}" for name, config in _ANALYSES.items()},
)
"""Analyses, each an `Analysis`, with its settings."""


def parse_network(text: str) -> tuple[str, Json]:
    """Parse a network written as "resnet18:width=16:norm=batch".

    Returns:
      (name, options) for `networks.create`, which checks them.

    Raises:
      UserError: the text is not of this form.
    """
    name, *parts = text.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        option, equals, value = part.partition("=")
        if not (option and equals and value):
            raise UserError(f"{part!r} in {text!r} is not an option; write NAME:OPTION=VALUE.")
        options[option] = int(value) if value.isdecimal() else value
    return name, options
