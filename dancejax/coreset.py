"""Coresets: real images chosen from the whole set, in the form of a condensed set."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from dancejax import fit, interpolate, networks, parallel, runs, training
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.networks import Variables
from dancejax.training import TrainConfig, TrainState

CORESETS = ("random", "herding", "kcenter", "forgetting")
BY_FEATURES = ("herding", "kcenter")
"""Those that need a trained network's features."""


def check_ipc(dataset: ImageDataset, ipc: int) -> None:
    """Raises UserError unless every class has at least ipc images and ipc is at least 1."""
    if ipc < 1:
        raise UserError(f"IPC (images per class) must be at least 1, not {ipc}.")
    smallest = int(dataset.class_counts.argmin())
    if dataset.class_counts[smallest] < ipc:
        raise UserError(
            f"class {dataset.classes[smallest]!r} has {dataset.class_counts[smallest]} images, "
            f"fewer than the {ipc} per class asked for; choose a smaller --ipc."
        )


def random_indices(dataset: ImageDataset, per_class: int, *, seed: int) -> np.ndarray:
    """Random images of each class, int64 [C, per_class]; repeats only where a class is smaller."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(dataset.num_classes):
        own = np.flatnonzero(dataset.labels == label)
        rounds = -(-per_class // len(own))
        chosen.append(np.concatenate([rng.permutation(own) for _ in range(rounds)])[:per_class])
    return np.stack(chosen)


def random(dataset: ImageDataset, ipc: int, *, seed: int = 0) -> CondensedSet:
    """ipc random images per class."""
    check_ipc(dataset, ipc)
    indices = random_indices(dataset, ipc, seed=seed)
    return from_indices(dataset, indices, "random", {"ipc": ipc, "seed": seed})


def herding_order(features: np.ndarray, count: int) -> np.ndarray:
    """Greedy herding (Welling, ICML 2009) of features [n, d] -> int64 [count], the order of choice.

    Each next sample keeps the mean of the chosen ones nearest to the mean of all. 1 <= count <= n.
    """
    features = np.asarray(features, np.float64)
    mean, total = features.mean(0), np.zeros(features.shape[1])
    left = np.ones(len(features), bool)
    chosen = []
    for number in range(1, count + 1):
        distances = ((mean - (total + features) / number) ** 2).sum(1)
        best = int(np.argmin(np.where(left, distances, np.inf)))
        chosen.append(best)
        left[best] = False
        total += features[best]
    return np.array(chosen)


def kcenter_order(features: np.ndarray, count: int) -> np.ndarray:
    """Greedy k-center (Sener and Savarese, ICLR 2018) of [n, d] -> int64 [count], by choice.

    The first is the sample nearest to the mean (so that one image is herding's, as in the published
    tables), each next one the farthest from all chosen so far. 1 <= count <= n.
    """
    features = np.asarray(features, np.float64)
    chosen = [int(np.argmin(((features - features.mean(0)) ** 2).sum(1)))]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((features - features[chosen[-1]]) ** 2).sum(1))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


def by_features(
    method: str,
    dataset: ImageDataset,
    ipc: int,
    network: nn.Module,
    variables: Variables,
    *,
    settings: dict[str, Any] | None = None,
) -> CondensedSet:
    """`herding` or `kcenter` on the features of a network trained on the whole set."""
    orders = dict(zip(BY_FEATURES, (herding_order, kcenter_order), strict=True))
    if method not in orders:
        raise UserError(
            f"no coreset by features is called {method!r}; choose one of {', '.join(BY_FEATURES)}."
        )
    check_ipc(dataset, ipc)
    _, features = training.predict_all(variables, dataset, network=network)
    chosen = []
    for label in range(dataset.num_classes):
        own = np.flatnonzero(dataset.labels == label)
        chosen.append(own[orders[method](features[own], ipc)])
    return from_indices(dataset, np.stack(chosen), method, {"ipc": ipc, **(settings or {})})


def forgetting_events(correct: Sequence[np.ndarray]) -> np.ndarray:
    """Counts forgetting events (Toneva et al., ICLR 2019), float [n].

    correct: for each epoch which of the n samples are classified rightly, bool [n]. An event is a
    sample right after one epoch and wrong after the next; one never right counts as infinitely
    often forgotten.
    """
    history = np.stack(correct)
    events = (history[:-1] & ~history[1:]).sum(0).astype(float)
    return np.where(history.any(0), events, np.inf)


def forgetting(
    dataset: ImageDataset,
    ipc: int,
    network: nn.Module,
    config: TrainConfig,
    *,
    seed: int = 0,
    workdir: Path | None = None,
    placement: str = "device",
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> CondensedSet:
    """The images least often forgotten while a network trains on the whole set.

    Equals are drawn at random. With a workdir, stopping saves and raises Interrupted, and the same
    call goes on where it stopped. placement: as in `experts.train_pool`.
    """
    check_ipc(dataset, ipc)
    per_epoch = training.steps_per_epoch(len(dataset.labels), config.batch_size)
    folder = workdir / "training" if workdir else None
    about = {
        "forgetting": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "network": networks.describe(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
    }
    with (
        parallel.use(parallel.NETWORKS, parallel.devices_for(1)) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress("forgetting", config.epochs * per_epoch, enabled=progress) as bar,
    ):
        data = fit.place(dataset, placement, mesh)

        def after_epoch(epoch: int, state: TrainState, loss: float, history: Any) -> Any:
            """Which images were right after each epoch, bool [epochs, n]."""
            variables = interpolate.select(state.variables, 0)
            logits, _ = training.predict_all(variables, dataset, network=network)
            history = np.array(history)
            history[epoch - 1] = logits.argmax(-1) == dataset.labels
            bar.update(bar.done, accuracy=100 * float(history[epoch - 1].mean()))
            return history

        state, keys = fit.init_team(seed, [0], network, dataset.image_shape, config, mesh)
        _, history = fit.train(
            state,
            keys,
            data,
            mesh=mesh,
            network=network,
            config=config,
            members=[0],
            about=about,
            folder=folder,
            after_epoch=after_epoch,
            extra=np.zeros((config.epochs, len(dataset.labels)), bool),
            stop=stop,
            bar=bar,
            checkpoint_seconds=checkpoint_seconds,
        )
    order = np.random.default_rng(seed).permutation(len(dataset.labels))
    order = order[np.argsort(forgetting_events(list(history))[order], kind="stable")]
    chosen = [order[dataset.labels[order] == c][:ipc] for c in range(dataset.num_classes)]
    settings = {"ipc": ipc, "seed": seed, "epochs": config.epochs}
    return from_indices(dataset, np.stack(chosen), "forgetting", settings)


def from_indices(
    dataset: ImageDataset, indices: np.ndarray, method: str, settings: dict[str, Any]
) -> CondensedSet:
    """The images at indices [C, ipc] as a set with factor 1."""
    flat = indices.reshape(-1)
    return CondensedSet(
        images=dataset.images[flat].astype(np.float32) / 255,
        labels=dataset.labels[flat].astype(np.int32),
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
        factor=1,
        method=method,
        source=describe_source(dataset),
        settings=settings,
    )
