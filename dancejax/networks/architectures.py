"""The networks that have a name."""

from typing import Any, NamedTuple

import flax.linen as nn

from dancejax.networks.alexnet import AlexNet
from dancejax.networks.convnet import ConvNet
from dancejax.networks.densenet import DenseNet121
from dancejax.networks.resnet import ResNet
from dancejax.networks.vgg import VGG11


class Architecture(NamedTuple):
    """A named network: its class, the fields that its name fixes, and its smallest image side."""

    network: type[nn.Module]
    fixed: dict[str, Any]
    smallest: int


CONVNET = Architecture(ConvNet, {}, 1)
ALEXNET = Architecture(AlexNet, {}, 8)
VGG = Architecture(VGG11, {}, 32)
RESNET10 = Architecture(ResNet, {"blocks": (1, 1, 1, 1), "average": False}, 8)
RESNET18 = Architecture(ResNet, {"blocks": (2, 2, 2, 2), "average": False}, 8)
RESNETAP10 = Architecture(ResNet, {"blocks": (1, 1, 1, 1), "average": True}, 8)
DENSENET121 = Architecture(DenseNet121, {}, 8)
