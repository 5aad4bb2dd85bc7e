"""A pool of experts as a job: checked, trained with its result, or the one that is there."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import flax.linen as nn

from dancejax import condensed, networks, runs, training
from dancejax.applications.settings import ExpertSettings, NetworkSettings, Say, Source, quiet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.training import expert_tests, experts
from dancejax.types import Json


def check(
    settings: ExpertSettings, network: NetworkSettings, dataset: Dataset, count: int | None
) -> None:
    """Check the pool that is to be used, if it is there already.

    Args:
      settings: with the pool's folder.
      network: what is given of it.
      dataset: what the experts have to be trained on.
      count: how many are needed (None: any).

    Raises:
      UserError: it has another network, other data, or fewer experts.
    """
    if settings.folder is None:
        return
    about = experts.read_description(settings.folder)
    stored = about["network"]
    for name, value in {"name": network.chosen, **network.options}.items():
        if stored.get(name) != value:
            raise UserError(
                f"the experts in {settings.folder} have {name}={stored.get(name)}, not {value}; "
                "leave the network's flags out, or train a pool of such networks."
            )
    if about["dataset"]["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"the experts in {settings.folder} were trained on {about['dataset']['name']!r} as it "
            f"was then ({about['image_shape']}), not on this {dataset.name!r} "
            f"({list(dataset.image_shape)}); give the same data set and --image_size, or train a "
            "pool of its own with launch.pretrain."
        )
    if settings.trajectories:
        experts.check_trajectories(settings.folder, about)
    available = experts.finished(settings.folder)
    if available < (count or 1):
        raise UserError(
            f"{settings.folder} holds {available} finished experts, {count or 1} are asked for; "
            "train more with launch.pretrain --experts."
        )


def ready(
    train_set: Dataset,
    source: Source,
    network: NetworkSettings,
    settings: ExpertSettings,
    *,
    seed: int = 0,
    say: Say = quiet,
    run: runs.Run,
) -> Path:
    """Return the folder of a pool: the one that is there, or one trained in the run's folder."""
    if settings.folder is not None:
        return settings.folder
    module, test = network.create(train_set), source.load("test")
    train(train_set, test, module, settings, seed=seed, say=say, run=run)
    assert run.folder is not None
    return run.folder


def check_finished(settings: ExpertSettings, folder: Path) -> None:
    """Raise UserError if a folder does not hold as many experts as `ready` would train there."""
    available = experts.finished(folder)
    if available < settings.number:
        raise UserError(
            f"the experts in {folder} are not finished ({available} of {settings.number}); make "
            "them first, with --cells=experts."
        )


def check_begun(
    train_set: Dataset,
    network: nn.Module,
    settings: ExpertSettings,
    folder: Path,
    *,
    seed: int = 0,
) -> None:
    """Check that a pool that `ready` has begun in a folder, if any, is the one that it would train.

    Raises:
      UserError: it is another pool.
    """
    if (folder / "pool.json").exists():
        config = settings.training(train_set)
        snapshots = _snapshots(settings, config.epochs, runs.Run(folder))
        wanted = experts.describe(train_set, network, config, seed, snapshots)
        experts.check_description(folder, wanted)


def train(
    train_set: Dataset,
    test: Dataset,
    network: nn.Module,
    settings: ExpertSettings,
    *,
    seed: int = 0,
    say: Say = quiet,
    run: runs.Run,
) -> Json:
    """Train and test experts, and write result.json.

    Args:
      train_set: what they are trained on.
      test: what they are tested on.
      network: what is trained.
      settings: how many, and how.
      seed: of their initialisation and training.
      say: takes what is trained, as a sentence.
      run: with the pool's folder.

    Returns:
      What result.json says.
    """
    config = settings.training(train_set)
    snapshots = parallel.primary_says(lambda: _snapshots(settings, config.epochs, run))
    say(
        f"{settings.number} experts on {train_set.name}: {len(train_set.labels)} images, "
        f"{train_set.num_classes} classes, {config.epochs} epochs, into {run.folder}"
    )
    experts.train_pool(
        train_set,
        network,
        config,
        count=settings.number,
        seed=seed,
        snapshots=snapshots,
        run=run,
    )
    assert run.folder is not None
    correct = expert_tests.test_pool(
        run.folder, test, network, count=settings.number, devices=run.devices
    ).tolist()
    accuracies = [100 * sum(one) / len(test) for one in correct]
    result: dict[str, Any] = {
        "protocol": experts.PROTOCOL,
        "experts": settings.number,
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracies": accuracies,
        "accuracy_by_class": training.accuracy_by_class(correct, test),
        "train": condensed.describe(train_set),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
    }
    runs.write_json(run.folder / "result.json", result)
    return result


def _snapshots(settings: ExpertSettings, epochs: int, run: runs.Run) -> int:
    """How many snapshots the experts keep: as given, else as those already there, or as needed.

    Raises:
      UserError: they are too few for the method.
    """
    needed = epochs - 1 if settings.trajectories else 0
    if settings.snapshots is not None:
        if settings.snapshots < needed:
            raise UserError(
                f"the method needs the experts' parameters after every epoch, {needed} snapshots "
                f"and not {settings.snapshots}; leave --snapshots out."
            )
        return settings.snapshots
    if run.folder is None or not (run.folder / "pool.json").exists():
        return needed
    about = experts.read_description(run.folder)
    if settings.trajectories:
        experts.check_trajectories(run.folder, about)
    return int(about["snapshots"])
