"""Coresets: real images chosen from the whole set, in the form of a condensed set."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from dancejax import checks, keys, networks, runs, training
from dancejax.condensed import CondensedSet, describe_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.networks import Variables
from dancejax.runs import parallel
from dancejax.training import TrainConfig, loop

CORESETS = ("random", "herding", "kcenter", "kmeans", "forgetting", "forgetting_least")
BY_FEATURES = ("herding", "kcenter", "kmeans")
"""Those that need a trained network's features."""


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
    method: str,
    dataset: Dataset,
    ipc: int,
    network: nn.Module,
    variables: Variables,
    *,
    settings: dict[str, Any] | None = None,
) -> CondensedSet:
    """`herding`, `kcenter` or `kmeans` on the features of a network trained on the whole set."""
    orders = {"herding": herding_order, "kcenter": kcenter_order, "kmeans": kmeans_order}
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


def forgetting(
    dataset: Dataset,
    ipc: int,
    network: nn.Module,
    config: TrainConfig,
    *,
    least: bool = False,
    seed: int = 0,
    workdir: Path | None = None,
    placement: str = "device",
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> CondensedSet:
    """Choose the images most often forgotten while a network trains on the whole set.

    Equals are drawn at random. With a workdir, stopping saves and raises Interrupted, and the same
    call goes on where it stopped.

    Args:
      dataset, ipc: what to choose from, and images per class.
      network, config: what is trained, and how.
      least: the least often forgotten instead ("forgetting_least").
      seed: of the network, its training and the order of equals.
      workdir, placement, checkpoint_seconds, progress: as in `experts.train_pool`.

    Raises:
      UserError: a class has fewer than ipc images, or the folder holds another run.
    """
    check_ipc(dataset, ipc)
    per_epoch = training.steps_per_epoch(len(dataset.labels), config.batch_size)
    folder = workdir / "training" if workdir else None
    about = {
        "forgetting": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "counted": "presentations",
        "keys": keys.FORGETTING,
    }

    def watch(presented: training.Presented, counts: Any) -> Forgetting:
        images, right, real = (np.asarray(array[0]) for array in presented)
        return count_events(Forgetting(*counts), images[real], right[real])

    with (
        parallel.use(parallel.NETWORKS, parallel.devices_for(1)) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress("forgetting", config.epochs * per_epoch, enabled=progress) as bar,
    ):
        state, own_keys = loop.init_team(
            seed, [0], network, dataset.image_shape, config, mesh, purpose=keys.FORGETTING
        )
        _, counts = loop.train(
            state,
            own_keys,
            loop.place(dataset, placement, mesh),
            mesh=mesh,
            network=network,
            config=config,
            members=[0],
            about=about,
            folder=folder,
            after_epoch=lambda epoch, state, loss, counts: counts,
            extra=no_events(len(dataset.labels)),
            watch=watch,
            stop=stop,
            bar=bar,
            checkpoint_seconds=checkpoint_seconds,
        )
    counts = Forgetting(*(np.asarray(array) for array in counts))
    order = np.random.default_rng(seed).permutation(len(dataset.labels))
    shuffled = Forgetting(*(array[order] for array in counts))
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
    dataset: Dataset, indices: np.ndarray, method: str, settings: dict[str, Any]
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
