"""Class batches on the device: gathered inside the compiled step, without replacement per epoch.

The order of every epoch is a pseudo-random permutation computed from (key, epoch) at the positions
that are needed, so that sampling has no state: any step's batch is known from its number alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dancejax.data.dataset import Dataset

_ROUNDS = 8


class Draws(NamedTuple):
    """Which images a step uses."""

    classes: jax.Array | np.ndarray  # int32 [C, B], real images of each class
    training: jax.Array | np.ndarray  # int32 [t], those that a method trains networks on, in order


class ClassData(NamedTuple):
    """Labelled images on the device, of which a step draws some of each class.

    Attributes:
      images: uint8 [N, h, w, c], sorted by class; or only those that one step draws.
      labels: int32 [N], of these images.
      offsets: int32 [C], where each class begins in the whole set.
      counts: int32 [C], images of each class in the whole set.
      drawn: where among `images` the step's are; None: at the places that follow from its number.
    """

    images: jax.Array
    labels: jax.Array
    offsets: jax.Array
    counts: jax.Array
    drawn: Draws | None = None


def class_sizes(dataset: Dataset) -> tuple[ClassData, np.ndarray]:
    """Return (a data set's `ClassData` without its images, the order [N] that sorts by class)."""
    order = np.argsort(dataset.labels, kind="stable")
    counts = dataset.class_counts.astype(np.int32)
    sizes = ClassData(
        images=jnp.zeros((0, *dataset.image_shape), jnp.uint8),
        labels=jnp.asarray(dataset.labels[order]),
        offsets=jnp.asarray(np.cumsum(counts, dtype=np.int32) - counts),
        counts=jnp.asarray(counts),
    )
    return sizes, order


def class_data(dataset: Dataset) -> ClassData:
    """Move a data set to the device, sorted by class."""
    sizes, order = class_sizes(dataset)
    return sizes._replace(images=jnp.asarray(dataset.images[order]))


def permuted_index(
    key: jax.Array, epoch: jax.Array, index: jax.Array, n: jax.Array | int
) -> jax.Array:
    """Compute where `index` goes in the pseudo-random permutation that (key, epoch) names.

    A generalised Feistel cipher on a rectangle a x b >= n; results outside of 0..n-1 walk on along
    their cycle.

    Args:
      key: of the permutations.
      epoch: int32, which of them.
      index: int32 of the shape of epoch, 0 <= index < n.
      n: a positive number.

    Returns:
      int32 of the shape of index; for fixed key and epoch a bijection of 0..n-1.

    References:
      Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002.
    """
    n = jnp.asarray(n, jnp.uint32)
    a = _ceil_root(n)
    b = (n + a - 1) // a
    seeds = jax.random.bits(key, (_ROUNDS,), jnp.uint32)
    epoch_hash = _mix(epoch.astype(jnp.uint32))

    def encrypt(value: jax.Array) -> jax.Array:
        left, right = value // b, value % b
        for i in range(0, _ROUNDS, 2):
            left = (left + _mix(right ^ epoch_hash ^ seeds[i]) % a) % a
            right = (right + _mix(left ^ epoch_hash ^ seeds[i + 1]) % b) % b
        return left * b + right

    start = encrypt(index.astype(jnp.uint32))
    walked = lax.while_loop(
        lambda value: jnp.any(value >= n),
        lambda value: jnp.where(value >= n, encrypt(value), value),
        start,
    )
    return walked.astype(jnp.int32)


def epoch_positions(key: jax.Array, step: jax.Array, batch: int, n: jax.Array | int) -> jax.Array:
    """Draw a step's indices; each epoch of n draws is without replacement.

    Args:
      key: of the draws.
      step: int32, counted from 0.
      batch: indices a step. A batch may cross from one epoch into the next; with batch > n it
        holds several.
      n: how many there are to draw from.

    Returns:
      int32 [batch] in 0..n-1.
    """
    position = step * batch + jnp.arange(batch, dtype=jnp.int32)
    return permuted_index(key, position // n, position % n, n)


def class_indices(
    key: jax.Array, step: jax.Array, data: ClassData, classes: jax.Array, batch: int
) -> jax.Array:
    """Draw which images of some classes a step sees.

    Every class runs through its own epochs without replacement, whatever its size.

    Args:
      key: as for `epoch_positions`.
      step: likewise.
      data: sorted by class.
      classes: int32 [k].
      batch: images of each class.

    Returns:
      int32 [k, batch] into data.images.
    """

    def indices(label: jax.Array) -> jax.Array:
        class_key = jax.random.fold_in(key, label)
        return data.offsets[label] + epoch_positions(class_key, step, batch, data.counts[label])

    return jax.vmap(indices)(classes)


def class_batch(
    key: jax.Array, step: jax.Array, data: ClassData, classes: jax.Array, batch: int
) -> jax.Array:
    """Gather the images of some classes that a step sees.

    Args:
      key: as for `class_indices`.
      step: likewise.
      classes: likewise.
      batch: likewise.
      data: the whole set, or what the step draws of it.

    Returns:
      uint8 [k, batch, h, w, c].
    """
    if data.drawn is not None:
        return data.images[data.drawn.classes[classes]]
    return data.images[class_indices(key, step, data, classes, batch)]


def normalise(
    images: jax.Array, mean: jax.Array | np.ndarray, std: jax.Array | np.ndarray
) -> jax.Array:
    """Normalise images as networks see them.

    Args:
      images: uint8, or floating-point in [0, 1], [..., h, w, c].
      mean: [c], in [0, 1] units.
      std: likewise.

    Returns:
      (images - mean) / std, float32.
    """
    if images.dtype == jnp.uint8:
        images = images.astype(jnp.float32) / 255
    return (images - mean) / std


def _ceil_root(n: jax.Array) -> jax.Array:
    """The smallest whole number whose square is at least n, uint32, the same on every backend.

    Square roots in floating point are not correctly rounded everywhere; a permutation that differs
    between host and device would draw some images twice and others never.
    """
    root = jnp.ceil(jnp.sqrt(n.astype(jnp.float32))).astype(jnp.uint32)
    for _ in range(2):
        root = jnp.where((root > 0) & ((root - 1) * (root - 1) >= n), root - 1, root)
    for _ in range(2):
        root = jnp.where(root * root < n, root + 1, root)
    return root


def _mix(x: jax.Array) -> jax.Array:
    """The 32-bit finaliser of MurmurHash3."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
