"""Feature means, kernels and the squared maximum mean discrepancy: what all four methods minimise.

Every function is pure, works on any leading batch axes and is differentiable.
"""

from collections.abc import Callable, Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp

Array = jax.Array
Kernel = Callable[[Array, Array], Array]
_EXACT = jax.lax.Precision.HIGHEST
"""Losses are differences of large numbers: whatever precision networks have, not here."""
RBF_MULTIPLIERS = (0.25, 0.5, 1.0, 2.0, 4.0)


def feature_mean(features: Array, weights: Array | None = None) -> Array:
    """Mean over the sample axis, [..., n, d] -> [..., d].

    weights: [..., n], not negative, used after division by their sum; a sum of zero gives NaN.
    The empirical embedding of DM (WACV 2023), equation 4.
    """
    chex.assert_is_broadcastable(features.shape[-2:], features.shape)
    if weights is None:
        return jnp.mean(features, axis=-2)
    chex.assert_equal_shape_prefix([features, weights], features.ndim - 1)
    normalised = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.einsum("...n,...nd->...d", normalised, features, precision=_EXACT)


def mean_discrepancy(real: Array, syn: Array) -> Array:
    """Squared distance of the feature means, [..., n, d], [..., m, d] -> [...].

    DM's matching loss of one class (WACV 2023, equation 5), and PLTDA's under a mid encoder
    (DANCE, IJCAI 2024). Equals `mmd2` with the linear kernel.
    """
    _check_samples(real, syn)
    return jnp.sum(jnp.square(feature_mean(real) - feature_mean(syn)), axis=-1)


def linear_kernel(x: Array, y: Array) -> Array:
    """x'y for all pairs, [..., n, d], [..., m, d] -> [..., n, m] (M3D, AAAI 2024)."""
    _check_samples(x, y)
    return jnp.einsum("...nd,...md->...nm", x, y, precision=_EXACT)


def polynomial_kernel(x: Array, y: Array, *, c: float = 1.0, degree: int = 2) -> Array:
    """(x'y + c)^degree for all pairs, [..., n, d], [..., m, d] -> [..., n, m] (M3D, AAAI 2024)."""
    return (linear_kernel(x, y) + c) ** degree


def squared_distances(x: Array, y: Array) -> Array:
    """Squared Euclidean distances of all pairs, >= 0, [..., n, d], [..., m, d] -> [..., n, m].

    Computed from norms and products around the joint mean, which distances do not depend on: far
    from the origin large numbers would cancel.
    """
    _check_samples(x, y)
    joint = jnp.concatenate([x, y], axis=-2)
    centre = jax.lax.stop_gradient(jnp.mean(joint, axis=-2, keepdims=True))
    x, y = x - centre, y - centre
    norms = jnp.sum(x * x, -1)[..., :, None] + jnp.sum(y * y, -1)[..., None, :]
    products = jnp.einsum("...nd,...md->...nm", x, y, precision=_EXACT)
    return jnp.maximum(norms - 2 * products, 0.0)


def mean_bandwidth(x: Array, y: Array) -> Array:
    """Mean squared distance over all pairs of different points of the joint sample -> [...].

    Computed from the moments, in O(n d): the sum over pairs is 2 N (sum |z|^2 - N |mean z|^2).
    """
    _check_samples(x, y)
    joint = jnp.concatenate([x, y], axis=-2)
    count = joint.shape[-2]
    centred = joint - jnp.mean(joint, axis=-2, keepdims=True)
    return 2 * jnp.sum(jnp.square(centred), axis=(-2, -1)) / (count - 1)


def rbf_kernel(
    x: Array,
    y: Array,
    *,
    bandwidth: Array | float,
    multipliers: Sequence[float] = RBF_MULTIPLIERS,
) -> Array:
    """Sum of Gaussians exp(-|x - y|^2 / (m * bandwidth)), [..., n, d], [..., m, d] -> [..., n, m].

    bandwidth: not negative, a number or [...]; `mean_bandwidth` of the joint sample is M3D's choice
    (AAAI 2024), there a constant for the gradient. At a bandwidth of zero, that of a sample whose
    points are all equal, the kernel is its limit: 1 for equal points, else 0, with a gradient of
    zero.
    """
    distances = squared_distances(x, y)
    scale = jnp.asarray(bandwidth)[..., None, None]
    positive = scale > 0
    ratio = jnp.where(positive, distances, 0.0) / jnp.where(positive, scale, 1.0)
    ratio = jnp.where(positive | (distances == 0), ratio, jnp.inf)
    return sum(jnp.exp(-ratio / m) for m in multipliers)  # type: ignore[return-value]


def mmd2(x: Array, y: Array, kernel: Kernel | None = None) -> Array:
    """Squared MMD, [..., n, d], [..., m, d] -> [...]: the biased K(x,x) + K(y,y) - 2 K(x,y).

    kernel: maps two samples to their Gram matrix; None takes M3D's Gaussian, five bands around
    `mean_bandwidth` of the joint sample, held constant in the gradient (M3D, AAAI 2024).
    Not negative but for rounding; zero for equal samples.
    """
    _check_samples(x, y)
    if kernel is None:
        kernel = partial(rbf_kernel, bandwidth=jax.lax.stop_gradient(mean_bandwidth(x, y)))
    means = [jnp.mean(kernel(a, b), axis=(-2, -1)) for a, b in ((x, x), (y, y), (x, y))]
    return means[0] + means[1] - 2 * means[2]


def _check_samples(x: Array, y: Array) -> None:
    chex.assert_equal_rank([x, y])
    if x.ndim < 2 or x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        raise ValueError(f"samples must be [..., n, d] and [..., m, d], not {x.shape}, {y.shape}")
    if x.shape[-2] == 0 or y.shape[-2] == 0:
        raise ValueError(f"samples must not be empty, but have shapes {x.shape} and {y.shape}")
