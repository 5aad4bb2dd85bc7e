"""Flags for the settings of methods, and what was given of them by hand."""

from __future__ import annotations

from absl import flags

from dancejax import methods, registries
from dancejax.types import Json

from . import flagtypes, settings, usage

FLAGS = flags.FLAGS


@usage.section("Method")
def define() -> None:
    """A flag for each setting of the methods."""
    meanings: dict[str, str] = {}
    limits: dict[str, dict[str, float]] = {}
    for method in registries.METHODS:
        meanings |= methods.setting_meanings(method)
        limits |= methods.setting_limits(method)
    for name, (kind, users) in fields().items():
        every = {user: methods.setting_defaults(user).get(name) for user in users}
        defaults = {user: settings.plain(value) for user, value in every.items()}
        usage.setting(name, meanings[name], defaults)
        whose = "" if len(users) == len(registries.METHODS) else f"{', '.join(users)}: "
        help_text = f"{whose}{meanings[name]} (default: the preset's{usual(defaults)})"
        if kind is bool:
            flags.DEFINE_bool(name, None, help_text)
        elif kind is int:
            least = int(limits[name].get("least", 1))
            flags.DEFINE_integer(name, None, help_text, lower_bound=least)
        elif kind is float:
            flagtypes.define_number(name, None, help_text, **(limits[name] or {"above": 0}))
        else:
            flags.DEFINE_string(name, None, help_text)
    flags.DEFINE_enum(
        "optimizer",
        None,
        list(registries.OPTIMIZERS),
        "of the pixels, with the method's learning rate (default: the paper's, SGD with momentum, "
        "for ncfm AdamW, for dancejax Adam with a rate that falls)",
    )
    flags.DEFINE_integer(
        "class_chunk",
        None,
        "classes at once, which bounds the memory and changes nothing else",
        lower_bound=1,
    )


def usual(defaults: dict[str, object]) -> str:
    """What a setting is where no preset says otherwise, by method, as help names it."""
    known = {name: value for name, value in defaults.items() if value is not None}
    if len(known) == len(defaults) and len(set(known.values())) == 1:
        return f", else {next(iter(known.values()))}"
    listing = ", ".join(f"{value} for {name}" for name, value in known.items())
    return f", else {listing}" if known else ""


def read() -> Json:
    """The settings of methods that were given by hand."""
    names = (*fields(), "optimizer")
    return {name: FLAGS[name].value for name in names if FLAGS[name].present}


def fields() -> dict[str, tuple[type, list[str]]]:
    """The settings of all methods: name -> (type, methods that have it)."""
    found: dict[str, tuple[type, list[str]]] = {}
    for method in registries.METHODS:
        for name, kind in methods.setting_types(method).items():
            found.setdefault(name, (kind, []))[1].append(method)
    return found
