"""Features of real and of synthetic images under the same networks."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dancejax import keys, networks, training
from dancejax.analysis.base import Material
from dancejax.condensed import CondensedSet
from dancejax.data import sampling
from dancejax.data.dataset import Dataset
from dancejax.runs import parallel
from dancejax.training import TrainData, testing

Array = jax.Array
RANDOM = "analysis, random networks"
"""What the keys of networks that are only initialised are for."""


def random_network(material: Material, number: int) -> networks.Variables:
    """Initialise one of the random networks of the analyses, from keys of their own."""
    key = keys.member(material.seed, RANDOM, number)
    return _init(key, material.network, material.train.image_shape)


@partial(jax.jit, static_argnames=("network", "shape"))
def _init(key: Array, network: nn.Module, shape: tuple[int, int, int]) -> networks.Variables:
    return networks.init(network, key, shape)


def training_images(made: CondensedSet, dataset: Dataset) -> TrainData:
    """Return a set's training images, decoded, normalised as the real images are."""
    images, labels = made.decoded()
    mean, std = jnp.asarray(dataset.mean, jnp.float32), jnp.asarray(dataset.std, jnp.float32)
    return TrainData(images, labels, mean, std)


def real_images(dataset: Dataset, per_class: int | None, *, seed: int) -> Dataset:
    """Return a data set, or some random images of each class; smaller classes whole.

    Args:
      dataset: the real images.
      per_class: images of each class at most; None: all.
      seed: of the draw.
    """
    if per_class is None:
        return dataset
    chosen = [
        np.random.default_rng([seed, label]).permutation(own)[:per_class]
        for label in range(dataset.num_classes)
        for own in [np.flatnonzero(dataset.labels == label)]
    ]
    index = np.sort(np.concatenate(chosen))
    return dataclasses.replace(dataset, images=dataset.images[index], labels=dataset.labels[index])


class Features(NamedTuple):
    """Features of labelled images.

    Attributes:
      values: float32 [n, d].
      labels: int32 [n].
    """

    values: np.ndarray
    labels: np.ndarray

    def of(self, label: int) -> np.ndarray:
        """Return the features of a class, [m, d]."""
        return self.values[self.labels == label]


def of_sets(
    sets: Mapping[str, CondensedSet],
    dataset: Dataset,
    variables: networks.Variables,
    net: nn.Module,
) -> dict[str, Features]:
    """Compute features of sets' training images, in inference mode.

    Args:
      sets: by label.
      dataset: whose normalisation holds.
      variables: of one network.
      net: the network.
    """
    found = {}
    for label, made in sets.items():
        data = training_images(made, dataset)
        _, values = jax.device_get(training.predict(variables, data, network=net))
        found[label] = Features(values, np.asarray(data.labels))
    return found


def of_dataset(dataset: Dataset, variables: networks.Variables, net: nn.Module) -> Features:
    """Compute features of real images, in inference mode."""
    _, values = training.predict_all(variables, dataset, network=net)
    return Features(values, dataset.labels)


class ClassSums(NamedTuple):
    """Sums over images under N networks.

    Attributes:
      features: of each class, [N, C, d].
      counts: images of each class, [N, C].
      squares: of the features' squared norms, [N].
      right: images classified correctly, [N].
    """

    features: Array | np.ndarray
    counts: Array | np.ndarray
    squares: Array | np.ndarray
    right: Array | np.ndarray


@partial(jax.jit, static_argnames=("network", "block"))
def class_sums(
    variables: networks.Variables, data: TrainData, *, network: nn.Module, block: int = 256
) -> ClassSums:
    """Sum features by class under stacked networks, in blocks of images, in inference mode.

    Args:
      variables: leaves [N, ...].
      data: images [n, h, w, c] and their labels.
      network: the network.
      block: images at once.
    """
    count = data.images.shape[0]
    block = min(block, count)
    extra = -count % block
    blocks = (
        jnp.pad(data.images, [(0, extra)] + [(0, 0)] * 3).reshape(
            -1, block, *data.images.shape[1:]
        ),
        jnp.pad(data.labels, (0, extra), constant_values=-1).reshape(-1, block),  # of no class
    )

    def one(variables: networks.Variables, shared: tuple[Array, ...]) -> ClassSums:
        images, labels, mean, std = shared

        def sums(images: Array, labels: Array) -> ClassSums:
            normalised = sampling.normalise(images, mean, std)
            logits, features = networks.infer(network, variables, normalised)
            member = jax.nn.one_hot(labels, logits.shape[-1])
            return ClassSums(
                jnp.einsum("nc,nd->cd", member, features, precision="highest"),
                member.sum(0),
                jnp.sum(jnp.where(labels >= 0, jnp.sum(features**2, -1), 0)),
                jnp.sum(jnp.argmax(logits, -1) == labels).astype(jnp.float32),
            )

        def add(total: ClassSums, part: tuple[Array, Array]) -> tuple[ClassSums, None]:
            return jax.tree.map(jnp.add, total, sums(*part)), None

        shapes = jax.eval_shape(sums, images[0], labels[0])
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, (images, labels))[0]

    return parallel.over_networks(one, variables, (*blocks, data.mean, data.std))


def class_sums_in_parts(
    variables: networks.Variables,
    data: TrainData,
    *,
    network: nn.Module,
    mesh: jax.sharding.Mesh,
) -> ClassSums:
    """`class_sums` as NumPy arrays; a set on the host is sent in parts."""
    sums = [
        parallel.fetch(class_sums(variables, part, network=network))
        for part in testing.parts(data, mesh)
    ]
    return ClassSums(*(sum(parts) for parts in zip(*sums, strict=True)))
