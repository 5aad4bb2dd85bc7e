"""What tests of methods share."""

import flax.linen as nn
import pytest

from dancejax import networks
from dancejax.data.dataset import Dataset


@pytest.fixture(scope="session")
def network(train: Dataset) -> nn.Module:
    """Smooth, so that rounding takes no image over an edge of ReLU between two statements."""
    options = {"width": 8, "depth": 2, "activation": "swish"}
    return networks.create("convnet", train.num_classes, train.image_shape, **options)
