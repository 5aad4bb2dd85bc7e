"""Permutations without state: every image once per epoch, whatever the batch and class size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import data
from dancejax.data import sampling


def permutation(n, seed=0, epoch=0):
    index = jnp.arange(n)
    return np.asarray(sampling.permuted_index(jax.random.key(seed), jnp.full(n, epoch), index, n))


def test_every_size_is_permuted():
    """One program for all sizes: n is traced; entries beyond n repeat others."""
    index = jnp.arange(200)

    @jax.jit
    def permute(n):
        epoch = jnp.zeros(200, jnp.int32)
        return sampling.permuted_index(jax.random.key(0), epoch, index % n, n)

    for n in range(1, 201):
        assert sorted(np.asarray(permute(n))[:n]) == list(range(n))


@pytest.mark.parametrize("n", [5000, 65_537])
def test_large_sizes_are_permuted(n):
    np.testing.assert_array_equal(np.sort(permutation(n)), np.arange(n))


def test_keys_and_epochs_give_other_orders():
    orders = [permutation(50, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    matches = [np.mean(a == b) for i, a in enumerate(orders) for b in orders[:i]]
    assert np.mean(matches) < 0.06  # by chance one in 50


@pytest.mark.parametrize("by", ["key", "epoch"])
def test_orders_are_uniform(by):
    """Where each of 6 goes over 6000 orders: chi-square of every row, 5 degrees of freedom."""
    index = jnp.arange(6)
    many = jnp.arange(6000)
    if by == "key":
        orders = jax.vmap(
            lambda i: sampling.permuted_index(jax.random.key(i), jnp.zeros(6, int), index, 6)
        )(many)
    else:
        orders = jax.vmap(
            lambda i: sampling.permuted_index(jax.random.key(1), jnp.full(6, i), index, 6)
        )(many)
    for position in range(6):
        counts = np.bincount(np.asarray(orders)[:, position], minlength=6)
        assert ((counts - 1000) ** 2 / 1000).sum() < 25.7  # p = 0.0001


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (7, 7), (5, 13), (1, 3)])
def test_epochs_are_without_replacement_across_batches(n, batch):
    key = jax.random.key(2)
    steps = 4 * n
    drawn = np.concatenate([
        np.asarray(sampling.epoch_positions(key, jnp.int32(step), batch, n))
        for step in range(steps)
    ])  # fmt: skip
    epochs = drawn[: len(drawn) // n * n].reshape(-1, n)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (len(epochs), 1)))
    if n > 1:
        assert len(np.unique(epochs, axis=0)) > 1


def test_class_batches_hold_the_class_and_each_image_once_per_epoch():
    """Classes of unequal sizes, in any block of classes."""
    whole = data.subset(data.load("fashion_mnist_mini"), 12, seed=0)
    keep = np.flatnonzero((whole.labels < 3) & (np.arange(120) % 12 < 4 * (whole.labels + 1)))
    keep = np.random.default_rng(0).permutation(keep)
    uneven = dataclasses.replace(
        whole, images=whole.images[keep], labels=whole.labels[keep], classes=whole.classes[:3]
    )
    held = sampling.class_data(uneven)
    sizes = np.bincount(uneven.labels)
    np.testing.assert_array_equal(held.counts, sizes)
    assert len(set(sizes)) > 1
    class_batch = jax.jit(sampling.class_batch, static_argnums=4)
    key, seen = jax.random.key(0), [[], [], []]
    for step in range(int(sizes.max())):
        batch = class_batch(key, jnp.int32(step), held, jnp.arange(3), 4)
        alone = class_batch(key, jnp.int32(step), held, jnp.array([2]), 4)
        np.testing.assert_array_equal(alone[0], batch[2])
        for label in range(3):
            seen[label].extend(image.tobytes() for image in np.asarray(batch[label]))
    for label, images in enumerate(seen):
        own = {image.tobytes() for image in uneven.images[uneven.labels == label]}
        size = len(own)
        for epoch in range(len(images) // size):
            assert set(images[epoch * size : (epoch + 1) * size]) == own


def test_normalise():
    images = np.array([[[[0, 255, 51]]]], np.uint8)
    mean, std = jnp.array([0.1, 0.2, 0.3]), jnp.array([0.5, 0.25, 0.1])
    expected = [[[[-0.2, 3.2, -1.0]]]]
    np.testing.assert_allclose(
        sampling.normalise(jnp.array(images), mean, std), expected, atol=1e-6
    )
    floats = jnp.array(images, jnp.float32) / 255
    np.testing.assert_allclose(sampling.normalise(floats, mean, std), expected, atol=1e-6)


def test_whole_roots_are_exact():
    """Around squares, where a square root that is not correctly rounded would be off by one."""
    squares = np.array([1, 2, 3, 100, 4096, 4097, 30000, 46340], np.int64) ** 2
    numbers = np.unique(np.concatenate([squares - 1, squares, squares + 1]))
    numbers = numbers[(numbers > 0) & (numbers < 2**31)]
    found = np.asarray(sampling._ceil_root(jnp.asarray(numbers, jnp.uint32)), np.int64)
    assert ((found - 1) ** 2 < numbers).all() and (found**2 >= numbers).all()
