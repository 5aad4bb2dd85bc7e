"""Condensed sets on several networks: a part for each set on each network."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from dancejax.applications import cross, loads
from dancejax.applications.programs.base import Maker, Part, Program, Values, folder_of
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.runs import Run
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Cross(Program):
    """A table as a `programs.base.Program`; folders: of its sets, by label."""

    settings: cross.Settings
    folders: Mapping[str, Path]
    run: Run
    say: Say = quiet

    def parts(self) -> list[Part]:
        found = []
        for cell in cross.cells(self.settings):
            changes: Values = {
                "condensed": [self.folders[cell.label].absolute()],
                "networks": [cell.network],
            }
            own = folder_of(self.run.folder) / cell.name
            found.append(Part(cell.name, own, changes, "result.json"))
        return found

    def make_all(self, begin: Begin) -> str:
        return cross.table(cross.evaluate(self.settings, run=self.run, say=self.say, begin=begin))

    def check(self) -> None:
        cross.prepare(self.settings, run=self.run)

    def collect(self) -> str:
        folder = folder_of(self.run.folder)
        rows = cross.finished(self.settings, folder)
        if not rows:
            return ""
        cross.write(rows, folder)
        return cross.table(rows)

    def maker(self, names: Sequence[str]) -> Maker:
        job = cross.prepare(self.settings, run=self.run)
        cells = {cell.name: cell for cell in cross.cells(self.settings)}
        return lambda name: cross.carry_out(job, cells[name])

    def describe(self, name: str, result: Json) -> str:
        return f"{result['accuracy_mean']:.1f} %"

    def plan(self) -> tuple[str, loads.Loads]:
        return "", loads.of_cross(cross.prepare(self.settings, run=self.run))
