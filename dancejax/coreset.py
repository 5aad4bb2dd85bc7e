"""Coresets: real images chosen from the whole set, in the form of a condensed set."""

from typing import Any

import numpy as np

from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError


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
    return from_indices(
        dataset, random_indices(dataset, ipc, seed=seed), "random", {"ipc": ipc, "seed": seed}
    )


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
