"""Whether a grid's cells can be made, and whether what its folder holds was made as they ask."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flax.linen as nn

from dancejax import condensed, coreset, initialisation, methods, records
from dancejax.applications import pool
from dancejax.applications.cell import Cell, plan_of
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.methods import Method
from dancejax.runs import integrity
from dancejax.training import experts
from dancejax.types import Json

if TYPE_CHECKING:
    from dancejax.applications.grid import Grid, Settings


def check(
    settings: "Settings", cells: Sequence[Cell], dataset: Dataset, network: nn.Module
) -> None:
    """Raise UserError if a cell cannot be made, or the pool that is given does not serve them."""
    for cell in cells:
        coreset.check_ipc(dataset, cell.ipc)
        if cell.method in methods.METHODS:
            config = plan_of(cell, dataset, settings.steps, settings.config).settings
            method = methods.create(cell.method, network=network, **config)
            initialisation.initial_pixels(dataset, cell.ipc, method.factor)
    most = max(map(settings.experts_of, cells), default=0)
    if most:
        pool.check(settings.experts, settings.network, dataset, most)


def check_there(cells: Sequence[Cell], grid: "Grid") -> None:
    """Compare the experts and the finished sets of a grid's folder with what is asked for.

    A set that is damaged is no obstacle here: it is one when its cell is made.

    Raises:
      UserError: something was made otherwise; nothing is written.
    """
    if grid.own_experts:
        own, seed = grid.settings.experts, grid.settings.seed
        pool.check_begun(grid.train, grid.network, own, grid.expert_dir, seed=seed)
    for cell in cells:
        folder = cell.folder(grid.folder)
        condensed.check_place(folder / "condensed")
        if (folder / "condensed" / "manifest.json").exists():
            with contextlib.suppress(integrity.DamagedError):
                check_made(condensed.load(folder / "condensed"), cell, grid, folder)


def check_made(made: CondensedSet, cell: Cell, grid: "Grid", folder: Path) -> None:
    """Raise UserError if a finished set was made otherwise than its cell asks for."""
    settings, dataset = grid.settings, grid.train
    wanted: dict[str, Any] = {"ipc": cell.ipc}
    if cell.method in methods.METHODS:
        plan = plan_of(cell, dataset, settings.steps, settings.config)
        method = methods.create(cell.method, network=grid.network, **plan.settings)
        wanted |= method.settings(cell.ipc, dataset.image_shape)
        wanted |= {"steps": plan.steps, "seed": cell.seed, "init": plan.init}
        wanted |= _made_with(cell, method, grid)
    elif coreset.CORESETS[cell.method].needs == "experts":
        wanted |= _experts(grid, 1)
    known = {name: made.settings[name] for name in wanted if name in made.settings}
    integrity.check_same(
        {"settings": known, "data set": made.source["fingerprint"]},
        {"settings": wanted, "data set": dataset.fingerprint},
        folder,
        missing=records.EARLIER,
        ignored=("settings.class_chunk",),
    )


def expert_count(cell: Cell, grid: "Grid") -> int | None:
    """How many experts of the pool a method's cell is made with; None: all."""
    return cell.settings().get("experts", grid.settings.experts.used)


def _made_with(cell: Cell, method: Method, grid: "Grid") -> Json:
    """The network and the experts of a cell, as its set records them (`records.settings_of`)."""
    if not method.needs_experts:
        return records.settings_of(method, None)
    return _experts(grid, expert_count(cell, grid))


def _experts(grid: "Grid", count: int | None) -> Json:
    """What a set records of so many experts of the pool (None: all); nothing without the pool."""
    if not (grid.expert_dir / "pool.json").exists():
        return {}
    about = experts.read_description(grid.expert_dir)
    number = count or experts.finished(grid.expert_dir)
    return {"network": about["network"], "experts": experts.settings(about, number)}
