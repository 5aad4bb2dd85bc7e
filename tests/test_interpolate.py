"""Mid encoders: lerp on real parameter trees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dancejax import interpolate, networks

NETWORK = networks.create("convnet", 3, (28, 28, 1), width=4, depth=2)
FIRST, EXPERT = (networks.init(NETWORK, jax.random.key(i), (28, 28, 1)) for i in (0, 1))


def test_ends_are_exact():
    chex.assert_trees_all_equal(interpolate.lerp(FIRST, EXPERT, 0.0), EXPERT)
    chex.assert_trees_all_equal(interpolate.lerp(FIRST, EXPERT, 1.0), FIRST)


@given(st.floats(0, 1, width=32))
@settings(max_examples=20, deadline=None)
def test_between_is_the_weighted_mean_of_every_parameter(lam):
    found = interpolate.lerp(FIRST, EXPERT, lam)
    for a, b, c in zip(*map(jax.tree.leaves, (FIRST, EXPERT, found)), strict=True):
        expected = lam * np.asarray(a, np.float64) + (1 - lam) * np.asarray(b, np.float64)
        np.testing.assert_allclose(c, expected, rtol=1e-6, atol=1e-7)


def test_gradient_of_lambda_is_the_difference():
    total = jax.grad(
        lambda lam: sum(jnp.sum(x) for x in jax.tree.leaves(interpolate.lerp(FIRST, EXPERT, lam)))
    )(0.3)
    expected = sum(
        float(a.sum() - b.sum())
        for a, b in zip(jax.tree.leaves(FIRST), jax.tree.leaves(EXPERT), strict=True)
    )
    np.testing.assert_allclose(total, expected, rtol=1e-4)


def test_other_trees_are_refused():
    with pytest.raises(AssertionError, match="tree structs"):
        interpolate.lerp(FIRST, {"params": FIRST["params"]["conv0"]}, 0.5)
    wider = networks.create("convnet", 3, (28, 28, 1), width=8, depth=2)
    other = networks.init(wider, jax.random.key(0), (28, 28, 1))
    with pytest.raises(AssertionError, match="shape"):
        interpolate.lerp(FIRST, other, 0.5)


def test_stack_and_select_are_inverse():
    stacked = interpolate.stack([FIRST, EXPERT])
    pick = jax.jit(interpolate.select)
    chex.assert_trees_all_equal(pick(stacked, jnp.int32(0)), FIRST)
    chex.assert_trees_all_equal(pick(stacked, jnp.int32(1)), EXPERT)
    chex.assert_trees_all_equal(interpolate.select(interpolate.stack([FIRST]), 0), FIRST)
    with pytest.raises(ValueError, match="at least one"):
        interpolate.stack([])
