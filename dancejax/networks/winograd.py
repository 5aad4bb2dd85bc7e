"""Winograd's F(2x2, 3x3): 3x3 convolutions of stride 1 with 2.25 times fewer multiplications.

Each 2x2 block of the output is made of a 4x4 tile of the input: tiles and kernel are transformed
by additions, multiplied entry by entry, as 16 matrix products over channels, and transformed back.
Rounding errors are those of an ordinary convolution (it multiplies by 1, -1 and 1/2 only).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array

_CHANNELS, _PIXELS, _NUMBERS = 64, 512, 2**20
"""From how many channels and output pixels on transforms cost less than products save, and up to
how many input numbers, which have to stay in the cache between the transforms."""


def pays(x: Array, kernel: Array, stride: int, padding: int) -> bool:
    """Whether this module computes a convolution and its gradients, and faster than XLA on CPU.

    Args:
      x: [n, h, w, c_in].
      kernel: [kh, kw, c_in, c_out].
      stride: in both directions.
      padding: on all sides.
    """
    n, h, w, _ = x.shape
    *window, c_in, c_out = kernel.shape
    form = (*window, stride, padding, h % 2, w % 2) == (3, 3, 1, 1, 0, 0)
    worth = min(c_in, c_out) >= _CHANNELS and n * h * w >= _PIXELS and x.size <= _NUMBERS
    return form and worth and jnp.finfo(x.dtype).bits >= 32  # sums of tiles need the digits


def convolve(x: Array, kernel: Array) -> Array:
    """Convolve with padding 1 and stride 1.

    Args:
      x: [n, h, w, c_in], of even h and w.
      kernel: [3, 3, c_in, c_out].

    Returns:
      [n, h, w, c_out].

    References:
      Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    n, h, w, c_in = x.shape
    transformed = _transformed_kernel(kernel)
    products = [
        (tile.reshape(-1, c_in) @ matrix).reshape(n, h // 2, w // 2, -1)
        for tile, matrix in zip(_tiles(x), transformed, strict=True)
    ]
    columns = [_output(products[b::4]) for b in range(4)]
    rows = [_output([columns[b][i] for b in range(4)]) for i in range(2)]
    return jnp.stack([jnp.stack(row, axis=3) for row in rows], axis=2).reshape(n, h, w, -1)


def kernel_gradient(x: Array, g: Array) -> Array:
    """The cotangent of `convolve`'s kernel.

    Args:
      x: [n, h, w, c_in], of even h and w.
      g: [n, h, w, c_out], the cotangent of the output.

    Returns:
      [3, 3, c_in, c_out].
    """
    n, h, w, c_out = g.shape
    blocks = g.reshape(n, h // 2, 2, w // 2, 2, c_out)
    columns = [_spread([blocks[:, :, i, :, j] for i in range(2)]) for j in range(2)]
    spread = [part for a in range(4) for part in _spread([column[a] for column in columns])]
    sums = [
        tile.reshape(-1, x.shape[-1]).T @ part.reshape(-1, c_out)
        for tile, part in zip(_tiles(x), spread, strict=True)
    ]
    by_column = [_kernel_back(sums[b::4]) for b in range(4)]
    rows = [_kernel_back([by_column[b][i] for b in range(4)]) for i in range(3)]
    return jnp.stack([jnp.stack(row) for row in rows])


def _tiles(x: Array) -> list[Array]:
    """Transformed 4x4 tiles of the padded input: 16 arrays [n, h / 2, w / 2, c]."""
    n, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    pairs = padded.reshape(n, h // 2 + 1, 2, w // 2 + 1, 2, c)

    def entry(i: int, j: int) -> Array:
        (a, i), (b, j) = divmod(i, 2), divmod(j, 2)
        return pairs[:, a : a + h // 2, i, b : b + w // 2, j]

    columns = [_input([entry(i, j) for i in range(4)]) for j in range(4)]
    return [tile for a in range(4) for tile in _input([column[a] for column in columns])]


def _transformed_kernel(kernel: Array) -> list[Array]:
    """16 matrices [c_in, c_out]."""
    columns = [_kernel([kernel[i, j] for i in range(3)]) for j in range(3)]
    return [matrix for a in range(4) for matrix in _kernel([column[a] for column in columns])]


def _input(d: Sequence[Array]) -> list[Array]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _kernel(k: Sequence[Array]) -> list[Array]:
    ends = k[0] + k[2]
    return [k[0], (ends + k[1]) / 2, (ends - k[1]) / 2, k[2]]


def _output(m: Sequence[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _spread(g: Sequence[Array]) -> list[Array]:
    """The transpose of `_output`."""
    return [g[0], g[0] + g[1], g[0] - g[1], -g[1]]


def _kernel_back(u: Sequence[Array]) -> list[Array]:
    """The transpose of `_kernel`."""
    return [u[0] + (u[1] + u[2]) / 2, (u[1] - u[2]) / 2, (u[1] + u[2]) / 2 + u[3]]
