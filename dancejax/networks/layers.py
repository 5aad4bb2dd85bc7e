"""Layers that the networks share: convolution, dense, norm, activation, pooling, initialisation."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from dancejax.errors import UserError
from dancejax.networks.convolution import convolve
from dancejax.runs import backend

Array = jax.Array

LATER = "later convolution"
"""The name of the outputs of convolutions after the first one, for `jax.checkpoint`."""
INITIALIZERS = ("uniform", "lecun")
GROUPS = 4
"""Of group norm."""
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
    """Return biases to go with `kernel_init`: U(+-1/sqrt(fan_in)) or zeros."""
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
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)
        if self.use_bias:
            bias = self.param("bias", bias_init(self.initializer, fan_in), (self.features,))
            y = y + bias.astype(self.dtype)
        return checkpoint_name(y, "first" if x.shape[-1] <= 4 else LATER)


def dense(features: int, fan_in: int, init: str) -> nn.Dense:
    """Return the linear classifier [n, fan_in] -> [n, features], always in float32."""
    return nn.Dense(features, kernel_init=kernel_init(init), bias_init=bias_init(init, fan_in))


def classify(features: Array, num_classes: int, init: str) -> tuple[Array, Array]:
    """Classify features linearly, inside a network's call.

    Args:
      features: [n, d], of any floating-point type.
      num_classes: classes.
      init: one of INITIALIZERS.

    Returns:
      (logits [n, num_classes], features [n, d]), both float32.
    """
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
                if x.shape[-1] % GROUPS:
                    raise UserError(
                        f"group norm divides channels into {GROUPS} groups, which {x.shape[-1]} "
                        f"channels cannot be; choose a width that is a multiple of {GROUPS}."
                    )
                return nn.GroupNorm(num_groups=GROUPS, name="norm", **common)(x)
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
    """Pool [n, h, w, c] with stride = window; odd rests are dropped.

    Max pooling is a maximum over shifted views: the gradient of XLA's windowed maximum is ten times
    slower on CPU. Of equal maxima each gets an equal part of the gradient.

    Args:
      x: [n, h, w, c].
      kind: one of POOLINGS.
      window: side, in pixels.

    Returns:
      [n, h // window, w // window, c], or x for "none".
    """
    if kind == "none":
        return x
    h, w = (side // window * window for side in x.shape[1:3])
    if kind == "avg":
        return average(x[:, :h, :w], window) if backend.is_cpu() else _average(x, window)
    rows = reduce(jnp.maximum, (x[:, i:h:window] for i in range(window)))
    return reduce(jnp.maximum, (rows[:, :, j:w:window] for j in range(window)))


def _average(x: Array, window: int) -> Array:
    return nn.avg_pool(x, (window, window), strides=(window, window))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def average(x: Array, window: int) -> Array:
    """Average pooling with the gradient that XLA:CPU computes fast, to the same bits.

    Each cotangent goes to all pixels of its window. XLA dilates it for that and adds up; as a
    repetition that what comes before is fused with, it is three to eight times as fast.

    Args:
      x: [n, h, w, c], h and w multiples of window.
      window: side, in pixels.

    Returns:
      [n, h // window, w // window, c].
    """
    return _average(x, window)


def _average_forward(x: Array, window: int) -> tuple[Array, None]:
    return _average(x, window), None


def _average_backward(window: int, _: None, g: Array) -> tuple[Array]:
    n, h, w, c = g.shape
    shared = g / window**2
    if c < 64:  # short rows of channels: loops over whole rows of pixels are faster
        row = jnp.concatenate([shared] * window, -1).reshape(n, h, 1, w * window * c)
        # Fused into what follows, the repetition would be computed for each pixel by itself.
        row = jax.lax.optimization_barrier(row)
        repeated = jnp.broadcast_to(row, (n, h, window, w * window * c))
    else:
        repeated = jnp.broadcast_to(shared[:, :, None, :, None], (n, h, window, w, window, c))
    return (repeated.reshape(n, h * window, w * window, c),)


average.defvjp(_average_forward, _average_backward)
