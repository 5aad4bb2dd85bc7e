"""Images through a network in blocks that suit the backend and the network."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax.networks.calls import Outputs, Variables, forward
from dancejax.networks.layers import LATER, Conv
from dancejax.runs import backend


@functools.cache
def uses_batch_statistics(network: nn.Module, image_shape: tuple[int, ...]) -> bool:
    """Return whether a network has batch norm, whose outputs depend on the whole batch."""
    images = jnp.zeros((1, *image_shape))
    shapes = jax.eval_shape(lambda key: network.init(key, images), jax.random.key(0))
    return "batch_stats" in shapes


@functools.cache
def activation_bytes(network: nn.Module, image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the bytes of the layers' outputs for one image: (of all layers, of the largest)."""

    return _captured_bytes(network, image_shape, True)


def _captured_bytes(
    network: nn.Module, image_shape: tuple[int, ...], which: Callable[[nn.Module, str], bool] | bool
) -> tuple[int, int]:
    """Bytes for one image of what some modules return: (of all, of the largest)."""

    def run(key: jax.Array, images: jax.Array) -> Any:
        variables = network.init(key, images)
        return network.apply(variables, images, capture_intermediates=which, mutable=True)[1]

    captured = jax.eval_shape(run, jax.random.key(0), jnp.zeros((1, *image_shape)))
    found = jax.tree.leaves(captured.get("intermediates", {}))
    sizes = [x.size * x.dtype.itemsize for x in found]
    return sum(sizes), max(sizes, default=0)


_KEPT_BYTES = 2**28
"""The outputs of convolutions are kept for a gradient of blocks where they take at most this."""


@functools.cache
def _convolved_bytes(network: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Bytes of the outputs of all convolutions for one image."""
    return _captured_bytes(network, image_shape, lambda module, _: isinstance(module, Conv))[0]


def images_per_block(network: nn.Module, count: int, image_shape: tuple[int, ...]) -> int:
    """Return how many of `count` images [h, w, c] to take through a network at once.

    All of them with batch norm, whose statistics are those of the whole batch.
    """
    if uses_batch_statistics(network, image_shape):
        return count
    return backend.images_per_block(count, activation_bytes(network, image_shape)[1])


def forward_in_blocks(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """Call a network as `forward` does, in blocks of `images_per_block`.

    A gradient computes each block again, so that memory is bounded by the block; the outputs of
    convolutions after the first one are kept where those of all images take at most 256 MB.

    Args:
      network: the network.
      variables: its variables.
      images: normalised, [n, h, w, c].

    Returns:
      (logits [n, C], features [n, d]).
    """
    count = images.shape[0]
    size = images_per_block(network, count, images.shape[1:])
    if size >= count:
        return forward(network, variables, images)
    padded = jnp.pad(images, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
    blocks = padded.reshape(-1, size, *images.shape[1:])
    names = [LATER] if count * _convolved_bytes(network, images.shape[1:]) <= _KEPT_BYTES else []
    again = jax.checkpoint(
        lambda block: forward(network, variables, block),
        policy=jax.checkpoint_policies.save_only_these_names(*names),
    )
    outputs = jax.lax.map(again, blocks)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1])[:count], outputs)
