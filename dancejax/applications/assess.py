"""Evaluations as a job: of which set and data, by which settings, with their result.json."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from dancejax import choices, condensed, evaluation, exchange, networks, runs
from dancejax.applications.settings import (
    DataSettings,
    EvaluationSettings,
    NetworkSettings,
    Say,
    fill,
    quiet,
)
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.evaluation import Evaluation
from dancejax.runs import integrity, parallel, paths
from dancejax.training import loop, protocols
from dancejax.types import Json


class Assessment(NamedTuple):
    """An evaluation by a protocol.

    Attributes:
      protocol: its name.
      evaluation: what was measured.
      about: what the result says beside.
    """

    protocol: str
    evaluation: Evaluation
    about: Mapping[str, Any]

    def to_dict(self) -> Json:
        """What result.json says."""
        return {"protocol": self.protocol, **self.evaluation.to_dict(), **self.about}


class Tested(NamedTuple):
    """What an evaluation is of.

    Attributes:
      train: what networks are trained on.
      test: what they are tested on.
      network: what is trained.
      method: whose paper's protocol holds where none is given ("": DANCE's).
      about: what the result says beside.
    """

    train: CondensedSet | Dataset
    test: Dataset
    network: nn.Module
    method: str = ""
    about: Mapping[str, Any] = {}


def check(train: CondensedSet | Dataset, test: Dataset, settings: EvaluationSettings) -> None:
    """Raise UserError, before anything is written, if a set cannot be evaluated so."""
    method = getattr(train, "method", "")
    _, config = settings.training(method, test, **protocols.size_of(train))
    evaluation.check_labels(train, config)


def assess(
    tested: Tested, settings: EvaluationSettings, *, seed: int = 0, run: runs.Run
) -> Assessment:
    """Evaluate a set; with a folder, result.json is written there.

    Args:
      tested: the set, the test set and the network.
      settings: how.
      seed: of the networks.
      run: with a folder, the same call goes on after an interruption.
    """
    size = protocols.size_of(tested.train)
    name, config = settings.training(tested.method, tested.test, **size)
    run = run.opened()
    result = evaluation.evaluate(
        tested.train,
        tested.test,
        tested.network,
        config,
        repeats=settings.networks,
        seed=seed,
        test_points=settings.test_points,
        run=run,
    )
    found = Assessment(name, result, tested.about)
    if run.folder is not None:
        runs.write_json(run.folder / "result.json", found.to_dict())
    return found


def drop_earlier(folder: Path, made: CondensedSet, say: Say = quiet) -> None:
    """Remove the evaluation of a set of fewer iterations, which this one is to replace.

    Args:
      folder: of the run, with the set in condensed/ and its evaluation in evaluation/.
      made: the set that the run goes on to.
      say: takes what was done, in a sentence.
    """
    earlier, evaluated = folder / "condensed", folder / "evaluation"
    if not ((earlier / "manifest.json").exists() and evaluated.exists()):
        return
    try:
        same = condensed.fingerprint(condensed.load(earlier)) == condensed.fingerprint(made)
    except integrity.DamagedError:
        return
    if not same and parallel.is_primary():
        say("the set has gone on from an earlier one, so that it is evaluated anew")
        for name in ("evaluation.jsonl", "result.json"):
            (evaluated / name).unlink(missing_ok=True)
        loop.clear(evaluated / "training")


def record(tested: Tested, settings: EvaluationSettings) -> CondensedSet:
    """Return a condensed set whose manifest says by which network and settings it is evaluated.

    `recorded` and `network_of` read that, so that it is evaluated so wherever nobody says
    otherwise.
    """
    made = tested.train
    assert isinstance(made, CondensedSet)
    name, config = settings.training(tested.method, tested.test, **protocols.size_of(made))
    about = {
        "protocol": name,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "rate": config.learning_rate,
        "draw": config.draw,
        "repeats": settings.networks,
    }
    network = networks.identity(tested.network)
    return dataclasses.replace(
        made, settings={**made.settings, "network": network, "evaluation": about}
    )


_RECORDED = {
    "protocol": "protocol",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "rate": "learning_rate",
    "draw": "draw",
    "repeats": "repeats",
}
"""Entries of a set's record, with the fields of `EvaluationSettings` that they fill."""
_OF_ANY_PROTOCOL = ("protocol", "repeats")
"""Those of them that say nothing of how a protocol trains."""


def recorded(settings: EvaluationSettings, made: CondensedSet | None) -> EvaluationSettings:
    """Fill what is not given by what a condensed set records of its evaluation.

    Under another protocol than the recorded one networks are trained as that one says.
    """
    about = (made.settings.get("evaluation") if made else None) or {}
    given, there = settings.protocol, about.get("protocol")
    same = given is None or protocols.without_soft(given) == protocols.without_soft(there or given)
    found = {
        field: about[name]
        for name, field in _RECORDED.items()
        if name in about and (same or name in _OF_ANY_PROTOCOL)
    }
    return fill(settings, found)


def network_of(settings: NetworkSettings, made: CondensedSet | None) -> NetworkSettings:
    """Fill what is not given by the network that a condensed set records for its evaluation; of
    several that it was made with in turns, that is the first."""
    about = made.settings if made else {}
    recorded = "evaluation" in about or "networks" in about
    return settings.over(about.get("network", {})) if recorded else settings


def check_sources(
    sets: Mapping[str, CondensedSet], given: DataSettings, *, other_data: bool = False
) -> tuple[DataSettings, dict[str, Json]]:
    """Compare what condensed sets were made from with a data set's training images.

    A seeded split falls otherwise when images are added, so that a set of a folder as it was may
    hold the test images of the folder as it is. The name does not tell.

    Args:
      sets: by what messages call them; the first one says the images' size if nobody does.
      given: the data set.
      other_data: whether sets of other data are taken.

    Returns:
      (the data set at the size of the sets, what a result says of each set: nothing, or with
      other_data what it was made from).

    Raises:
      UserError: they differ, and other_data is False.
    """
    settings = given.like(next(iter(sets.values())))
    train = settings.load("train")
    source = dataset_source(train)
    abouts: dict[str, dict[str, Any]] = {}
    for path, made in sets.items():
        abouts[path] = {}
        if made.source.get("fingerprint") == source["fingerprint"]:
            continue
        if not other_data:
            raise UserError(f"{path} {_difference(made, train, given)}.")
        abouts[path] = {"other_data": {"made_from": made.source, "given": source}}
    return settings, abouts


def _difference(made: CondensedSet, train: Dataset, given: DataSettings) -> str:
    """What a set was made from instead of these images, and what to do."""
    hint = "give the data as it was then, or say --other_data"
    if made.image_shape != train.image_shape:
        resized = made.image_shape[2] == train.image_shape[2] and made.classes == train.classes
        hint = (
            f"the set has images of {_size(made.image_shape)}, these are {_size(train.image_shape)}"
            f"; give the {'--image_size' if resized else '--dataset'} that it was made with"
        )
    elif given.image_size is not None:
        hint = f"it may be --image_size={given.image_size}; {hint}"
    name = made.source.get("name")
    what = f"was made from {name!r}, not from {train.name!r}"
    if name == train.name:
        what = f"was made from other training images than those of {name!r} as it is now"
    return f"{what}: {hint}"


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def set_folder(path: Path) -> Path:
    """The folder of a condensed set; the work folder of a run stands for its."""
    if not (path / "manifest.json").exists() and (path / "condensed" / "manifest.json").exists():
        return path / "condensed"
    return path


def load_set(path: Path) -> CondensedSet:
    """A condensed set, a coreset, or an export of one."""
    path = set_folder(path)
    return exchange.read(path) if exchange.is_export(path) else condensed.load(path)


def kept_sets(folder: Path) -> dict[int, CondensedSet]:
    """The sets that `condense` kept in a run's folder, by iteration.

    They record the network and the evaluation that the run's finished set does, if it is there.
    """
    found, run = sorted(folder.glob("step_*")), folder.parent
    if not found:
        found, run = sorted((folder / "kept").glob("step_*")), folder
    finished = run / "condensed"
    about: dict[str, Any] = {}
    if found and (finished / "manifest.json").exists():
        last = condensed.load(finished).settings
        about = {name: last[name] for name in ("network", "evaluation") if name in last}
    sets = {}
    for path in found:
        number = path.name.removeprefix("step_")
        if number.isdecimal():
            made = condensed.load(path)
            sets[int(number)] = dataclasses.replace(made, settings={**made.settings, **about})
    if not sets:
        raise UserError(f"{folder} holds no kept sets; condense with --keep_every.")
    return sets


def start_of(given: str | None) -> str | CondensedSet | None:
    """What stored images start from: one of `choices.INITS`, or a set or coreset in a folder.

    Args:
      given: a name or a path; None is handed on.

    Raises:
      UserError: neither a name nor a folder.
    """
    if given is None or given in choices.INITS:
        return given
    path = paths.expand(given, "--init")
    if not path.exists():
        raise UserError(
            f"--init={given} is neither one of {', '.join(choices.INITS)} nor a folder."
        )
    return load_set(path)
