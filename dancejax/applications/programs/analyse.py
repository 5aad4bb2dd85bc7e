"""Analyses of condensed sets: the experts, if they are trained here, and a part for each."""

import dataclasses
from collections.abc import Sequence

from dancejax import analysis, registries, runs
from dancejax.applications import analyse, loads
from dancejax.applications.programs.base import Maker, Part, Program, Values, folder_of
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.choices import EXPERTS
from dancejax.data.dataset import Dataset
from dancejax.runs import Run
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Analyse(Program):
    """Analyses as a `programs.base.Program`."""

    settings: analyse.Settings
    run: Run
    say: Say = quiet

    @property
    def about(self) -> Json:
        return {"analyses": self.settings.analyses, "sets": [*self.settings.folders]}

    def parts(self) -> list[Part]:
        settings, folder = self.settings, folder_of(self.run.folder)
        sets = ",".join(str(path.absolute()) for path in settings.folders.values())
        found = []
        if settings.own_experts:
            changes: Values = {"condensed": [sets]}
            found.append(Part(EXPERTS, folder / EXPERTS, changes, "result.json"))
        users = analysis.setting_users()
        for name in settings.analyses:
            others: Values = {n: [] for n in users if name not in users[n]}
            changes = {"condensed": [sets], **others, "analyses": [name]}
            needed = settings.own_experts and "experts" in registries.ANALYSES[name].needs
            after = (EXPERTS,) if needed else ()
            found.append(Part(name, folder / name, changes, analyse.RESULT, after))
        return found

    def make_all(self, begin: Begin) -> str:
        return analyse.summary(
            analyse.analyse(self.settings, run=self.run, say=self.say, begin=begin)
        )

    def check(self) -> Dataset:
        return analyse.prepare(self.settings, run=self.run).material.train

    def collect(self) -> str:
        folder = folder_of(self.run.folder)
        paths = {name: folder / name / analyse.RESULT for name in self.settings.analyses}
        found = {name: runs.read_json(path) for name, path in paths.items() if path.exists()}
        return analyse.summary(found)

    def maker(self, names: Sequence[str]) -> Maker:
        job = analyse.prepare(self.settings, run=self.run)

        def make(name: str) -> str | None:
            if name == EXPERTS:
                analyse.train_experts(job, self.say)
                return None
            found = analyse.carry_out(analyse.check_experts(job, name), name, self.say)
            return analyse.summary({name: found})

        return make

    def describe(self, name: str, result: Json) -> str:
        if name == EXPERTS:
            return f"{result['experts']} experts, {result['accuracy_mean']:.1f} %"
        return str(result["summary"])

    def plan(self) -> tuple[str, loads.Loads]:
        return "", loads.of_analyses(analyse.prepare(self.settings, run=self.run))
