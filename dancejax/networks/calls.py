"""How networks are called: every one maps normalised images to (logits, features)."""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

Variables = dict[str, Any]
"""{"params": ..., and "batch_stats": ... of a network with batch norm}."""
Outputs = tuple[jax.Array, jax.Array]
"""Logits [n, num_classes] and features [n, d]."""


def init(network: nn.Module, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
    """Initialise a network's variables for images [h, w, c]."""
    return dict(network.init(key, jnp.zeros((1, *image_shape))))


def forward(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """Call a network in training mode: batch norm uses the statistics of this batch.

    Args:
      network: the module.
      variables: of the network; batch statistics are not updated.
      images: [n, h, w, c], normalised.

    Returns:
      (logits [n, num_classes], features [n, d]).
    """
    outputs: Outputs
    outputs, _ = network.apply(variables, images, train=True, mutable=["batch_stats"])
    return outputs


def features(network: nn.Module, variables: Variables, images: jax.Array) -> jax.Array:
    """Return the features of `forward`.

    Args:
      network: the network.
      variables: its variables.
      images: normalised, [n, h, w, c].

    Returns:
      [n, d].
    """
    return forward(network, variables, images)[1]


def infer(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """Call a network in inference mode: as `forward`, but batch norm uses running statistics.

    Args:
      network: the network.
      variables: its variables.
      images: normalised, [n, h, w, c].

    Returns:
      (logits [n, C], features [n, d]).
    """
    return cast(Outputs, network.apply(variables, images))
