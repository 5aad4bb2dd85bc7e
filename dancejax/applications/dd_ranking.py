"""DD-Ranking's label-robust score of a set, by the package ddranking in PyTorch.

The package asks for earlier versions of NumPy than JAX does, so that it may lie in a Python of its
own; what it computes from goes there by files, and its output into a log.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax import runs
from dancejax.applications import dd_ranking_worker as worker
from dancejax.applications.settings import Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import child, jobs
from dancejax.types import Json

DATASETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
"""Names of the data sets that the package has a training on all images for, with its own names."""
NETWORK = "ConvNet-3"
"""The package's network for them: ConvNet-3 of width 128 with instance norm."""
RESULT = "dd_ranking.json"
_FOUND = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ddranking') is None)"


class Settings(NamedTuple):
    """How networks are trained.

    Attributes:
      repeats: networks for each accuracy, at least 1.
      epochs: of each, at least 10: the package tests after every tenth.
      batch_size: images.
      python: the interpreter that has the package ("": this one).
    """

    repeats: int
    epochs: int
    batch_size: int
    python: str = ""


def check(made: CondensedSet | Dataset, settings: Settings) -> None:
    """Raise UserError, before anything is computed, where the package has no score to give.

    Args:
      made: the set.
      settings: how networks would be trained.
    """
    if not isinstance(made, CondensedSet):
        raise UserError("DD-Ranking scores condensed sets; give --condensed with --dd_ranking.")
    name = made.source.get("name")
    if name not in DATASETS:
        raise UserError(
            f"DD-Ranking has no score for sets made from {name!r}, only for those made from "
            f"{' and '.join(DATASETS)}; leave --dd_ranking out."
        )
    if settings.epochs < worker.TEST_INTERVAL:
        raise UserError(
            f"DD-Ranking tests after every {worker.TEST_INTERVAL} epochs; --epochs must be at "
            f"least {worker.TEST_INTERVAL} with --dd_ranking."
        )
    python = settings.python or sys.executable
    try:
        found = subprocess.run([python, "-c", _FOUND], check=False, capture_output=True)
    except OSError as error:
        raise UserError(f"--dd_ranking_python={python} cannot be run: {error.strerror}.") from error
    if found.returncode:
        raise UserError(
            f"{python} has no package ddranking; `pip install ddranking` into a Python of its own, "
            "whose NumPy may be older, and name that by --dd_ranking_python=PATH."
        )


def score(
    made: CondensedSet,
    train: Dataset,
    test: Dataset,
    settings: Settings,
    *,
    folder: Path,
    say: Say = quiet,
) -> Json:
    """Return the package's label-robust score by hard labels, with what it is made of.

    Networks are trained on the set, on as many random images and on all, the first two at each of
    the package's five learning rates. Accuracies are those of the best test along each training,
    as the package has it, so that they stand beside other scores of it and beside nothing else.

    Args:
      made: the set, whose decoded images are taken.
      train: the data set that it was made from.
      test: its test images.
      settings: see `check`, which they must have passed.
      folder: holds dd_ranking.json at the end, which the next call returns, and log.txt; a call
        that was stopped begins anew.
      say: takes sentences.

    Returns:
      What dd_ranking.json says: the settings, and mean and sample deviation over the repeats of
      "hard_label_recovery" (what is missing to all images' accuracy, in points),
      "improvement_over_random" (points) and "label_robust_score" (percent).

    Raises:
      UserError: the package failed.
      Interrupted: a signal came.

    References:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025,
      arXiv 2505.13300.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / RESULT, folder / child.LOG
    if not result.exists():
        about = _write(made, train, test, settings, folder)
        argv = (settings.python or sys.executable, worker.__file__, str(folder))
        say(f"DD-Ranking trains {settings.repeats} networks for each accuracy; log: {log}")
        (end,) = jobs.run([jobs.Job("DD-Ranking", folder, argv, worker.RESULT)], 1, say=quiet)
        if end.word == "failed":
            raise UserError(f"ddranking failed ({end.text}); {log} has all that it wrote.")
        measured = runs.read_json(folder / worker.RESULT)
        runs.write_json(result, {**about, **_summary(measured)})
    (folder / worker.ARRAYS).unlink(missing_ok=True)
    return runs.read_json(result)


def label_robust_score(recovery: np.ndarray, improvement: np.ndarray) -> np.ndarray:
    """Return the label-robust score as the paper defines it, percent.

    Version 0.2.0 of the package puts percents into the exponential, where the paper has shares.

    Args:
      recovery: what is missing to the accuracy of all images, percent, any shape.
      improvement: what the accuracy is above that of random images, percent, of the same shape.

    References:
      See `score`.
    """
    alpha = 0.5 * improvement / 100 - 0.5 * recovery / 100
    return 100 * (np.exp(alpha) - np.exp(-1)) / (np.exp(1) - np.exp(-1))


def _summary(measured: Json) -> Json:
    """Mean and sample deviation over the repeats."""
    recovery = np.asarray(measured["hard_label_recovery"], float)
    improvement = np.asarray(measured["improvement_over_random"], float)
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


def _write(
    made: CondensedSet, train: Dataset, test: Dataset, settings: Settings, folder: Path
) -> Json:
    """Write what the worker reads; returns the settings among it."""
    images, labels = made.decoded()
    about: dict[str, Any] = {
        "dataset": DATASETS[made.source["name"]],
        "network": NETWORK,
        "classes": made.num_classes,
        "ipc": made.ipc,
        "mean": [float(x) for x in made.mean],
        "std": [float(x) for x in made.std],
        "repeats": settings.repeats,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
    }
    runs.check_space(folder, sum(x.nbytes for x in (train.images, test.images, images)) + 2**20)
    np.savez(
        folder / worker.ARRAYS,
        train_images=train.images,
        train_labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        images=np.asarray(images),
        labels=np.asarray(labels),
    )
    runs.write_json(folder / worker.SETTINGS, about)
    return about
