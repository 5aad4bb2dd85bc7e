"""Snapshots of experts in training, for methods that go along their trajectories."""

from collections.abc import Callable

import jax

from dancejax import networks
from dancejax.errors import UserError
from dancejax.methods.base import Context, Visits

NO_TRAJECTORIES = (
    "this method needs the experts' parameters after every epoch; read a pool that was trained "
    "with all --snapshots by load_pool(trajectories=True), or train one by "
    "train_experts(trajectories=True)."
)
"""What is said where the experts come without their trajectories."""


def snapshots_of(context: Context, visits: Callable[[int, int], Visits]) -> networks.Variables:
    """Return the snapshots of experts that a step uses, leaves [k, ...].

    Args:
      context: of the run.
      visits: (experts N, snapshots T of each) -> which ones.

    Raises:
      UserError: there are no trajectories.
    """
    if context.visited is not None:
        assert not isinstance(context.visited, list)
        return context.visited
    if context.trajectories is None:
        raise UserError(NO_TRAJECTORIES)
    taken = visits(*jax.tree.leaves(context.trajectories)[0].shape[:2])
    return jax.tree.map(lambda x: x[taken.experts, taken.epochs], context.trajectories)
