"""DenseNet-121 (Huang et al., CVPR 2017) in its CIFAR form."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax.networks.layers import Conv, Norm, classify, pool

_BLOCKS = (6, 12, 24, 16)


class DenseNet121(nn.Module):
    """Dense blocks of 6, 12, 24 and 16 bottlenecks with halving transitions, a linear classifier.

    width: the growth rate, 12 in the CIFAR form. The stem is a 3x3 convolution up to 64 pixels,
    above that a 7x7 one of stride 2 and 3x3 max pooling of stride 2.

    Call: normalised images [n, h, w, c], sides of at least 8 -> (logits [n, num_classes], features
    [n, d]), float32; the features are the globally average-pooled output, 384 numbers.
    """

    num_classes: int
    width: int = 12
    norm: str = "instance"
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        if min(x.shape[1:3]) > 64:
            x = self._conv(x, 2 * self.width, 7, "stem", stride=2)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        else:
            x = self._conv(x, 2 * self.width, 3, "stem")
        for block, count in enumerate(_BLOCKS):
            for layer in range(count):
                name = f"block{block}_{layer}"
                new = self._norm_relu(x, train, f"{name}_norm0")
                new = self._conv(new, 4 * self.width, 1, f"{name}_conv0")
                new = self._norm_relu(new, train, f"{name}_norm1")
                x = jnp.concatenate([self._conv(new, self.width, 3, f"{name}_conv1"), x], axis=-1)
            if block < len(_BLOCKS) - 1:
                x = self._norm_relu(x, train, f"transition{block}_norm")
                x = self._conv(x, x.shape[-1] // 2, 1, f"transition{block}_conv")
                x = pool(x, "avg")
        x = self._norm_relu(x, train, "last_norm")
        return classify(x.mean((1, 2)), self.num_classes, self.initializer)

    def _norm_relu(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        return nn.relu(Norm(self.norm, dtype=self.dtype, name=name)(x, train))

    def _conv(
        self, x: jax.Array, features: int, size: int, name: str, stride: int = 1
    ) -> jax.Array:
        return Conv(
            features,
            kernel_size=size,
            stride=stride,
            padding=size // 2,
            use_bias=self.norm == "none",
            initializer=self.initializer,
            dtype=self.dtype,
            name=name,
        )(x)
