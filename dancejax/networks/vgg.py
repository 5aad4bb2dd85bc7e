"""VGG-11 in its CIFAR form (Simonyan and Zisserman, ICLR 2015): convolutions and one classifier."""

import flax.linen as nn
import jax

from dancejax.networks.layers import Conv, Norm, classify, first_padding, pool

_STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Widths of each stage's convolutions in units of the first one's."""


class VGG11(nn.Module):
    """Eight 3x3 convolutions with norm and ReLU, five 2x2 max pools, a linear classifier.

    width: channels of the first stage, 64 in the published form. 28x28 grey images get padding 3 in
    the first convolution, so that feature maps start at 32x32.

    Call: normalised images [n, h, w, c], sides of at least 32 -> (logits [n, num_classes], features
    [n, d]), float32; the features are the flattened output of the last pool, 512 at 32x32.
    """

    num_classes: int
    width: int = 64
    norm: str = "instance"
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        number = 0
        for stage in _STAGES:
            for factor in stage:
                x = Conv(
                    self.width * factor,
                    padding=first_padding(x.shape[1:]) if number == 0 else 1,
                    initializer=self.initializer,
                    dtype=self.dtype,
                    name=f"conv{number}",
                )(x)
                norm = Norm(self.norm, dtype=self.dtype, name=f"norm{number}")
                x = nn.relu(norm(x, train))
                number += 1
            x = pool(x, "max")
        return classify(x.reshape(x.shape[0], -1), self.num_classes, self.initializer)
