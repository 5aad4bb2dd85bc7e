"""Networks on images they do not train on: predictions, features and accuracy."""

from collections.abc import Iterator, Sequence
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dancejax import networks
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.runs import parallel
from dancejax.training.step import TrainData

Array = jax.Array


@partial(jax.jit, static_argnames=("network", "block"))
def predict(
    variables: networks.Variables, data: TrainData, *, network: nn.Module, block: int = 256
) -> tuple[Array, Array]:
    """(logits [n, C], features [n, d]) of all images in inference mode, in blocks of at most so
    many that suit the backend."""
    count = data.images.shape[0]
    block = networks.images_per_block(network, min(block, count), data.images.shape[1:])
    padding = [(0, -count % block)] + [(0, 0)] * 3
    blocks = jnp.pad(data.images, padding).reshape(-1, block, *data.images.shape[1:])

    def one(images: Array) -> tuple[Array, Array]:
        return networks.infer(network, variables, sampling.normalise(images, data.mean, data.std))

    outputs = jax.lax.map(one, blocks)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1])[:count], outputs)


def predict_all(
    variables: networks.Variables, dataset: Dataset, *, network: nn.Module
) -> tuple[np.ndarray, np.ndarray]:
    """`predict` on a data set of any size, which stays on the host and is sent in parts."""
    size = max(256, 2**28 // int(np.prod(dataset.image_shape)))
    mean, std = jnp.asarray(dataset.mean, jnp.float32), jnp.asarray(dataset.std, jnp.float32)
    parts = []
    for start in range(0, len(dataset.labels), size):
        images = jnp.asarray(dataset.images[start : start + size])
        data = TrainData(images, jnp.asarray(dataset.labels[start : start + size]), mean, std)
        parts.append(jax.device_get(predict(variables, data, network=network)))
    logits, features = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(features)


@partial(jax.jit, static_argnames=("network",))
def correct(variables: networks.Variables, data: TrainData, *, network: nn.Module) -> Array:
    """Right answers of each of N stacked networks in each class, int32 [N, C]."""
    chex.assert_equal_shape_prefix([data.images, data.labels], 1)

    def one(variables: networks.Variables, data: TrainData) -> Array:
        logits, _ = predict(variables, data, network=network)
        right = (jnp.argmax(logits, -1) == data.labels).astype(jnp.int32)
        return jax.ops.segment_sum(right, data.labels, num_segments=logits.shape[-1])

    return parallel.over_networks(one, variables, data)


def correct_in_parts(
    variables: networks.Variables,
    data: TrainData,
    *,
    network: nn.Module,
    mesh: jax.sharding.Mesh,
) -> np.ndarray:
    """`correct` as a NumPy array; a set on the host is sent in parts."""
    found = [
        parallel.fetch(correct(variables, part, network=network)) for part in parts(data, mesh)
    ]
    return np.sum(found, 0)


def accuracy_in_parts(
    variables: networks.Variables,
    data: TrainData,
    *,
    network: nn.Module,
    mesh: jax.sharding.Mesh,
) -> np.ndarray:
    """Share of the images that each of N stacked networks classifies correctly, [N] in [0, 1]."""
    found = correct_in_parts(variables, data, network=network, mesh=mesh)
    return found.sum(-1) / len(data.labels)


def accuracy_by_class(
    correct: Sequence[Sequence[int] | None], test: Dataset
) -> dict[str, float | None]:
    """The accuracy of each class by its name, mean over networks, percent.

    Args:
      correct: of each network, its right answers in each class; None of one whose are not known.
      test: what they were tested on.

    Returns:
      None for a class without test images; nothing at all where a network's answers are not known.
    """
    known = [counts for counts in correct if counts is not None]
    if len(known) < len(correct):
        return {}
    means = np.mean(known, 0)
    return {
        name: 100 * float(mean) / int(count) if count else None
        for name, mean, count in zip(test.classes, means, test.class_counts, strict=True)
    }


def parts(data: TrainData, mesh: jax.sharding.Mesh) -> Iterator[TrainData]:
    """Yield a set in parts on the mesh: one that is there whole, one on the host in pieces."""
    if not data.on_host:
        yield data
        return
    size = max(256, 2**28 // int(np.prod(data.images.shape[1:])))
    for start in range(0, len(data.labels), size):
        own = slice(start, start + size)
        part = data._replace(images=data.images[own], labels=data.labels[own])
        yield TrainData(*parallel.place(part, mesh))
