"""Interpolation of network parameters: mid encoders between an initialisation and an expert."""

from collections.abc import Sequence
from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

T = TypeVar("T")


def lerp(init: T, expert: T, lam: jax.Array | float) -> T:
    """Compute lam * init + (1 - lam) * expert, leaf by leaf.

    Args:
      init: a tree of arrays, phi_0.
      expert: a tree of the same structure and shapes, phi_expert.
      lam: in [0, 1]; 0 gives the expert, 1 the initialisation.

    Returns:
      phi_mid, a tree of the same structure and shapes.

    Raises:
      AssertionError: trees of different structure or shapes.

    References:
      The mid encoder of PLTDA in Zhang et al., "DANCE: Dual-View Distribution Alignment for Dataset
      Condensation", IJCAI 2024.
    """
    chex.assert_trees_all_equal_structs(init, expert)
    chex.assert_trees_all_equal_shapes(init, expert)
    return jax.tree.map(lambda a, b: lam * a + (1 - lam) * b, init, expert)


def stack(trees: Sequence[T]) -> T:
    """Stack trees along a new leading axis.

    Args:
      trees: N trees of equal structure and shapes, N >= 1.

    Returns:
      One tree, each leaf [N, ...].

    Raises:
      ValueError: no trees.
      AssertionError: trees of different structure.
    """
    if not trees:
        raise ValueError("stack needs at least one tree")
    for tree in trees[1:]:
        chex.assert_trees_all_equal_structs(trees[0], tree)
    return _stack(list(trees))


@jax.jit  # one program instead of one for each shape of a leaf
def _stack(trees: list[T]) -> T:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def select(stacked: T, index: jax.Array | int) -> T:
    """Return one tree of a stacked tree.

    Args:
      stacked: a tree, each leaf [N, ...].
      index: in [0, N); may be traced.
    """
    return jax.tree.map(lambda leaf: leaf[index], stacked)
