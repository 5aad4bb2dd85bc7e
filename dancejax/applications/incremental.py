"""Classes that come step by step: orders, steps, data sets and memories of them, measures."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dancejax import checks
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError


def class_order(num_classes: int, order: int) -> np.ndarray:
    """Return the order in which classes come, a permutation of NumPy's legacy generator.

    Args:
      num_classes: how many there are.
      order: number of the order, the generator's seed.

    Returns:
      int64 [num_classes], labels.

    References:
      DM (WACV 2023), section 4.3: five orders.
    """
    return np.random.RandomState(order).permutation(num_classes)


def class_steps(num_classes: int, steps: int, order: int) -> list[np.ndarray]:
    """Divide an order of the classes into steps, the first ones larger where it does not divide.

    Args:
      num_classes: how many classes there are.
      steps: how many steps, each of at least one class.
      order: number of the order.

    Returns:
      int64 labels of each step's classes.

    Raises:
      UserError: there are fewer classes than steps.
    """
    checks.whole("steps", steps, 1)
    if num_classes < steps:
        raise UserError(
            f"{num_classes} classes cannot come in {steps} steps; choose at most {num_classes} "
            "--steps."
        )
    return np.array_split(class_order(num_classes, order), steps)


def of_classes(dataset: Dataset, labels: np.ndarray, *, renumbered: bool) -> Dataset:
    """Take the images of some classes.

    Args:
      dataset: what they are taken from.
      labels: int [k], of which classes.
      renumbered: whether these are all the classes that the result has, as labels 0..k-1 in the
        order given; else it has the data set's classes, some of them without images.
    """
    kept = np.flatnonzero(np.isin(dataset.labels, labels))
    images, own = dataset.images[kept], dataset.labels[kept]
    if not renumbered:
        return dataclasses.replace(dataset, images=images, labels=own)
    number = np.zeros(dataset.num_classes, np.int32)
    number[labels] = np.arange(len(labels))
    classes = tuple(dataset.classes[label] for label in labels)
    return dataclasses.replace(dataset, images=images, labels=number[own], classes=classes)


def memory_of(
    sets: Sequence[CondensedSet], steps: Sequence[np.ndarray], dataset: Dataset
) -> CondensedSet:
    """Join the sets of the steps so far to a memory that has all classes of the data set.

    Args:
      sets: of each step, by one method.
      steps: int labels [k] of each step's classes, the sets' labels 0..k-1.
      dataset: the training set with all classes.

    Returns:
      A condensed set; classes of later steps have no images in it.
    """
    first = sets[0]
    labels = [own[made.labels] for made, own in zip(sets, steps, strict=True)]
    return CondensedSet(
        images=np.concatenate([made.images for made in sets]),
        labels=np.concatenate(labels).astype(np.int32),
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
        factor=first.factor,
        method=first.method,
        source=describe_source(dataset),
        settings={"ipc": first.ipc, "memory_of_steps": [made.settings for made in sets]},
    )


def seen_accuracy(accuracies: Sequence[float], images: Sequence[int]) -> float:
    """Compute the accuracy on the classes seen from that on each step's classes.

    Args:
      accuracies: on the test images of each step's classes, percent.
      images: how many test images these are.
    """
    return float(np.average(accuracies, weights=images))


def forgetting(accuracies: Sequence[Sequence[float]]) -> float:
    """Compute by how much old classes got worse: from their best step to the last, mean over steps.

    Args:
      accuracies: after each step, on the test images of each step's classes so far, percent.

    Returns:
      Percentage points; 0 where there is one step only. Negative where old classes got better.

    References:
      Chaudhry et al., Riemannian walk for incremental learning (ECCV 2018), section 3.2.
    """
    last = accuracies[-1]
    best = [max(after[old] for after in accuracies[old:-1]) for old in range(len(last) - 1)]
    return float(np.mean(np.array(best) - last[:-1])) if best else 0.0
