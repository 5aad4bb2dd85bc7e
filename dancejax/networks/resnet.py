"""ResNets of basic blocks (He et al., CVPR 2016) and their average-pooling form, ResNetAP."""

import flax.linen as nn
import jax

from dancejax.networks.layers import Conv, Norm, classify, pool


class ResNet(nn.Module):
    """Four stages of basic blocks, global average pooling, a linear classifier.

    blocks: of each stage; width: channels of the first stage (64 in the published forms), doubled
    from stage to stage. The stem is a 3x3 convolution up to 64 pixels, above that a 7x7 one of
    stride 2 and 3x3 max pooling of stride 2. average: strides are replaced by 2x2 average pooling
    (ResNetAP), and the stem by a 3x3 convolution up to 64 pixels, with 2x2 average pooling up to
    128, and a 7x7 one with 4x4 average pooling above.

    Call: normalised images [n, h, w, c], sides of at least 8 -> (logits [n, num_classes], features
    [n, 8 * width]), float32; the features are the pooled output of the last stage.
    """

    num_classes: int
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    average: bool = False
    width: int = 64
    norm: str = "instance"
    initializer: str = "uniform"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        x = self._stem(x, train)
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                halve = stage > 0 and block == 0
                x = self._block(x, self.width * 2**stage, halve, train, f"stage{stage}_{block}")
        return classify(x.mean((1, 2)), self.num_classes, self.initializer)

    def _conv_norm(
        self, x: jax.Array, features: int, size: int, halve: bool, train: bool, name: str
    ) -> jax.Array:
        x = Conv(
            features,
            kernel_size=size,
            stride=2 if halve and not self.average else 1,
            padding=size // 2,
            use_bias=self.norm == "none",
            initializer=self.initializer,
            dtype=self.dtype,
            name=f"{name}_conv",
        )(x)
        if halve and self.average:
            x = pool(x, "avg")
        return Norm(self.norm, dtype=self.dtype, name=f"{name}_norm")(x, train)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        side = min(x.shape[1:3])
        large = side > (128 if self.average else 64)
        halve = large and not self.average
        x = nn.relu(self._conv_norm(x, self.width, 7 if large else 3, halve, train, "stem"))
        if side <= 64:
            return x
        if self.average:
            return pool(x, "avg", 4 if large else 2)
        return nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

    def _block(self, x: jax.Array, features: int, halve: bool, train: bool, name: str) -> jax.Array:
        shortcut = x
        if halve or x.shape[-1] != features:
            shortcut = self._conv_norm(x, features, 1, halve, train, f"{name}_shortcut")
        x = nn.relu(self._conv_norm(x, features, 3, halve, train, f"{name}_first"))
        return nn.relu(self._conv_norm(x, features, 3, False, train, f"{name}_second") + shortcut)
