"""Feature means, kernels and MMD against NumPy, SciPy and scikit-learn."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise

from dancejax import mmd


def samples(seed=0, n=5, m=4, d=3, scale=1.0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)) * scale, rng.normal(0.5, 1.3, size=(m, d)) * scale
    return x.astype(np.float32), y.astype(np.float32)


KERNELS = {
    "linear": (mmd.linear_kernel, pairwise.linear_kernel),
    "polynomial": (
        mmd.polynomial_kernel,
        lambda x, y: pairwise.polynomial_kernel(x, y, degree=2, gamma=1, coef0=1),
    ),
    "rbf": (
        lambda x, y: mmd.rbf_kernel(x, y, bandwidth=2.0),
        lambda x, y: sum(
            pairwise.rbf_kernel(x, y, gamma=1 / (m * 2.0)) for m in (0.25, 0.5, 1, 2, 4)
        ),
    ),
}


def double_loop(x, y, kernel):
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(a, b):
        pairs = itertools.product(a, b)
        return np.mean([kernel(p[None], q[None])[0, 0] for p, q in pairs])

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


class MeansTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_feature_mean(self):
        x, _ = samples()
        np.testing.assert_allclose(self.variant(mmd.feature_mean)(x), x.mean(0), rtol=1e-6)
        weights = np.array([1, 0, 3, 0, 4], np.float32)
        found = self.variant(mmd.feature_mean)(x, weights)
        np.testing.assert_allclose(found, np.average(x, axis=0, weights=weights), rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    def test_mean_discrepancy(self):
        x, y = samples()
        expected = ((x.mean(0, np.float64) - y.mean(0, np.float64)) ** 2).sum()
        np.testing.assert_allclose(self.variant(mmd.mean_discrepancy)(x, y), expected, rtol=1e-5)


@pytest.mark.parametrize("moments", [1, 2, 3])
def test_moment_discrepancy_against_scipy(moments):
    x, y = samples(3, n=9, m=6)
    both = [values.astype(np.float64) for values in (x, y)]
    expected = ((both[0].mean(0) - both[1].mean(0)) ** 2).sum()
    for order in range(2, moments + 1):
        a, b = (scipy.stats.moment(values, order) for values in both)
        expected += ((a - b) ** 2).sum()
    found = mmd.moment_discrepancy(x, y, moments)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if moments == 1:
        assert found == mmd.mean_discrepancy(x, y)
    assert mmd.moment_discrepancy(x, x, moments) == 0


def test_gradient_of_the_moment_discrepancy():
    """Of coordinate j of the third moment: 2 (b - a) 3/m ((y - mean)^2 - variance), in float64."""
    x, y = (values.astype(np.float64) for values in samples(4, n=8, m=5))
    wanted = 2 * (y.mean(0) - x.mean(0)) / len(y) * np.ones_like(y)
    a, b = (values - values.mean(0) for values in (x, y))
    wanted += 2 * (b.var(0) - a.var(0)) * 2 * b / len(y)
    third = (b**3).mean(0) - (a**3).mean(0)
    wanted += 2 * third * 3 * (b**2 - b.var(0)) / len(y)
    found = jax.grad(lambda y: mmd.moment_discrepancy(x, y, 3))(jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_of_a_batch_are_each_samples_own():
    x = np.arange(12.0).reshape(2, 3, 2)
    weights = np.array([[1.0, 0, 0], [0, 0, 2.0]])
    np.testing.assert_allclose(
        mmd.feature_mean(jnp.array(x), jnp.array(weights)), [[0, 1], [10, 11]]
    )


@pytest.mark.parametrize("name", list(KERNELS))
def test_kernels_against_scikit_learn(name):
    ours, theirs = KERNELS[name]
    x, y = samples(1)
    np.testing.assert_allclose(
        ours(x, y), theirs(x.astype(np.float64), y.astype(np.float64)), rtol=2e-5, atol=1e-6
    )


def test_distances_against_scipy():
    x, y = samples(2, n=30, m=20, d=64, scale=3)
    expected = cdist(x, y, "sqeuclidean")
    np.testing.assert_allclose(mmd.squared_distances(x, y), expected, rtol=1e-5)
    own = np.asarray(mmd.squared_distances(x, x))
    assert own.min() >= 0
    np.testing.assert_allclose(np.diag(own), 0, atol=1e-5 * own.max())


def test_bandwidth_is_the_mean_over_pairs_of_different_points():
    x, y = samples(3)
    z = np.concatenate([x, y])
    distances = cdist(z, z, "sqeuclidean")
    expected = distances.sum() / (len(z) * (len(z) - 1))
    np.testing.assert_allclose(mmd.mean_bandwidth(x, y), expected, rtol=1e-5)


@pytest.mark.parametrize("name", list(KERNELS))
def test_mmd2_against_a_double_loop(name):
    ours, theirs = KERNELS[name]
    x, y = samples(4)
    np.testing.assert_allclose(
        mmd.mmd2(x, y, ours), double_loop(x, y, theirs), rtol=1e-4, atol=1e-5
    )


def test_default_kernel_is_five_bands_around_the_mean_distance():
    x, y = samples(5)
    z = np.concatenate([x, y]).astype(np.float64)
    band = cdist(z, z, "sqeuclidean").sum() / (len(z) * (len(z) - 1))

    def kernel(a, b):
        distance = cdist(a, b, "sqeuclidean")
        return sum(np.exp(-distance / (m * band)) for m in (0.25, 0.5, 1, 2, 4))

    np.testing.assert_allclose(mmd.mmd2(x, y), double_loop(x, y, kernel), rtol=1e-4)


def test_linear_mmd_is_the_distance_of_means_and_so_is_its_gradient():
    x, y = samples(6, n=7, m=3, d=5)
    pairs = [
        jax.value_and_grad(f, argnums=(0, 1))(x, y)
        for f in (lambda a, b: mmd.mmd2(a, b, mmd.linear_kernel), mmd.mean_discrepancy)
    ]
    chex.assert_trees_all_close(*pairs, rtol=1e-4, atol=1e-5)


mmd2 = jax.jit(mmd.mmd2)


@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (1, 4), (6, 3)]), st.floats(0.1, 10))
@settings(max_examples=15, deadline=None)
def test_mmd2_is_a_squared_distance(seed, sizes, scale):
    x, y = samples(seed, *sizes, scale=scale)
    value = float(mmd2(x, y))
    assert value >= -1e-5
    np.testing.assert_allclose(mmd2(y, x), value, atol=1e-5)
    np.testing.assert_allclose(mmd2(x, x[::-1]), 0, atol=1e-5)


def test_equal_points_have_no_distance_and_no_gradient():
    x = jnp.ones((4, 3))
    value, grad = jax.jit(jax.value_and_grad(mmd.mmd2))(x, x[:2])
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_allclose(grad, 0, atol=1e-6)


def test_batch_axes_are_a_loop():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(2, 3, 6, 4)).astype(np.float32)
    for function in map(jax.jit, (mmd.mmd2, mmd.mean_discrepancy, mmd.mean_bandwidth)):
        batched = function(x, y)
        for i, j in itertools.product(range(2), range(3)):
            np.testing.assert_allclose(batched[i, j], function(x[i, j], y[i, j]), rtol=1e-4)


@pytest.mark.parametrize("name", list(KERNELS))
def test_gradients_against_finite_differences(name):
    x, y = samples(7)
    check_grads(
        lambda a: mmd.mmd2(a, y, KERNELS[name][0]), (x,), order=1, modes=("rev",), rtol=0.02,
        atol=0.02, eps=1e-2,
    )  # fmt: skip


def test_bandwidth_is_a_constant_for_the_gradient():
    x, y = samples(8)
    band = mmd.mean_bandwidth(x, y)
    fixed = jax.grad(lambda a: mmd.mmd2(a, y, lambda p, q: mmd.rbf_kernel(p, q, bandwidth=band)))(x)
    np.testing.assert_allclose(jax.grad(lambda a: mmd.mmd2(a, y))(x), fixed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "shapes", [((3, 2), (3, 4)), ((3,), (3,)), ((2, 3, 2), (3, 3, 2)), ((0, 2), (3, 2))]
)
def test_shapes_that_do_not_fit_are_refused(shapes):
    x, y = (jnp.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="samples must"):
        mmd.mmd2(x, y)


def test_distances_far_from_the_origin_do_not_cancel():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 5)) + 1e3 for n in (4, 6))
    expected = ((x[:, None] - y[None]) ** 2).sum(-1)
    found = mmd.squared_distances(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    grads = jax.grad(lambda a: mmd.squared_distances(a, jnp.asarray(y)).sum())(jnp.asarray(x))
    np.testing.assert_allclose(grads, 2 * (6 * x - y.sum(0)), rtol=1e-2)


@pytest.mark.slow
def test_a_bandwidth_of_zero_is_the_limit():
    """All features of a class equal, as under a dead network: MMD and gradient are zero."""
    x = jnp.ones((3, 4))
    assert float(mmd.mmd2(x, x)) == 0
    np.testing.assert_array_equal(jax.grad(lambda a: mmd.mmd2(a, jnp.ones((5, 4))))(x), 0)
    y = jnp.stack([jnp.zeros(4), jnp.ones(4)])
    found = mmd.rbf_kernel(y, y, bandwidth=0.0, multipliers=(1.0, 2.0))
    np.testing.assert_array_equal(found, [[2, 0], [0, 2]])
    gradient = jax.grad(lambda a: mmd.rbf_kernel(a, y, bandwidth=0.0).sum())(y)
    assert np.isfinite(gradient).all()
