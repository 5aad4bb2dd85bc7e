"""Interpolation of network parameters: mid encoders between an initialisation and an expert."""

from collections.abc import Sequence
from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

T = TypeVar("T")


def lerp(init: T, expert: T, lam: jax.Array | float) -> T:
    """lam * init + (1 - lam) * expert, leaf by leaf.

    lam in [0, 1]: 0 gives the expert, 1 the initialisation. Trees of equal structure and shapes.
    The mid encoder of DANCE's PLTDA (IJCAI 2024): phi_mid = lam * phi_0 + (1 - lam) * phi_expert.
    """
    chex.assert_trees_all_equal_structs(init, expert)
    chex.assert_trees_all_equal_shapes(init, expert)
    return jax.tree.map(lambda a, b: lam * a + (1 - lam) * b, init, expert)


def stack(trees: Sequence[T]) -> T:
    """One or more trees of equal structure -> one tree with a leading axis of their number."""
    if not trees:
        raise ValueError("stack needs at least one tree")
    for tree in trees[1:]:
        chex.assert_trees_all_equal_structs(trees[0], tree)
    return _stack(list(trees))


@jax.jit  # one program instead of one for each shape of a leaf
def _stack(trees: list[T]) -> T:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def select(stacked: T, index: jax.Array | int) -> T:
    """The tree at `index` of a stacked tree; the index may be traced."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)
