"""Feature means, kernels and the squared maximum mean discrepancy (MMD).

All methods minimise one of these. Every function is pure, takes any leading batch axes and is
differentiable.
"""

from collections.abc import Callable, Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp

Array = jax.Array
Kernel = Callable[[Array, Array], Array]
_EXACT = jax.lax.Precision.HIGHEST
"""Losses are differences of large numbers, which lower precision would lose."""
_TINY = 1e-12
"""Below it squares of amplitudes and of phases count as equal."""
RBF_MULTIPLIERS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of M3D's five Gaussians, in units of the mean squared distance."""


def feature_mean(features: Array, weights: Array | None = None) -> Array:
    """Compute the mean over the sample axis.

    Args:
      features: [..., n, d].
      weights: [..., n], not negative; divided by their sum, so that a sum of zero gives NaN. None
        weighs all samples equally.

    Returns:
      [..., d].

    References:
      Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, equation 4.
    """
    chex.assert_is_broadcastable(features.shape[-2:], features.shape)
    if weights is None:
        return jnp.mean(features, axis=-2)
    chex.assert_equal_shape_prefix([features, weights], features.ndim - 1)
    normalised = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.einsum("...n,...nd->...d", normalised, features, precision=_EXACT)


def mean_discrepancy(real: Array, syn: Array) -> Array:
    """Compute the squared distance of the feature means, which is `mmd2` with the linear kernel.

    Args:
      real: features of real images, [..., n, d].
      syn: features of synthetic images, [..., m, d].

    Returns:
      [...], not negative.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      The loss of one class in DM (Zhao and Bilen, WACV 2023, equation 5); PLTDA's in DANCE (Zhang
      et al., IJCAI 2024), there under a mid encoder.
    """
    _check_samples(real, syn)
    return jnp.sum(jnp.square(feature_mean(real) - feature_mean(syn)), axis=-1)


def moment_discrepancy(real: Array, syn: Array, moments: int = 1) -> Array:
    """Compute the squared distances of the first moments of each coordinate, summed.

    Args:
      real: [..., n, d].
      syn: [..., m, d].
      moments: how many, at least 1: the mean, then central moments, the mean of (x - mean)^k.

    Returns:
      [...], not negative; with one moment `mean_discrepancy`.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      DM with explicit second and third moments in Zhang et al., "M3D", AAAI 2024, Table 1. That the
      moments are central, of each coordinate and of equal weight is our reading, after Zellinger et
      al., "Central Moment Discrepancy", ICLR 2017.
    """
    total = mean_discrepancy(real, syn)
    centred = [x - jnp.mean(x, axis=-2, keepdims=True) for x in (real, syn)]
    for order in range(2, moments + 1):
        a, b = (jnp.mean(x**order, axis=-2) for x in centred)
        total = total + jnp.sum(jnp.square(a - b), axis=-1)
    return total


def linear_kernel(x: Array, y: Array) -> Array:
    """Compute x'y for all pairs.

    Args:
      x: [..., n, d].
      y: [..., m, d].

    Returns:
      The Gram matrix, [..., n, m].

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      Zhang et al., "M3D", AAAI 2024.
    """
    _check_samples(x, y)
    return jnp.einsum("...nd,...md->...nm", x, y, precision=_EXACT)


def polynomial_kernel(x: Array, y: Array, *, c: float = 1.0, degree: int = 2) -> Array:
    """Compute (x'y + c)^degree for all pairs.

    Args:
      x: [..., n, d].
      y: [..., m, d].
      c: the offset, not negative for a positive definite kernel.
      degree: at least 1.

    Returns:
      The Gram matrix, [..., n, m].

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      Zhang et al., "M3D", AAAI 2024.
    """
    return (linear_kernel(x, y) + c) ** degree


def squared_distances(x: Array, y: Array) -> Array:
    """Compute the squared Euclidean distances of all pairs.

    They are computed from norms and products around the joint mean, on which distances do not
    depend; far from the origin, large numbers would cancel.

    Args:
      x: [..., n, d].
      y: [..., m, d].

    Returns:
      [..., n, m], not negative.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.
    """
    _check_samples(x, y)
    joint = jnp.concatenate([x, y], axis=-2)
    centre = jax.lax.stop_gradient(jnp.mean(joint, axis=-2, keepdims=True))
    x, y = x - centre, y - centre
    norms = jnp.sum(x * x, -1)[..., :, None] + jnp.sum(y * y, -1)[..., None, :]
    products = jnp.einsum("...nd,...md->...nm", x, y, precision=_EXACT)
    return jnp.maximum(norms - 2 * products, 0.0)


def mean_bandwidth(x: Array, y: Array) -> Array:
    """Compute the mean squared distance over all pairs of distinct points of the joint sample.

    It follows from the moments in O((n + m) d): with N = n + m, the sum over ordered pairs is
    2 N (sum |z|^2 - N |mean z|^2).

    Args:
      x: [..., n, d].
      y: [..., m, d].

    Returns:
      [...], not negative.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      The bandwidth of M3D's Gaussian kernel (Zhang et al., AAAI 2024).
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
    """Compute a sum of Gaussians, exp(-|x - y|^2 / (multiplier * bandwidth)), for all pairs.

    Args:
      x: [..., n, d].
      y: [..., m, d].
      bandwidth: not negative, a number or [...]; M3D's choice is `mean_bandwidth` of the joint
        sample, held constant in the gradient. At zero, the bandwidth of a sample whose points are
        all equal, each Gaussian is its limit, 1 for equal points and 0 for others, with a gradient
        of zero.
      multipliers: of the bandwidth, positive, one for each Gaussian.

    Returns:
      The Gram matrix, [..., n, m], in [0, len(multipliers)].

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      Zhang et al., "M3D", AAAI 2024.
    """
    distances = squared_distances(x, y)
    scale = jnp.asarray(bandwidth)[..., None, None]
    positive = scale > 0
    ratio = jnp.where(positive, distances, 0.0) / jnp.where(positive, scale, 1.0)
    ratio = jnp.where(positive | (distances == 0), ratio, jnp.inf)
    return sum(jnp.exp(-ratio / m) for m in multipliers)  # type: ignore[return-value]


def mmd2(x: Array, y: Array, kernel: Kernel | None = None) -> Array:
    """Compute the squared MMD, mean K(x, x) + mean K(y, y) - 2 mean K(x, y) over all pairs.

    This is the biased estimate, which includes the pairs of a point with itself.

    Args:
      x: [..., n, d].
      y: [..., m, d].
      kernel: maps two samples to their Gram matrix, [..., n, m]. None takes M3D's Gaussian:
        `rbf_kernel` with `mean_bandwidth` of the joint sample, held constant in the gradient.

    Returns:
      [...], not negative but for rounding; zero for equal samples.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      Gretton et al., "A Kernel Two-Sample Test", JMLR 2012; the loss of one class in M3D (Zhang et
      al., AAAI 2024).
    """
    _check_samples(x, y)
    if kernel is None:
        kernel = partial(rbf_kernel, bandwidth=jax.lax.stop_gradient(mean_bandwidth(x, y)))
    means = [jnp.mean(kernel(a, b), axis=(-2, -1)) for a, b in ((x, x), (y, y), (x, y))]
    return means[0] + means[1] - 2 * means[2]


def characteristic_discrepancy(
    real: Array, syn: Array, frequencies: Array, amplitude: float = 0.5
) -> Array:
    """Compute the distance of empirical characteristic functions, phi(t) = mean exp(i <t, f>).

    At each frequency it is sqrt(amplitude * (A - A')^2 + (1 - amplitude) * p) with the amplitudes
    A = |phi|, A' = |phi'| and the phase's part p = 2 (A A' - Re phi Re phi' - Im phi Im phi'); with
    an amplitude of 0.5 that is |phi - phi'| / sqrt(2). The mean over frequencies is returned.

    Args:
      real: features of real images, [..., n, d].
      syn: features of synthetic images, [..., m, d].
      frequencies: t, [..., k, d].
      amplitude: weight of the amplitudes, in [0, 1).

    Returns:
      [...], not negative.

    Raises:
      ValueError: shapes that do not fit, or an empty sample.

    References:
      Wang et al., "Dataset Distillation with Neural Characteristic Function", CVPR 2025,
      equations 4 to 6.
    """
    _check_samples(real, syn)
    parts = []
    for features in (real, syn):
        angles = jnp.einsum("...nd,...kd->...nk", features, frequencies, precision=_EXACT)
        parts.append((jnp.cos(angles).mean(-2), jnp.sin(angles).mean(-2)))
    (cos, sin), (own_cos, own_sin) = parts
    # A square root has no gradient at 0, where the functions agree.
    strength, own = (
        jnp.sqrt(jnp.maximum(c**2 + s**2, _TINY)) for c, s in ((cos, sin), (own_cos, own_sin))
    )
    between = (strength - own) ** 2
    # p as what the amplitudes leave of the distance of phi and phi': small differences stay exact.
    phase = (cos - own_cos) ** 2 + (sin - own_sin) ** 2 - between
    squared = amplitude * between + (1 - amplitude) * jnp.maximum(phase, _TINY)
    return jnp.mean(jnp.sqrt(squared), axis=-1)


def _check_samples(x: Array, y: Array) -> None:
    chex.assert_equal_rank([x, y])
    if x.ndim < 2 or x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        raise ValueError(f"samples must be [..., n, d] and [..., m, d], not {x.shape}, {y.shape}")
    if x.shape[-2] == 0 or y.shape[-2] == 0:
        raise ValueError(f"samples must not be empty, but have shapes {x.shape} and {y.shape}")
