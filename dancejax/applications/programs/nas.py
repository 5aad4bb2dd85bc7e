"""Architecture search: the coresets, a part for each network, and what is chosen among them."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from dancejax.applications import loads, nas, spaces
from dancejax.applications.programs.base import Maker, Part, Program, Values, folder_of
from dancejax.applications.settings import Begin, Say, quiet
from dancejax.choices import CHOSEN, PROXIES
from dancejax.data.dataset import Dataset
from dancejax.runs import Run
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Nas(Program):
    """A search as a `programs.base.Program`; folders: of its sets."""

    settings: nas.Settings
    folders: Sequence[Path]
    run: Run
    say: Say = quiet

    def parts(self) -> list[Part]:
        settings, folder = self.settings, folder_of(self.run.folder)
        joined = ",".join(str(path.absolute()) for path in self.folders)
        sets: Values = {"condensed": [joined]} if joined else {}
        apart: Values = {"top_share": [], "resamples": []}
        first: list[Part] = []
        if settings.coresets:
            changes: Values = {**sets, **apart, "whole": [], "whole_epochs": []}
            first = [Part(PROXIES, folder / PROXIES, changes, nas.RECORD)]
        after = tuple(part.name for part in first)
        base = folder / nas.NETWORKS
        every = [
            Part(name, base / name, {**sets, "space": [space], **apart}, nas.RECORD, after)
            for name, space in self._networks().items()
        ]
        last: list[Part] = []
        if not settings.whole:
            names = tuple(part.name for part in every)
            last = [Part(CHOSEN, folder / CHOSEN, sets, nas.RECORD, names)]
        return [*first, *every, *last]

    def _networks(self) -> dict[str, str]:
        """Each network of the space as a space of its own, by the name of its folder."""
        found = {}
        for options in spaces.members(spaces.parse(self.settings.space)):
            name = spaces.name_of(self.settings.network.chosen, options)
            own = spaces.describe({option: (value,) for option, value in options.items()})
            found[spaces.folder_of(name)] = own
        return found

    def make_all(self, begin: Begin) -> str:
        return self._shown(nas.search(self.settings, run=self.run, say=self.say, begin=begin))

    def check(self) -> Dataset:
        return self._prepared().train

    def collect(self) -> str:
        found = nas.Search(nas.prepare(self.settings, run=self.run))
        if not found.read():
            return ""
        found.result().write(folder_of(self.run.folder))
        return self._shown(found.result())

    def _shown(self, result: nas.Result) -> str:
        self.say(f"all networks: {(self.run.folder or Path()) / 'ranking.csv'}")
        return result.table()

    def maker(self, names: Sequence[str]) -> Maker:
        job = self._prepared()
        networks = {spaces.folder_of(name): name for name in job.networks}

        @functools.cache
        def search() -> nas.Search:
            return nas.Search(job)

        def make(name: str) -> Json | None:
            if name == PROXIES:
                nas.make_coresets(job, self.say)
            elif name == CHOSEN:
                found = nas.Search(job)
                found.read()
                found.train_chosen(self.say)
            else:
                return search().train(networks[name])
            return None

        return make

    def describe(self, name: str, result: Json) -> str:
        if name == PROXIES:
            return ", ".join(result["coresets"])
        accuracies = result["test"] if name == CHOSEN else result["validation"]
        return ", ".join(f"{own} {value:.1f} %" for own, value in accuracies.items())

    def plan(self) -> tuple[str, loads.Loads]:
        job = self._prepared()
        return nas.plan(job), loads.of_nas(job)

    def _prepared(self) -> nas.Job:
        return nas.prepare(self.settings, run=self.run, say=self.say)
