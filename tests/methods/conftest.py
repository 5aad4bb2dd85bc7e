"""What tests of methods share."""

import flax.linen as nn
import pytest


@pytest.fixture
def smooth(network: nn.Module) -> nn.Module:
    """The network of the experts without ReLU, over whose edges rounding takes an image where two
    statements of a method are compared."""
    return network.clone(activation="swish")
