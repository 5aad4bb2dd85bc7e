"""A grid of methods, IPCs and seeds: the experts, and a part for each cell."""

import dataclasses
from collections.abc import Sequence

from dancejax.applications import grid, grid_check, grid_table, loads
from dancejax.applications.cell import Cell
from dancejax.applications.programs.base import Maker, Part, Program, Values, folder_of
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.choices import EXPERTS
from dancejax.data.dataset import Dataset
from dancejax.runs import Run
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Sweep(Program):
    """A grid as a `programs.base.Program`."""

    settings: grid.Settings
    run: Run
    say: Say = quiet

    def parts(self) -> list[Part]:
        settings, folder = self.settings, folder_of(self.run.folder)
        found = []
        if settings.own_experts:
            found.append(Part(EXPERTS, folder / EXPERTS, {}, "result.json"))
        for cell in settings.cells():
            needed = settings.own_experts and settings.experts_of(cell) > 0
            after = (EXPERTS,) if needed else ()
            own = cell.folder(folder)
            found.append(Part(cell.name, own, self._changes(cell), grid_table.ROW, after))
        return found

    def _changes(self, cell: Cell) -> Values:
        epochs = self.settings.evaluation_of(cell.ipc).epochs
        return {
            "methods": [cell.method],
            "ipcs": [cell.ipc],
            "seeds": [cell.seed],
            "variant": [f"{cell.method}:{cell.variant}"] if cell.variant else [],
            "epochs": [] if epochs is None else [epochs],
            "ablation": [],
        }

    def make_all(self, begin: Begin) -> str:
        return grid_table.table(grid.sweep(self.settings, run=self.run, say=self.say, begin=begin))

    def check(self) -> Dataset:
        return self._checked().train

    def collect(self) -> str:
        rows = grid_table.write(folder_of(self.run.folder), self.settings.cells(), self.say)
        return grid_table.table(rows) if rows else ""

    def maker(self, names: Sequence[str]) -> Maker:
        by_name = {cell.name: cell for cell in self.settings.cells()}
        opened = self._opened([by_name[name] for name in names if name in by_name])

        def make(name: str) -> Json | None:
            if name == EXPERTS:
                grid.make_experts(opened, self.say)
                return None
            grid.check_experts(by_name[name], opened)
            return grid.complete(by_name[name], opened)

        return make

    def describe(self, name: str, result: Json) -> str:
        return f"{result['accuracy_mean']:.1f} %"

    def plan(self) -> tuple[str, loads.Loads]:
        return "", loads.of_grid(self._checked())

    def _checked(self) -> grid.Grid:
        """The whole grid, what its folder holds compared with what is asked for."""
        cells = self.settings.cells()
        opened = self._opened(cells)
        grid_check.check_there(cells, opened)
        return opened

    def _opened(self, cells: Sequence[Cell]) -> grid.Grid:
        return grid.open_grid(self.settings, cells, run=self.run, say=self.say)
