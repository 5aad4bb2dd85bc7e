"""Layers that the networks share: convolution, dense, norm, activation, pooling, initialisation."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dancejax.runs import backend

Array = jax.Array
_DIMS = ("NHWC", "HWIO", "NHWC")

INITIALIZERS = ("uniform", "lecun")
NORMS = ("instance", "none", "batch", "layer", "group")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "leaky_relu": partial(nn.leaky_relu, negative_slope=0.01),
    "swish": nn.swish,
}
POOLINGS = ("avg", "max", "none")


def kernel_init(init: str) -> nn.initializers.Initializer:
    """`uniform`: U(+-1/sqrt(fan_in)), the published numbers' choice. `lecun`: Flax's default."""
    if init == "uniform":
        return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nn.initializers.lecun_normal()


def bias_init(init: str, fan_in: int) -> nn.initializers.Initializer:
    """Biases to go with `kernel_init`: U(+-1/sqrt(fan_in)) or zeros."""
    if init == "uniform":
        bound = fan_in**-0.5
        return lambda key, shape, dtype=jnp.float32, out_sharding=None: jax.random.uniform(
            key, shape, dtype, -bound, bound
        )
    return nn.initializers.zeros_init()


def first_padding(shape: tuple[int, ...], kernel_size: int = 3) -> int:
    """Return the padding of a network's first convolution.

    Args:
      shape: (h, w, c) of the images.
      kernel_size: of the convolution, odd.

    Returns:
      Half of the kernel, which keeps the size; 2 more for 28x28 grey images, so that feature maps
      start at 32x32 as those of the colour data sets do.
    """
    return kernel_size // 2 + (2 if tuple(shape) == (28, 28, 1) else 0)


def _conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    pad = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(x, kernel, (stride, stride), pad, dimension_numbers=_DIMS)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_cpu(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """A convolution whose gradients keep XLA:CPU's fast path inside scan and map.

    XLA's own gradient of a convolution falls to a naive loop there, 20-40x slower. Written as a
    canonical convolution (input) and matrix products (weights), it does not, and is faster outside
    of loops too. Few input channels, the first layer's, make convolutions of little arithmetic for
    the data they gather; as matrix products over gathered patches they are up to 3x faster.
    """
    if _few_inputs(kernel) and kernel.shape[-1] <= 64:
        patches = _patches(x, kernel.shape, stride, padding)
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    return _conv(x, kernel, stride, padding)


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


def _conv_cpu_fwd(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, Any]:
    return _conv_cpu(x, kernel, stride, padding), (x, kernel)


def _conv_cpu_bwd(
    stride: int, padding: int, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    c_in, c_out = kernel.shape[2:]
    flat_g = g.reshape(-1, c_out)
    if _few_inputs(kernel):
        patches = _patches(x, kernel.shape, stride, padding)
        dk = patches.reshape(-1, patches.shape[-1]).T @ flat_g
    else:
        taps = _taps(x, kernel.shape, stride, padding)
        dk = jnp.stack([tap.reshape(-1, c_in).T @ flat_g for tap in taps])
    return _input_gradient(x, kernel, stride, padding, g), dk.reshape(kernel.shape)


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
    edges = [
        (k - 1 - padding, size + padding - (out - 1) * stride - 1, stride - 1)
        for k, size, out in ((kh, h, out_h), (kw, w, out_w))
    ]
    dilated = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return _conv(dilated, flipped, 1, 0)


_conv_cpu.defvjp(_conv_cpu_fwd, _conv_cpu_bwd)


class Conv(nn.Module):
    """Square convolution on NHWC with the initialisation chosen by name."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    use_bias: bool = True
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        fan_in = self.kernel_size**2 * x.shape[-1]
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.initializer), shape)
        conv = _conv_cpu if backend.is_cpu() else _conv
        y = conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)
        if self.use_bias:
            bias = self.param("bias", bias_init(self.initializer, fan_in), (self.features,))
            y = y + bias.astype(self.dtype)
        return y


def dense(features: int, fan_in: int, init: str) -> nn.Dense:
    """The linear classifier, always in float32."""
    return nn.Dense(features, kernel_init=kernel_init(init), bias_init=bias_init(init, fan_in))


def classify(features: Array, num_classes: int, init: str) -> tuple[Array, Array]:
    """(logits, features) of features [n, d], both float32, inside a network's call."""
    features = features.astype(jnp.float32)
    return dense(num_classes, features.shape[-1], init)(features), features


class Norm(nn.Module):
    """Normalisation by name on [n, h, w, c], affine, eps 1e-5.

    instance: per image and channel; group: 4 groups; layer: per image over h, w, c with one scale
    and bias per element; batch: over the batch, running statistics with momentum 0.9.
    """

    kind: str = "instance"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        common: dict[str, Any] = {"epsilon": 1e-5, "dtype": self.dtype}
        match self.kind:
            case "instance":
                return nn.InstanceNorm(name="norm", **common)(x)
            case "group":
                return nn.GroupNorm(num_groups=4, name="norm", **common)(x)
            case "layer":
                axes = (1, 2, 3)
                return nn.LayerNorm(reduction_axes=axes, feature_axes=axes, name="norm", **common)(
                    x
                )
            case "batch":
                return nn.BatchNorm(
                    use_running_average=not train, momentum=0.9, name="norm", **common
                )(x)
            case "none":
                return x
        raise ValueError(f"unknown norm {self.kind!r}, one of {NORMS}")


def pool(x: Array, kind: str, window: int = 2) -> Array:
    """Average or max pooling with stride = window, or none; odd rests are dropped.

    Max pooling is a maximum over shifted views: the gradient of XLA's windowed maximum is ten times
    slower on CPU. Of equal maxima each gets an equal part of the gradient.
    """
    if kind == "none":
        return x
    if kind == "avg":
        return nn.avg_pool(x, (window, window), strides=(window, window))
    h, w = (side // window * window for side in x.shape[1:3])
    rows = reduce(jnp.maximum, (x[:, i:h:window] for i in range(window)))
    return reduce(jnp.maximum, (rows[:, :, j:w:window] for j in range(window)))
