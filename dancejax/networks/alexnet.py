"""AlexNet in the field's form for small images (Krizhevsky et al., NeurIPS 2012)."""

import flax.linen as nn
import jax

from dancejax.networks.layers import Conv, Norm, classify, first_padding, pool


class AlexNet(nn.Module):
    """Five convolutions (5x5, 5x5, 3x3, 3x3, 3x3) with ReLU, three 2x2 max pools, one classifier.

    width: channels of the first convolution, 128 in the published form, whose others are 1.5, 2,
    1.5 and 1.5 times as wide. norm: after each convolution; the published form has none. 28x28 grey
    images get padding 4 in the first convolution, so that feature maps start at 32x32.

    Call: normalised images [n, h, w, c], sides of at least 8 -> (logits [n, num_classes], features
    [n, d]), float32; the features are the flattened output of the last pool, 3072 at 32x32.
    """

    num_classes: int
    width: int = 128
    norm: str = "none"
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        layers = ((5, 1.0, True), (5, 1.5, True), (3, 2.0, False), (3, 1.5, False), (3, 1.5, True))
        for i, (size, factor, pooled) in enumerate(layers):
            x = Conv(
                round(self.width * factor),
                kernel_size=size,
                padding=first_padding(x.shape[1:], size) if i == 0 else size // 2,
                initializer=self.initializer,
                dtype=self.dtype,
                name=f"conv{i}",
            )(x)
            x = nn.relu(Norm(self.norm, dtype=self.dtype, name=f"norm{i}")(x, train))
            if pooled:
                x = pool(x, "max")
        return classify(x.reshape(x.shape[0], -1), self.num_classes, self.initializer)
