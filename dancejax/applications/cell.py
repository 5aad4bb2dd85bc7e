"""A cell of a grid: a method with a variant of its settings, or a coreset."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancejax import coreset, methods
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Paper
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of the grid: a method or coreset, images per class, seed.

    variant: settings of the method that differ from the rest of the grid, "name=value,name=value";
    beside the fields of its Config, "iterations", and "experts" for how many of the pool it uses.
    """

    method: str
    ipc: int
    seed: int = 0
    variant: str = ""

    def __post_init__(self) -> None:
        known = (*methods.METHODS, *coreset.CORESETS)
        if self.method not in known:
            raise UserError(f"unknown method {self.method!r}; choose among {', '.join(known)}.")
        self.settings()

    @property
    def name(self) -> str:
        """Of its folder below the grid's."""
        variant = f"-{self.variant.replace(',', '-')}" if self.variant else ""
        return f"{self.method}-ipc{self.ipc}-seed{self.seed}{variant}"

    def folder(self, workdir: Path) -> Path:
        """Its folder below the grid's."""
        return workdir / self.name

    def experts_needed(self, usual: int) -> int:
        """How many experts it uses; usual: where its variant does not say."""
        if self.method in coreset.CORESETS:
            return int(coreset.CORESETS[self.method].needs == "experts")
        needed = methods.needs_experts(self.method)
        return int(self.settings().get("experts", usual)) if needed else 0

    def settings(self) -> Json:
        """The variant's settings by name; raises UserError for one that the method has not."""
        found = {}
        types = setting_types(self.method)
        for part in filter(None, self.variant.split(",")):
            name, _, text = part.partition("=")
            if name not in types:
                raise UserError(
                    f"{self.method} has no setting {name!r}; it has {', '.join(types) or 'none'}."
                )
            found[name] = _parse_setting(name, text, types[name])
            if name in ("experts", "iterations") and found[name] < 1:
                raise UserError(f"{name} must be at least 1, not {text}.")
        return found


def setting_types(method: str) -> dict[str, type]:
    """What a variant can set of a method or coreset, with the types."""
    if method not in methods.METHODS:
        return {}
    types = {**methods.setting_types(method), "optimizer": str, "iterations": int}
    return {**types, "experts": int} if methods.needs_experts(method) else types


def variants_of(method: str, variants: Sequence[str]) -> list[str]:
    """Those of the variants that are a method's: "METHOD:name=value,..." are of that one alone,
    others of all that have the settings."""
    types = setting_types(method)

    def fits(variant: str) -> bool:
        return all(part.partition("=")[0] in types for part in variant.split(","))

    found = []
    for variant in variants:
        whose, colon, own = variant.rpartition(":")
        if own and (whose == method if colon else fits(own)):
            found.append(own)
    return found


def _parse_setting(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise UserError(f"{name} must be {wanted}, not {text!r}.") from error


def plan_of(cell: Cell, dataset: Dataset, steps: int | None, settings: Json) -> Paper:
    """Iterations and settings of a cell: the paper's, the grid's over them, then the variant's."""
    published = methods.paper(cell.method, dataset, cell.ipc)
    types = setting_types(cell.method)
    given = {**settings, **cell.settings()}
    others = ("experts", "iterations")
    own = {name: value for name, value in given.items() if name in types and name not in others}
    found = {**published.settings, **own}
    steps = cell.settings().get("iterations", steps or published.steps)
    return dataclasses.replace(published, steps=steps, settings=found)
