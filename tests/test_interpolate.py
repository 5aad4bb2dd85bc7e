"""Mid encoders: lerp on real parameter trees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dancejax import interpolate, networks

NETWORK = networks.create("convnet", 3, (28, 28, 1), width=4, depth=2)


@pytest.fixture(scope="module")
def pair():
    """Parameters of two networks: as initialised, and as an expert might have them."""
    init = jax.jit(lambda key: networks.init(NETWORK, key, (28, 28, 1)))
    return init(jax.random.key(0)), init(jax.random.key(1))


def test_ends_are_exact(pair):
    first, expert = pair
    chex.assert_trees_all_equal(interpolate.lerp(first, expert, 0.0), expert)
    chex.assert_trees_all_equal(interpolate.lerp(first, expert, 1.0), first)


@given(st.floats(0, 1, width=32))
@settings(max_examples=20, deadline=None)
def test_between_is_the_weighted_mean_of_every_parameter(pair, lam):
    first, expert = pair
    found = jax.jit(interpolate.lerp)(first, expert, lam)
    for a, b, c in zip(*map(jax.tree.leaves, (first, expert, found)), strict=True):
        expected = lam * np.asarray(a, np.float64) + (1 - lam) * np.asarray(b, np.float64)
        np.testing.assert_allclose(c, expected, rtol=1e-6, atol=1e-7)


def test_gradient_of_lambda_is_the_difference(pair):
    first, expert = pair
    total = jax.jit(jax.grad(
        lambda lam: sum(jnp.sum(x) for x in jax.tree.leaves(interpolate.lerp(first, expert, lam)))
    ))(0.3)  # fmt: skip
    expected = sum(
        float(a.sum() - b.sum())
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(expert), strict=True)
    )
    np.testing.assert_allclose(total, expected, rtol=1e-4)


def test_other_trees_are_refused(pair):
    first, _ = pair
    with pytest.raises(AssertionError, match="tree structs"):
        interpolate.lerp(first, {"params": first["params"]["conv0"]}, 0.5)
    wider = networks.create("convnet", 3, (28, 28, 1), width=8, depth=2)
    other = jax.eval_shape(lambda: networks.init(wider, jax.random.key(0), (28, 28, 1)))
    with pytest.raises(AssertionError, match="shape"):
        interpolate.lerp(first, other, 0.5)


def test_stack_and_select_are_inverse(pair):
    first, expert = pair
    stacked = interpolate.stack([first, expert])
    pick = jax.jit(interpolate.select)
    chex.assert_trees_all_equal(pick(stacked, jnp.int32(0)), first)
    chex.assert_trees_all_equal(pick(stacked, jnp.int32(1)), expert)
    chex.assert_trees_all_equal(interpolate.select(interpolate.stack([first]), 0), first)
    with pytest.raises(ValueError, match="at least one"):
        interpolate.stack([])
