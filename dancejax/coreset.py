"""Coresets: real images chosen from the whole set, in the form of a condensed set."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from dancejax import checks, interpolate, keys, networks, registries, runs, training
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.registries import Registry
from dancejax.text import meant
from dancejax.training import TrainConfig, loop
from dancejax.training.experts import Experts, expert_training
from dancejax.types import Json

Order = Callable[[np.ndarray, int], np.ndarray]


def check_ipc(dataset: Dataset, ipc: int) -> None:
    """Raises UserError unless every class has at least ipc images and ipc is at least 1."""
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    checks.whole("ipc (images per class)", ipc, 1)
    smallest = int(dataset.class_counts.argmin())
    if dataset.class_counts[smallest] < ipc:
        raise UserError(
            f"class {dataset.classes[smallest]!r} has {dataset.class_counts[smallest]} images, "
            f"fewer than the {ipc} per class asked for; choose a smaller --ipc."
        )


def random_indices(dataset: Dataset, per_class: int, *, seed: int) -> np.ndarray:
    """Random images of each class, int64 [C, per_class]; repeats only where a class is smaller."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(dataset.num_classes):
        own = np.flatnonzero(dataset.labels == label)
        rounds = -(-per_class // len(own))
        chosen.append(np.concatenate([rng.permutation(own) for _ in range(rounds)])[:per_class])
    return np.stack(chosen)


def first_indices(dataset: Dataset, per_class: int) -> np.ndarray:
    """The first images of each class, int64 [C, per_class]; repeats only where a class is
    smaller."""
    return np.stack(
        [
            np.resize(np.flatnonzero(dataset.labels == label), per_class)
            for label in range(dataset.num_classes)
        ]
    )


def random(dataset: Dataset, ipc: int, *, seed: int = 0) -> CondensedSet:
    """ipc random images per class."""
    check_ipc(dataset, ipc)
    ipc, seed = int(ipc), checks.whole("seed", seed)
    indices = random_indices(dataset, ipc, seed=seed)
    return from_indices(dataset, indices, "random", {"ipc": ipc, "seed": seed})


def herding_order(features: np.ndarray, count: int) -> np.ndarray:
    """Choose greedily so that the mean of the chosen stays nearest to the mean of all.

    Args:
      features: [n, d].
      count: 1 <= count <= n.

    Returns:
      int64 [count], different samples in the order of choice.

    References:
      Welling, Herding dynamical weights to learn (ICML 2009).
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
    """Choose greedily the sample that is farthest from all chosen so far.

    The first is the one nearest to the mean, so that one image is herding's, as in the published
    tables.

    Args:
      features: [n, d].
      count: 1 <= count <= n.

    Returns:
      int64 [count], different samples in the order of choice.

    References:
      Sener and Savarese, Active learning for convolutional neural networks: a core-set approach
      (ICLR 2018).
    """
    features = np.asarray(features, np.float64)
    chosen = [int(np.argmin(((features - features.mean(0)) ** 2).sum(1)))]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((features - features[chosen[-1]]) ** 2).sum(1))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


def kmeans_order(features: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Take the samples nearest to the centres of k-means, [n, d] -> int64 [count], all different.

    Args:
      features: of one class.
      count: centres, 1 <= count <= n. A sample that another centre has already gives way to the
        next nearest one.
      seed: of the centres' initialisation.

    References:
      DC-BENCH (Cui et al., NeurIPS 2022) has this coreset near DM at one image per class.
    """
    from sklearn.cluster import KMeans

    features = np.asarray(features, np.float32)
    centres = KMeans(count, n_init=1, random_state=seed).fit(features).cluster_centers_
    chosen: list[int] = []
    for centre in centres:
        distances = ((features - centre) ** 2).sum(1)
        distances[chosen] = np.inf
        chosen.append(int(np.argmin(distances)))
    return np.array(chosen)


def by_features(
    order: Order, name: str, dataset: Dataset, ipc: int, means: "Means"
) -> CondensedSet:
    """Choose by the features of a network that was trained on the whole set.

    Args:
      order: (features [n, d] of a class, ipc) -> int64 [ipc], which of them.
      name: of the coreset.
      dataset: what to choose from.
      ipc: images per class.
      means: with experts, the first of which gives the features.

    Raises:
      UserError: a class has fewer than ipc images, or there are no experts.
    """
    check_ipc(dataset, ipc)
    if means.experts is None:
        raise UserError(f"{name} needs a trained network; give experts of this data set.")
    experts = means.experts
    variables = interpolate.select(experts.pool.final, 0)
    _, features = training.predict_all(variables, dataset, network=experts.network)
    chosen = []
    for label in range(dataset.num_classes):
        own = np.flatnonzero(dataset.labels == label)
        chosen.append(own[order(features[own], ipc)])
    about = {"network": networks.identity(experts.network), "experts": experts.settings(first=1)}
    settings = {"ipc": ipc, **about, **means.settings}
    return from_indices(dataset, np.stack(chosen), name, settings)


class Forgetting(NamedTuple):
    """What `forgetting` counts of n images while a network trains on them."""

    last: np.ndarray  # int8 [n], 1 if right at the last presentation, 0 if wrong, -1 before any
    events: np.ndarray  # int32 [n], presentations that were wrong after one that was right
    learned: np.ndarray  # bool [n], ever right


def no_events(count: int) -> Forgetting:
    """The counts before training."""
    return Forgetting(np.full(count, -1, np.int8), np.zeros(count, np.int32), np.zeros(count, bool))


def count_events(counts: Forgetting, index: np.ndarray, right: np.ndarray) -> Forgetting:
    """Count forgetting events (Toneva et al., ICLR 2019): right at one presentation, wrong at the
    next.

    Args:
      counts: so far.
      index: int [b], different images that a step presented.
      right: bool [b], which of them the network classified correctly, before the step.
    """
    last, events, learned = (np.array(array) for array in counts)  # restored ones are JAX's
    events[index] += (last[index] == 1) & ~right
    last[index] = right
    learned[index] |= right
    return Forgetting(last, events, learned)


def forgetting_order(counts: Forgetting, *, least: bool = False) -> np.ndarray:
    """Order images by how often they were forgotten -> int64 [n].

    The most often forgotten first, those never learned before all, as in the papers' tables;
    `least` is the reverse. Equals keep their order.
    """
    often = np.where(counts.learned, counts.events.astype(float), np.inf)
    return np.argsort(often if least else -often, kind="stable")


class _Counter(loop.Observer):
    """Counts forgetting events; the counts belong to the checkpoints."""

    watches = True

    def __init__(self, images: int) -> None:
        self.counts = no_events(images)

    def begin(self, team: loop.Team, session: runs.Session) -> Forgetting:
        return self.counts

    def after_step(self, presented: training.Presented, extra: Any) -> Forgetting:
        images, right, real = (np.asarray(array[0]) for array in presented)
        return count_events(Forgetting(*extra), images[real], right[real])

    def finish(self, team: loop.Team, state: training.TrainState, extra: Any) -> bool:
        self.counts = Forgetting(*(np.asarray(array) for array in extra))
        return False  # until the coreset is stored


def forgetting(
    dataset: Dataset, ipc: int, means: "Means", *, least: bool = False, seed: int = 0
) -> CondensedSet:
    """Choose the images most often forgotten while a network trains on the whole set.

    Equals are drawn at random.

    Args:
      dataset: what to choose from.
      ipc: images per class.
      means: with the network, how it is trained (None: as an expert, without CutMix), and the run,
        whose folder keeps the training; stopping saves and raises Interrupted.
      least: the least often forgotten instead ("forgetting_least").
      seed: of the network, its training and the order of equals.

    Raises:
      UserError: a class has fewer than ipc images, or the folder holds another run.

    References:
      Toneva et al., An empirical study of example forgetting (ICLR 2019).
    """
    check_ipc(dataset, ipc)
    if means.network is None:
        raise UserError("forgetting needs a network to train; give one.")
    config = means.config or expert_training(min(dataset.image_shape[:2]), cutmix=0.0)
    record = {
        "forgetting": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "network": networks.identity(means.network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "counted": "presentations",
        "keys": keys.FORGETTING,
    }
    data = training.train_data(dataset)
    job = loop.Job("forgetting", means.network, config, data, 1, seed, keys.FORGETTING, record)
    counter = _Counter(len(dataset.labels))
    loop.train(job, [0], counter, means.run)
    order = np.random.default_rng(seed).permutation(len(dataset.labels))
    shuffled = Forgetting(*(array[order] for array in counter.counts))
    order = order[forgetting_order(shuffled, least=least)]
    chosen = [order[dataset.labels[order] == c][:ipc] for c in range(dataset.num_classes)]
    settings = {
        "ipc": ipc,
        "seed": seed,
        "epochs": config.epochs,
        "first": "least often forgotten" if least else "most often forgotten",
    }
    name = "forgetting_least" if least else "forgetting"
    return from_indices(dataset, np.stack(chosen), name, settings)


def from_indices(
    dataset: Dataset, indices: np.ndarray, method: str, settings: Json
) -> CondensedSet:
    """Take images of a data set as a condensed set with factor 1.

    Args:
      dataset: what they are taken from.
      indices: int [C, ipc], which ones of each class.
      method: how they were chosen.
      settings: what the set says of that.
    """
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


@dataclasses.dataclass(frozen=True)
class Means:
    """What coresets choose by.

    Attributes:
      experts: networks trained on the whole set, the first of which gives features.
      network: what forgetting trains.
      config: how it is trained (None: as an expert, without CutMix).
      run: how, and where its training is kept.
      settings: what the manifest says beside the coreset's own settings.
    """

    experts: Experts | None = None
    network: nn.Module | None = None
    config: TrainConfig | None = None
    run: runs.Run = runs.QUIET
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


class Coreset(NamedTuple):
    """A way to choose real images.

    Attributes:
      choose: (dataset, ipc, seed, means) -> the chosen images as a set.
      needs: "" for the images alone, "experts" for a trained network's features, "training" for a
        network that it trains itself.
    """

    choose: Callable[[Dataset, int, int, Means], CondensedSet]
    needs: str = ""


def _by(order: Order, name: str) -> Coreset:
    return Coreset(
        lambda data, ipc, seed, means: by_features(order, name, data, ipc, means), "experts"
    )


RANDOM = Coreset(lambda data, ipc, seed, means: random(data, ipc, seed=seed))
HERDING = _by(herding_order, "herding")
KCENTER = _by(kcenter_order, "kcenter")
KMEANS = _by(kmeans_order, "kmeans")
FORGETTING = Coreset(
    lambda data, ipc, seed, means: forgetting(data, ipc, means, seed=seed), "training"
)
FORGETTING_LEAST = Coreset(
    lambda data, ipc, seed, means: forgetting(data, ipc, means, least=True, seed=seed), "training"
)
CORESETS: Registry[Coreset] = registries.CORESETS
"""Coresets by name. A new one is a function, and a line of the registry."""


def choose(
    name: str, dataset: Dataset, ipc: int, *, seed: int = 0, means: Means | None = None
) -> CondensedSet:
    """Choose real images by the name of a coreset.

    Args:
      name: one of CORESETS.
      dataset: what to choose from.
      ipc: images per class.
      seed: of what is random in it.
      means: the trained network or training that it needs.

    Raises:
      UserError: an unknown name, a class with fewer images, or missing means.
    """
    if name not in CORESETS:
        raise UserError(
            f"unknown coreset {name!r}; choose one of {', '.join(CORESETS)}.{meant(name, CORESETS)}"
        )
    return CORESETS[name].choose(dataset, ipc, seed, means or Means())
