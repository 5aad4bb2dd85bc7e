"""Per-channel mean and standard deviation on [0, 1]: the field's constants, or computed."""

from typing import NamedTuple

import numpy as np

from dancejax.data.known import key


class Constants(NamedTuple):
    """One number a channel, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


_MNIST = Constants((0.1307,), (0.3081,))
_FASHION_MNIST = Constants((0.2861,), (0.3530,))
_SVHN = Constants((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
# What the field uses for CIFAR; the true deviations are .2470, .2435, .2616.
_CIFAR = Constants((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_IMAGENET = Constants((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

CONSTANTS = {
    "mnist": _MNIST,
    "fashion_mnist": _FASHION_MNIST,
    "fashion_mnist_mini": _FASHION_MNIST,
    "svhn": _SVHN,
    "svhn_cropped": _SVHN,
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "tiny_imagenet": _IMAGENET,
    "tiny_imagenet_200": _IMAGENET,
    "tinyimagenet": _IMAGENET,
    "imagefruit": _IMAGENET,
    "imagemeow": _IMAGENET,
    "imagesquawk": _IMAGENET,
    "imageyellow": _IMAGENET,
    "imagenet": _IMAGENET,
    "imagenet1k": _IMAGENET,
    "imagenet10": _IMAGENET,
    "imagenet100": _IMAGENET,
    "imagenet2012": _IMAGENET,
    "imagenet2012_subset": _IMAGENET,
    "imagenet_resized": _IMAGENET,
    "imagenette": _IMAGENET,
    "imagenette2": _IMAGENET,
    "imagewoof": _IMAGENET,
    "imagewoof2": _IMAGENET,
}
_BLOCK = 1 << 24


def known(name: str) -> bool:
    """Whether a data set's name (or its folder's) is one that has constants in the field."""
    return key(name) in CONSTANTS


def known_constants(name: str, channels: int) -> Constants | None:
    """Return the field's constants for a data set's name (or its folder's), None for any other.

    Case does not matter, nor "-" for "_", nor a TFDS configuration or version after the name.
    None also where the number of channels differs, as for a coloured "mnist".
    """
    constants = CONSTANTS.get(key(name))
    return constants if constants and len(constants.mean) == channels else None


def channel_statistics(images: np.ndarray) -> Constants:
    """Mean and (population) standard deviation per channel of uint8 [N, H, W, C], on [0, 1].

    Exact, in float64, from a histogram of each channel that is counted a block at a time. A
    channel that is constant gets std 1, so that normalising it gives zeros.
    """
    height, width, channels = images.shape[1:]
    counts = np.zeros((channels, 256), np.int64)
    step = max(1, _BLOCK // (height * width))
    for start in range(0, len(images), step):
        for c in range(channels):
            block = images[start : start + step, :, :, c]
            counts[c] += np.bincount(block.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    std[(counts > 0).sum(axis=1) == 1] = 1.0
    return Constants(tuple(mean.tolist()), tuple(std.tolist()))
