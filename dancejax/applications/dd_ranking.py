"""DD-Ranking's label-robust score of a set, by the package ddranking in PyTorch.

The package asks for earlier versions of NumPy than JAX does, so that it may be installed in a
Python of its own; what it computes from goes there by files, and its output into a log.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dancejax import runs
from dancejax.applications import dd_ranking_worker as worker
from dancejax.applications.settings import Say, quiet
from dancejax.condensed import CondensedSet, describe, describe_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import jobs
from dancejax.types import Json

DATASETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
"""Data sets that the package can train on all images of, with its names for them."""
NETWORK = "ConvNet-3"
"""The package's network for them: ConvNet-3 of width 128 with instance norm."""
RESULT = "dd_ranking.json"
_IMPORT = "import sys; sys.path = [p for p in sys.path if p]; import ddranking.metrics.hard_label"


class Settings(NamedTuple):
    """How networks are trained; the defaults are the package's.

    Attributes:
      repeats: how often each accuracy is measured, at least 1.
      epochs: of a network, at least 10: the package tests after every tenth.
      batch_size: images.
      python: the interpreter that has the package ("": this one).
    """

    repeats: int = 5
    epochs: int = 300
    batch_size: int = 256
    python: str = ""


def check(made: CondensedSet | Dataset, test: Dataset, settings: Settings) -> None:
    """Raise UserError, before anything is computed, where the package has no score to give.

    Args:
      made: the set.
      test: the images that networks would be tested on.
      settings: how they would be trained.
    """
    if not isinstance(made, CondensedSet):
        raise UserError("DD-Ranking scores condensed sets; give --condensed with --dd_ranking.")
    if jax.process_count() > 1:
        raise UserError("DD-Ranking's package runs in one process; give --dd_ranking to one alone.")
    for name in (made.source.get("name"), test.name):
        if _known(name) is None:
            raise UserError(
                f"DD-Ranking has no score for {name!r}, only for sets of {' and '.join(DATASETS)} "
                "on their test images; leave --dd_ranking out."
            )
    if settings.epochs < worker.TEST_INTERVAL:
        raise UserError(
            f"DD-Ranking tests after every {worker.TEST_INTERVAL} epochs; --epochs must be at "
            f"least {worker.TEST_INTERVAL} with --dd_ranking."
        )
    python = settings.python or sys.executable
    try:
        tried = subprocess.run([python, "-c", _IMPORT], check=False, capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"--dd_ranking_python={python} cannot be run: {error.strerror}.") from error
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"{python} cannot import ddranking ({reason}); `pip install ddranking` into a Python "
            "of its own, whose NumPy may be older, and name that by --dd_ranking_python=PATH."
        )


def _known(name: Any) -> str | None:
    """The package's name of a data set; None where it has none."""
    return DATASETS.get(str(name).rpartition("/")[-1])


def score(
    made: CondensedSet,
    train: Dataset,
    test: Dataset,
    settings: Settings,
    *,
    folder: Path,
    say: Say = quiet,
) -> Json:
    """Return DD-Ranking's label-robust score by hard labels, with what it is made of.

    In each repeat the package trains networks on the set and on as many random images, at each of
    its five learning rates, and one on all images by settings of its own. Accuracies are those of
    the best test along each training, as the package has it, so that they stand beside other scores
    of it and beside nothing else.

    Args:
      made: the set, whose decoded images are taken.
      train: the data set that it was made from.
      test: its test images.
      settings: see `check`, which they must have passed.
      folder: holds dd_ranking.json at the end, and each repeat with its log; those that are
        finished are not computed again.
      say: takes sentences; with it there is a bar over the repeats, too.

    Returns:
      What dd_ranking.json says: the settings, and mean and sample deviation over the repeats of
      "hard_label_recovery" (how far the set falls short of all images, in points),
      "improvement_over_random" (points) and "label_robust_score" (percent).

    Raises:
      UserError: the package failed.
      Interrupted: a signal came; the repeat that was under way begins anew.

    References:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025,
      arXiv 2505.13300.
    """
    about = _about(made, train, test, settings)
    place = folder / hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    repeats = [place / f"repeat_{number}" for number in range(settings.repeats)]
    missing = [path for path in repeats if not (path / worker.RESULT).exists()]
    if missing:
        say(
            f"DD-Ranking: {len(missing)} of {len(repeats)} repeats, 10 networks of "
            f"{settings.epochs} epochs on small sets and one on {len(train)} images each; logs: "
            f"{place}"
        )
        _write(made, train, test, about, place)
        done = len(repeats) - len(missing)
        bar = runs.Progress("dd_ranking", len(repeats), start=done, enabled=say is not quiet)
        try:
            with bar:
                _measure(missing, settings.python or sys.executable, bar)
        finally:
            (place / worker.ARRAYS).unlink(missing_ok=True)
    measured = [runs.read_json(path / worker.RESULT) for path in repeats]
    result = {**about, "repeats": settings.repeats, **_summary(measured)}
    runs.write_json(folder / RESULT, result)
    return result


def _measure(repeats: list[Path], python: str, bar: runs.Progress) -> None:
    """Have the package measure repeats, one after another, each in its folder."""
    todo = [
        jobs.Job(path.name, path, (python, worker.__file__, str(path)), worker.RESULT)
        for path in repeats
    ]
    for end in jobs.run(todo, 1, say=quiet):
        if end.word == "failed":
            raise UserError(f"ddranking failed ({end.text}); {end.job.folder} has its log.")
        bar.update(bar.done + 1)


def label_robust_score(recovery: np.ndarray, improvement: np.ndarray) -> np.ndarray:
    """Return the label-robust score as the paper defines it, percent.

    Version 0.2.0 of the package puts percentages into the exponential, where the paper has
    fractions.

    Args:
      recovery: how far the set falls short of the accuracy on all images, in points, any shape.
      improvement: how far it is above random images, in points, of the same shape.

    References:
      See `score`.
    """
    alpha = 0.5 * improvement / 100 - 0.5 * recovery / 100
    return 100 * (np.exp(alpha) - np.exp(-1)) / (np.exp(1) - np.exp(-1))


def _summary(measured: list[Json]) -> Json:
    """Mean and sample deviation over the repeats."""
    recovery, improvement = (
        np.asarray([one[name][0] for one in measured], float)
        for name in ("hard_label_recovery", "improvement_over_random")
    )
    found = {
        "hard_label_recovery": recovery,
        "improvement_over_random": improvement,
        "label_robust_score": label_robust_score(recovery, improvement),
    }
    numbers: dict[str, float] = {}
    for name, values in found.items():
        numbers[f"{name}_mean"] = float(values.mean())
        numbers[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return numbers


def _about(made: CondensedSet, train: Dataset, test: Dataset, settings: Settings) -> Json:
    """What a repeat is of and by which settings, as the worker reads it."""
    return {
        "dataset": _known(test.name),
        "network": NETWORK,
        "classes": made.num_classes,
        "ipc": made.ipc,
        "mean": [float(x) for x in made.mean],
        "std": [float(x) for x in made.std],
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "set": describe(made),
        "train": describe_source(train),
        "test": describe_source(test),
    }


def _write(made: CondensedSet, train: Dataset, test: Dataset, about: Json, place: Path) -> None:
    """Write what the workers read."""
    images, labels = (np.asarray(x) for x in made.decoded())
    place.mkdir(parents=True, exist_ok=True)
    runs.check_space(place, sum(x.nbytes for x in (train.images, test.images, images)) + 2**20)
    np.savez(
        place / worker.ARRAYS,
        train_images=train.images,
        train_labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        images=images,
        labels=labels,
    )
    runs.write_json(place / worker.SETTINGS, about)
