"""Coresets: real images chosen from the whole set, in the form of a condensed set."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dancejax import backend, runs, training
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.networks import Variables
from dancejax.training import TrainConfig

CORESETS = ("random", "herding", "kcenter", "forgetting")


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
    orders: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "herding": herding_order,
        "kcenter": kcenter_order,
    }
    if method not in orders:
        raise UserError(f"unknown coreset {method!r}; choose one of {', '.join(CORESETS)}.")
    check_ipc(dataset, ipc)
    _, features = training.predict(variables, training.train_data(dataset), network=network)
    features = np.asarray(features)
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
    progress: bool = True,
) -> CondensedSet:
    """The images least often forgotten while a network trains on the whole set.

    Equals are drawn at random.
    """
    check_ipc(dataset, ipc)
    data = training.train_data(dataset)
    k_init, key = jax.random.split(jax.random.key(seed))
    state = training.init_state(k_init, network, dataset.image_shape, config)
    per_epoch = training.steps_per_epoch(len(dataset.labels), config.batch_size)
    history = []
    with (
        runs.stop_on_signals() as stop,
        runs.Progress("forgetting", config.epochs, enabled=progress) as bar,
    ):
        for epoch in range(config.epochs):
            for _ in range(per_epoch):
                state, loss = training.train_step(state, key, data, network=network, config=config)
                if backend.is_cpu():
                    loss.block_until_ready()
                stop.check()
            logits, _ = training.predict(state.variables, data, network=network)
            history.append(np.asarray(logits.argmax(-1)) == dataset.labels)
            bar.update(epoch + 1, accuracy=100 * float(history[-1].mean()))
    order = np.random.default_rng(seed).permutation(len(dataset.labels))
    order = order[np.argsort(forgetting_events(history)[order], kind="stable")]
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
        source=dataset_source(dataset),
        settings=settings,
    )
