"""ConvNet-D, the network of all four papers."""

import flax.linen as nn
import jax

from dancejax.networks.layers import ACTIVATIONS, Conv, Norm, classify, first_padding, pool


class ConvNet(nn.Module):
    """`depth` blocks of [3x3 convolution, norm, activation, 2x2 pooling], then a linear classifier.

    28x28 grey images get padding 3 in the first convolution, so that feature maps start at 32x32.

    Call: normalised images [n, h, w, c] -> (logits [n, num_classes], features [n, d]), float32;
    the features are the flattened output of the last block. `train` lets batch norm use (and
    update) the statistics of this batch; it changes nothing for the other norms.
    """

    num_classes: int
    depth: int = 3
    width: int = 128
    norm: str = "instance"
    activation: str = "relu"
    pooling: str = "avg"
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        for block in range(self.depth):
            padding = first_padding(x.shape[1:]) if block == 0 else 1
            x = Conv(
                self.width,
                padding=padding,
                initializer=self.initializer,
                dtype=self.dtype,
                name=f"conv{block}",
            )(x)
            x = Norm(self.norm, dtype=self.dtype, name=f"norm{block}")(x, train)
            x = pool(ACTIVATIONS[self.activation](x), self.pooling)
        return classify(x.reshape(x.shape[0], -1), self.num_classes, self.initializer)
