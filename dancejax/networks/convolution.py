"""Square convolutions on NHWC, written twice: as XLA has them, and for the CPU's fast paths."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dancejax.networks import winograd
from dancejax.runs import backend

Array = jax.Array
_DIMS = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolve images with a kernel, in the form that is fast on this backend.

    Args:
      x: [n, h, w, c_in].
      kernel: [k, k, c_in, c_out], of the type of x.
      stride: in both directions.
      padding: zeros on each side.

    Returns:
      [n, out_h, out_w, c_out].
    """
    return (conv_cpu if backend.is_cpu() else conv_xla)(x, kernel, stride, padding)


def conv_xla(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolve as XLA does.

    Args:
      x: [n, h, w, c_in].
      kernel: [kh, kw, c_in, c_out].
      stride: in both directions.
      padding: on all sides, zeros.

    Returns:
      [n, out_h, out_w, c_out].
    """
    pad = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(x, kernel, (stride, stride), pad, dimension_numbers=_DIMS)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_cpu(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolve with gradients that keep XLA:CPU's fast path inside scan and map.

    XLA's own gradient of a convolution falls to a naive loop there, 20-40x slower. Written as a
    canonical convolution (input) and matrix products (weights), it does not, and is faster outside
    of loops too. Few input channels, the first layer's, make convolutions of little arithmetic for
    the data they gather; as matrix products over gathered patches they are up to 3x faster. Many
    channels go by Winograd's transforms (`winograd`).

    Args:
      x: [n, h, w, c_in].
      kernel: [kh, kw, c_in, c_out].
      stride: in both directions.
      padding: on all sides, zeros.

    Returns:
      [n, out_h, out_w, c_out].
    """
    if _few_inputs(kernel) and kernel.shape[-1] <= 64:
        patches = _patches(x, kernel.shape, stride, padding)
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    return _convolve_many(x, kernel, stride, padding)


def _convolve_many(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """By Winograd's transforms where they pay, else as XLA does."""
    if winograd.pays(x, kernel, stride, padding):
        return winograd.convolve(x, kernel)
    return conv_xla(x, kernel, stride, padding)


def _few_inputs(kernel: Array) -> bool:
    return kernel.shape[2] <= 4


def _taps(x: Array, shape: tuple[int, ...], stride: int, padding: int) -> list[Array]:
    """What each tap of a kernel of this shape sees: kh * kw arrays [n, out_h, out_w, c_in]."""
    kh, kw = shape[:2]
    _, h, w, _ = x.shape
    reach_h = (h + 2 * padding - kh) // stride * stride + 1
    reach_w = (w + 2 * padding - kw) // stride * stride + 1
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return [
        padded[:, i : i + reach_h : stride, j : j + reach_w : stride]
        for i in range(kh)
        for j in range(kw)
    ]


def _patches(x: Array, shape: tuple[int, ...], stride: int, padding: int) -> Array:
    return jnp.concatenate(_taps(x, shape, stride, padding), axis=-1)


def _cpu_forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, Any]:
    return conv_cpu(x, kernel, stride, padding), (x, kernel)


def _cpu_backward(
    stride: int, padding: int, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    if winograd.pays(x, kernel, stride, padding):
        dk = winograd.kernel_gradient(x, g)
    else:
        dk = _kernel_gradient(x, kernel.shape, stride, padding, g)
    return _input_gradient(x, kernel, stride, padding, g), dk


def _kernel_gradient(
    x: Array, shape: tuple[int, ...], stride: int, padding: int, g: Array
) -> Array:
    """The cotangent of the kernel: images and channels change places, and it is a convolution of
    x with g; a product for each row of taps, or for each tap, where that is faster."""
    kh, kw, c_in, c_out = shape
    if stride == 1 and c_in > 4:
        pad = ((padding, padding), (padding, padding))
        images, kernels = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
        out = lax.conv_general_dilated(images, kernels, (1, 1), pad, dimension_numbers=_DIMS)
        return out.transpose(1, 2, 0, 3)
    taps, flat_g = _taps(x, shape, stride, padding), g.reshape(-1, c_out)
    together = kw if c_in <= 4 else 1
    rows = [
        jnp.concatenate(taps[n : n + together], -1).reshape(-1, together * c_in)
        for n in range(0, kh * kw, together)
    ]
    return jnp.stack([row.T @ flat_g for row in rows]).reshape(shape)


def _input_gradient(x: Array, kernel: Array, stride: int, padding: int, g: Array) -> Array:
    """The cotangent of x: products scattered over the taps, or a convolution with the flipped
    kernel over the cotangent, dilated where there is a stride."""
    kh, kw, c_in, _ = kernel.shape
    _, h, w, _ = x.shape
    n, out_h, out_w, _ = g.shape
    if _few_inputs(kernel) and stride == 1:
        columns = g @ kernel.transpose(3, 0, 1, 2).reshape(-1, kh * kw * c_in)
        padded = jnp.zeros((n, h + 2 * padding, w + 2 * padding, c_in), g.dtype)
        for tap in range(kh * kw):
            i, j = divmod(tap, kw)
            own = columns[..., tap * c_in : (tap + 1) * c_in]
            padded += jnp.pad(own, ((0, 0), (i, kh - 1 - i), (j, kw - 1 - j), (0, 0)))
        return padded[:, padding : padding + h, padding : padding + w]
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    if stride == 1 and (kh, kw, padding) == (3, 3, 1):
        return _convolve_many(g, flipped, 1, 1)
    edges = [
        (k - 1 - padding, size + padding - (out - 1) * stride - 1, stride - 1)
        for k, size, out in ((kh, h, out_h), (kw, w, out_w))
    ]
    dilated = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return conv_xla(dilated, flipped, 1, 0)


conv_cpu.defvjp(_cpu_forward, _cpu_backward)
