"""Class-incremental learning: the experts of each order, and each method in each order."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dancejax.applications import continual, loads
from dancejax.applications.programs.base import Maker, Part, Program, Values, folder_of
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.data.dataset import Dataset
from dancejax.runs import Run
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Continual(Program):
    """Continual learning as a `programs.base.Program`."""

    settings: continual.Settings
    run: Run
    say: Say = quiet

    def parts(self) -> list[Part]:
        folder, found = folder_of(self.run.folder), list[Part]()
        for order in range(self.settings.orders):
            experts = _experts_name(order)
            if self.settings.experts_needed:
                own = folder / continual.experts_folder(order)
                found.append(Part(experts, own, {"orders": [order + 1]}, continual.EXPERTS))
            for name, part in self._courses(order).items():
                after = (experts,) if self.settings.experts_of(part.method) else ()
                own = folder / part.name
                found.append(Part(name, own, _changes(part), continual.COURSE, after))
        return found

    def _courses(self, order: int) -> dict[str, continual.Part]:
        """The methods in an order, by the names of their parts."""
        own = [part for part in self.settings.parts() if part.order == order]
        return {f"order-{order}-{part.method}": part for part in own}

    def make_all(self, begin: Begin) -> str:
        return self._shown(continual.learn(self.settings, run=self.run, say=self.say, begin=begin))

    def check(self) -> Dataset:
        return self._prepared().train

    def collect(self) -> str:
        job = continual.prepare(self.settings, run=self.run)
        courses = continual.finished(job)
        if not courses:
            return ""
        result = continual.result_of(job, courses)
        result.write(folder_of(self.run.folder))
        return self._shown(result)

    def _shown(self, result: continual.Result) -> str:
        self.say(f"curve: {(self.run.folder or Path()) / 'curve.png'}")
        return result.table()

    def maker(self, names: Sequence[str]) -> Maker:
        job, orders = self._prepared(), range(self.settings.orders)
        experts = {_experts_name(order): order for order in orders}
        courses = {name: part for order in orders for name, part in self._courses(order).items()}

        def make(name: str) -> str | None:
            if name in experts:
                continual.ready_experts(job, experts[name], say=self.say)
                return None
            course = continual.carry_out(job, courses[name], say=self.say)
            return continual.result_of(job, [course]).table()

        return make

    def describe(self, name: str, result: Json) -> str:
        if "experts" in result:
            return f"{result['experts']} experts a step"
        course = continual.Course.from_json(result)
        finals = [course.curve(number)[-1] for number in range(course.networks)]
        return f"{sum(finals) / len(finals):.1f} %"

    def plan(self) -> tuple[str, loads.Loads]:
        job = self._prepared()
        return continual.plan(job), loads.of_continual(job)

    def _prepared(self) -> continual.Job:
        return continual.prepare(self.settings, run=self.run, say=self.say)


def _experts_name(order: int) -> str:
    return f"order-{order}-experts"


def _changes(part: continual.Part) -> Values:
    whole = part.method == continual.WHOLE
    bound: Values = {} if whole else {"upper_bound": [], "whole_epochs": []}
    return {
        "orders": [part.order + 1],
        "methods": ["random" if whole else part.method],  # random: no part of the upper bound
        **bound,
    }
