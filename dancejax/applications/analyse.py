"""Analyses of condensed sets as a job: sets, experts and folders, and what each one found."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dancejax import analysis, runs
from dancejax.analysis import base, plots
from dancejax.analysis.base import Material
from dancejax.applications import assess, pool
from dancejax.applications.settings import (
    Begin,
    DataSettings,
    ExpertSettings,
    NetworkSettings,
    Say,
    quiet,
)
from dancejax.choices import EXPERTS as EXPERTS
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.runs import Run, integrity, parallel
from dancejax.training import experts
from dancejax.types import Json

RESULT, RECORD, PLOT, ROWS = "analysis.json", "record.json", "plot.svg", "rows.csv"
"""The folder of experts that are trained for the analyses, and the name of what trains them."""
UNSEEN = 1_000_000
"""What is added to the seed for experts that are trained for analyses: no set was made with them,
since nobody condenses with such a seed."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Analyses.

    Attributes:
      folders: of condensed sets, or of the runs that made them, by label.
      analyses: names, of `analysis.ANALYSES`.
      data: the data set that the sets are of.
      network: what is looked through (not given: that of the experts in a folder, or the one that
        the first set records for its evaluation).
      experts: the pool for analyses that need one, and how networks are trained.
      config: settings of the analyses, each of at least one of them.
      seed: of everything random.
      other_data: whether sets of other data are taken.
    """

    folders: Mapping[str, Path]
    analyses: Sequence[str]
    data: DataSettings
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    other_data: bool = False

    def own(self, name: str) -> object:
        """Return the settings of one of the analyses."""
        users = analysis.setting_users()
        mine = {option: value for option, value in self.config.items() if name in users[option]}
        return analysis.config(name, mine)

    @property
    def own_experts(self) -> bool:
        """Whether experts are needed and are trained for the analyses, in their folder."""
        return self.experts.folder is None and _needing("experts", self.analyses)


class Job(NamedTuple):
    """What is checked and loaded; `carry_out` does one analysis of it.

    Attributes:
      settings: what is to be done.
      material: what is looked at; experts that are trained for it may be missing.
      records: by analysis what tells its result from others.
      run: with the work folder.
    """

    settings: Settings
    material: Material
    records: Mapping[str, Json]
    run: Run

    def done(self, name: str) -> Json | None:
        """Return what an analysis that is there found; None if it is not, or not whole.

        Raises:
          UserError: it is of other inputs.
        """
        return _finished(self.run.within(name), self.records[name])


def prepare(settings: Settings, *, run: Run) -> Job:
    """Load sets, data and experts that are there, and check everything; nothing is written.

    Args:
      settings: which analyses, and of what.
      run: with the work folder.

    Raises:
      UserError: parts that do not fit together, or a folder of analyses of other inputs.
    """
    if run.folder is None:
        raise UserError("analyses need a folder; give a run with one.")
    _check_config(settings)
    material = _material(settings)
    about: Json = {}
    if _needing("experts", settings.analyses):
        material = _with_known_experts(settings, material)
        about = _pool_record(settings, material)
    records = {name: _record(name, settings, material, about) for name in settings.analyses}
    job = Job(settings, material, records, run)
    for name in settings.analyses:
        job.done(name)
    return job


def analyse(
    settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None
) -> dict[str, Json]:
    """Carry out analyses, each in a folder of its name; those that are there are not done again.

    Args:
      settings: which, and of what.
      run: with a folder; the same call goes on after an interruption.
      say: takes what is done, in sentences.
      begin: called with the training set when everything is checked and nothing is written yet.

    Returns:
      By name what analysis.json says: "analysis", "title", "summary", "plot" (a file beside it),
      "sets" (labels) and "rows" (flat records, in rows.csv, too).

    Raises:
      UserError: as `prepare`.
    """
    job = prepare(settings, run=run)
    if begin is not None:
        begin(job.material.train)
    missing = [name for name in settings.analyses if job.done(name) is None]
    if _needing("experts", missing) and settings.own_experts:
        job = with_experts(job, train_experts(job, say))
    found: dict[str, Json] = {}
    for name in settings.analyses:
        folder = run.within(name).folder
        assert folder is not None
        with runs.owned(folder):
            found[name] = carry_out(job, name, say)
    return found


def train_experts(job: Job, say: Say = quiet) -> Path:
    """Train the experts of the analyses, those that are not there yet, and return their folder.

    Args:
      job: of `prepare`, without a pool that was given.
      say: takes what is trained.
    """
    own = job.run.within(EXPERTS)
    assert own.folder is not None
    pool.train(
        job.material.train,
        job.material.test,
        job.material.network,
        job.settings.experts,
        seed=UNSEEN + job.settings.seed,
        say=say,
        run=own,
    )
    return own.folder


def check_experts(job: Job, name: str) -> Job:
    """Return a job with the experts that an analysis needs, which are made before.

    The same job where it needs none, or is there already.

    Raises:
      UserError: they are not there.
    """
    folder = job.run.within(EXPERTS).folder
    missing = job.settings.own_experts and job.done(name) is None
    if not (missing and _needing("experts", [name]) and folder):
        return job
    train, network, seed = job.material.train, job.material.network, UNSEEN + job.settings.seed
    pool.check_finished(job.settings.experts, folder)
    pool.check_begun(train, network, job.settings.experts, folder, seed=seed)
    return with_experts(job, folder)


def with_experts(job: Job, folder: Path) -> Job:
    """Return the same job with the experts in a folder."""
    return job._replace(material=_with_pool(job.settings, job.material, folder))


def carry_out(job: Job, name: str, say: Say = quiet) -> Json:
    """Carry out an analysis in its folder, if it is not there yet.

    Args:
      job: with the experts that it needs.
      name: of the analysis.
      say: takes what is done.

    Returns:
      What analysis.json says.
    """
    known, title = job.done(name), analysis.ANALYSES[name].title
    say(f"{name}: {title if known is None else 'is there already'}")
    if known is not None:
        return known
    own = job.run.within(name).opened()
    return _carry_out(name, job.settings, job.material, job.records[name], own)


def _check_config(settings: Settings) -> None:
    """Raise UserError for a setting that none of the analyses has."""
    users = analysis.setting_users()
    for option in settings.config:
        if not set(users.get(option, {})) & set(settings.analyses):
            raise UserError(
                f"{option} is a setting of {', '.join(users.get(option, {})) or 'no analysis'}, "
                "which is not asked for; leave it out."
            )


def _material(settings: Settings) -> Material:
    """What is looked at, without experts."""
    sets = {label: assess.load_set(path) for label, path in settings.folders.items()}
    data, _ = assess.check_sources(sets, settings.data, other_data=settings.other_data)
    train, test = data.load("train"), data.load("test")
    return Material(
        sets,
        train,
        test,
        _network(settings, next(iter(sets.values()))).create(train),
        settings.experts.training(train),
        run_folders={label: _run_folder(path) for label, path in settings.folders.items()},
        seed=settings.seed,
    )


def _network(settings: Settings, first: CondensedSet) -> NetworkSettings:
    if settings.experts.folder is not None:
        about = experts.read_description(settings.experts.folder)
        return settings.network.over(about["network"])
    return assess.network_of(settings.network, first)


def _run_folder(path: Path) -> Path:
    """The folder of the run that made a set."""
    path = assess.set_folder(path)
    return path.parent if path.name == "condensed" else path


def _pool_record(settings: Settings, material: Material) -> Json:
    """What the experts are; equal ones are the same experts."""
    folder = settings.experts.folder
    if folder is not None:
        description = experts.read_description(folder)
        return {**description, "count": settings.experts.used or experts.finished(folder)}
    network, training = material.network, material.training
    snapshots, seed = settings.experts.snapshots or 0, UNSEEN + settings.seed
    description = experts.describe(material.train, network, training, seed, snapshots)
    return {**description, "count": settings.experts.number}


def _needing(what: str, names: Sequence[str]) -> bool:
    """Whether some of the analyses need something."""
    return any(what in analysis.ANALYSES[name].needs for name in names)


def _with_known_experts(settings: Settings, material: Material) -> Material:
    """The same with the experts of a pool that is there; raises UserError if they do not do."""
    if settings.experts.folder is None:
        return material
    pool.check(settings.experts, settings.network, material.train, settings.experts.used)
    material = _with_pool(settings, material, settings.experts.folder)
    if _needing("unseen", settings.analyses):
        base.unseen_experts(material)
    return material


def _with_pool(settings: Settings, material: Material, folder: Path) -> Material:
    found = experts.load_pool(folder, count=settings.experts.used, dataset=material.train)
    return dataclasses.replace(material, experts=found, expert_folder=folder)


def _record(name: str, settings: Settings, material: Material, about: Json) -> Json:
    own = analysis.ANALYSES[name]
    return base.record(name, own, material, settings.own(name), about)


def _finished(run: Run, record: Json) -> Json | None:
    """An analysis that is there; None if it is not, or not whole.

    Raises:
      UserError: it is of other inputs.
    """

    def read() -> Json | None:
        folder = run.folder
        if folder is None or not (folder / RECORD).is_file():
            return None
        integrity.check_same(runs.read_json(folder / RECORD), record, folder)
        whole = all((folder / name).is_file() for name in (RESULT, PLOT, ROWS))
        return runs.read_json(folder / RESULT) if whole else None

    return parallel.primary_says(read)


def summary(found: Mapping[str, Json]) -> str:
    """Return a line for each analysis of what it found; found: by name what analysis.json says."""
    return "\n".join(f"{name}: {result['summary']}" for name, result in found.items())


def _carry_out(name: str, settings: Settings, material: Material, record: Json, run: Run) -> Json:
    """Measure, and write what was found; analysis.json last, which says that it is whole."""
    folder = run.folder
    assert folder is not None
    found = analysis.ANALYSES[name].measure(material, settings.own(name), run)
    result = analysis.to_json(name, material, found, PLOT)
    runs.write_json(folder / RECORD, record)
    runs.write_bytes(folder / PLOT, plots.svg(found.figure()))
    runs.write_bytes(folder / ROWS, to_csv(result["rows"]).encode())
    runs.write_json(folder / RESULT, result)
    return result


def to_csv(rows: Sequence[Json]) -> str:
    """Return flat records that have the same keys as CSV; None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
