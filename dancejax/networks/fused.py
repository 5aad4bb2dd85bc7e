"""Instance norm, ReLU and average pooling in as few passes over memory as XLA:CPU takes.

Between convolutions a network of a few hundred channels waits for memory. As separate operations
these three write and read the largest activations several times, forwards and backwards.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
EPSILON = 1e-5
"""Added to variances, as PyTorch's norms do."""


@jax.custom_vjp
def normalise_and_pool(x: Array, scale: Array, bias: Array) -> Array:
    """Normalise each image and channel, apply ReLU, and average 2x2 pixels.

    Args:
      x: [n, h, w, c], float32, h and w even.
      scale: [c].
      bias: [c].

    Returns:
      [n, h / 2, w / 2, c].
    """
    mean, inverse = _statistics(x)
    return _pooled(x, mean, inverse * scale, bias)


def _statistics(x: Array) -> tuple[Array, Array]:
    """Mean and 1 / sqrt(variance + EPSILON) of each image and channel, [n, c]."""
    mean, square = (_over_pixels(values) / (x.shape[1] * x.shape[2]) for values in (x, x * x))
    return mean, lax.rsqrt(jnp.maximum(square - mean * mean, 0) + EPSILON)


def _over_pixels(x: Array) -> Array:
    """The sum over [n, h, w, c], [n, c]: rows first, which XLA vectorises."""
    return x.sum(1).sum(1)


def _wide(values: Array) -> Array:
    return values[:, None, None]


def _normalised(x: Array, mean: Array, slope: Array, bias: Array) -> Array:
    """Centred first: a slope and an intercept would lose digits where means are large."""
    return (x - _wide(mean)) * _wide(slope) + bias


def _pooled(x: Array, mean: Array, slope: Array, bias: Array) -> Array:
    y = jax.nn.relu(_normalised(x, mean, slope, bias))
    rows = y[:, ::2] + y[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


def _forward(x: Array, scale: Array, bias: Array) -> tuple[Array, Any]:
    mean, inverse = _statistics(x)
    return _pooled(x, mean, inverse * scale, bias), (x, mean, inverse, scale, bias)


def _backward(residuals: tuple[Array, ...], g: Array) -> tuple[Array, Array, Array]:
    """With y = (x - mean) / deviation and the cotangent h of scale * y + bias:
    dx = slope * (h - mean of h - y * mean of h * y)."""
    x, mean, inverse, scale, bias = residuals
    n, height, width, c = x.shape
    slope = inverse * scale
    corners = [x[:, i::2, j::2] for i in range(2) for j in range(2)]
    g = g / 4
    inner = [jnp.where(_normalised(part, mean, slope, bias) > 0, g, 0) for part in corners]
    total = _over_pixels(sum(inner[1:], inner[0]))
    products = [h * (part - _wide(mean)) for h, part in zip(inner, corners, strict=True)]
    along = inverse * _over_pixels(sum(products[1:], products[0]))
    pixels = height * width
    steep, level = slope * inverse * along / pixels, slope * total / pixels

    def by_cell(values: Array) -> Array:
        return values[:, None, None, None, None]

    cells = x.reshape(n, height // 2, 2, width // 2, 2, c) - by_cell(mean)
    spread = jnp.where(cells * by_cell(slope) + bias > 0, g[:, :, None, :, None], 0)
    dx = by_cell(slope) * spread - by_cell(steep) * cells - by_cell(level)
    return dx.reshape(x.shape), along.sum(0), total.sum(0)


normalise_and_pool.defvjp(_forward, _backward)
