"""The settings of the analyses; flags are made of them before an analysis is imported."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from dancejax import checks, registries
from dancejax.errors import UserError
from dancejax.methods.settings import setting as setting


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of an analysis that has none."""


class Setting(NamedTuple):
    """A setting of an analysis: its type, what it means, and its default."""

    kind: type
    meaning: str
    default: int | float | None


def settings_of(config: type) -> dict[str, Setting]:
    """Return the settings of an analysis by name."""
    hints = typing.get_type_hints(config)
    found = {}
    for field in dataclasses.fields(config):
        options = typing.get_args(hints[field.name]) or (hints[field.name],)
        kind = next(kind for kind in options if kind is not type(None))
        found[field.name] = Setting(kind, field.metadata["meaning"], field.default)  # type: ignore[arg-type]
    return found


def check_config(config: object, owner: str, *, least: Mapping[str, int] | None = None) -> None:
    """Raise UserError for settings that make no sense.

    Args:
      config: a dataclass; its whole numbers are at least 1.
      owner: the analysis, for the sentence.
      least: the smallest value of whole numbers that may be below or have to be above 1.
    """
    checks.fields(config, owner)
    for name, value in vars(config).items():
        if isinstance(value, int):
            checks.whole(f"{name} of {owner}", value, (least or {}).get(name, 1))


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """Settings of `discrepancy.measure`."""

    networks: int = setting(3, "networks to train")

    def __post_init__(self) -> None:
        check_config(self, "discrepancy")


@dataclasses.dataclass(frozen=True)
class Moments:
    """Settings of `moments.measure`."""

    networks: int = setting(10, "random networks")
    per_class: int | None = setting(None, "real images of each class at most")

    def __post_init__(self) -> None:
        check_config(self, "moments")


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Settings of `consistency.measure`."""

    neighbours: int = setting(50, "most neighbours that are looked at")
    networks: int = setting(3, "random networks, and trained ones at most")
    per_class: int | None = setting(None, "real images of each class at most")

    def __post_init__(self) -> None:
        check_config(self, "consistency")


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """Settings of `interpolation.measure`."""

    lambda_steps: int = setting(20, "steps of lambda from 0, the expert, to 1, its initialisation")

    def __post_init__(self) -> None:
        check_config(self, "interpolation")


@dataclasses.dataclass(frozen=True)
class Density:
    """Settings of `density.measure`."""

    class_number: int = setting(0, "number of the class whose features are shown, from 0")
    per_class: int | None = setting(None, "real images of each class at most")

    def __post_init__(self) -> None:
        check_config(self, "density", least={"class_number": 0})


@dataclasses.dataclass(frozen=True)
class Tsne:
    """Settings of `tsne.measure`."""

    classes: int = setting(3, "the first so many classes")
    per_class: int = setting(1000, "real images of each class at most")
    perplexity: float = setting(
        30.0, "effective number of neighbours, at most a third of the points"
    )

    def __post_init__(self) -> None:
        check_config(self, "tsne")
        if not self.perplexity > 0:
            raise UserError(f"perplexity of tsne must be positive, not {self.perplexity}.")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Settings of `cost.measure`."""

    target_accuracy: float | None = setting(
        None,
        "percent, to which the time is told where kept sets were evaluated; by default the highest "
        "that all of them reach",
    )

    def __post_init__(self) -> None:
        check_config(self, "cost")


def setting_users() -> dict[str, dict[str, Setting]]:
    """Return the settings of all analyses: name -> analysis -> the setting."""
    found: dict[str, dict[str, Setting]] = {}
    for owner in registries.ANALYSES:
        config: Any = registries.ANALYSES.settings(owner) or registries.ANALYSES[owner].config
        for name, own in settings_of(config).items():
            found.setdefault(name, {})[owner] = own
    return found
