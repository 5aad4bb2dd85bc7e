"""Networks on images they do not train on: predictions, features and accuracy."""

from collections.abc import Iterator
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
    """(logits [n, C], features [n, d]) of all images in inference mode, in blocks."""
    count = data.images.shape[0]
    block = min(block, count)
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
def accuracy(variables: networks.Variables, data: TrainData, *, network: nn.Module) -> Array:
    """Share of the images that each of N stacked networks classifies correctly, [N] in [0, 1]."""
    chex.assert_equal_shape_prefix([data.images, data.labels], 1)

    def one(variables: networks.Variables, data: TrainData) -> Array:
        logits, _ = predict(variables, data, network=network)
        return jnp.mean(jnp.argmax(logits, -1) == data.labels)

    return parallel.over_networks(one, variables, data)


def accuracy_in_parts(
    variables: networks.Variables,
    data: TrainData,
    *,
    network: nn.Module,
    mesh: jax.sharding.Mesh,
) -> np.ndarray:
    """`accuracy` as a NumPy array; a set on the host is sent in parts."""
    if not data.on_host:
        return np.asarray(parallel.fetch(accuracy(variables, data, network=network)))
    total = np.zeros(len(jax.tree.leaves(variables)[0]))
    for part in parts(data, mesh):
        share = parallel.fetch(accuracy(variables, part, network=network))
        total += share * len(part.labels)
    return total / len(data.labels)


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
