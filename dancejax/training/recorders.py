"""What keeps experts in training: in a pool's folder, or in memory."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from dancejax import interpolate, runs
from dancejax.runs import checkpoint, parallel
from dancejax.training import TrainState, loop
from dancejax.types import Json, Tree


def snapshot_epochs(epochs: int, snapshots: int) -> list[int]:
    """Return the epochs after which an expert's snapshots are taken, evenly spread between."""
    return [round((i + 1) * epochs / (snapshots + 1)) for i in range(snapshots)]


class Snapshots:
    """The variables of a team after some of its epochs, leaves [N, T, ...].

    Attributes:
      epochs: those after which they are kept, evenly spread.
    """

    def __init__(self, epochs: int, count: int) -> None:
        self.epochs = snapshot_epochs(epochs, count)

    def room(self, team: loop.Team) -> Tree:
        """Room for those of a team; () where none are kept."""
        count, members = len(self.epochs), len(team.members)

        def empty(x: Any) -> np.ndarray:
            return np.zeros((members, count, *x.shape[1:]), x.dtype)

        return jax.tree.map(empty, team.state.variables) if count else ()

    def after_epoch(self, epoch: int, state: TrainState, kept: Tree) -> Tree:
        """Put the variables after an epoch into `kept`, if they are to be kept."""
        if epoch not in self.epochs:
            return kept
        slot = self.epochs.index(epoch)
        return jax.tree.map(lambda s, x: _put(s, slot, x), kept, parallel.fetch(state.variables))

    def trees(self, team: loop.Team, state: TrainState, kept: Tree) -> list[dict[str, Any]]:
        """What is stored of each finished expert: "init", "final" and "trajectory"."""
        first, final, kept = parallel.fetch((team.state.variables, state.variables, kept))
        whole = {"init": first, "final": final, **({"trajectory": kept} if self.epochs else {})}
        return [interpolate.select(whole, i) for i in range(len(team.members))]


class InMemory(loop.Observer):
    """Keeps the variables of finished experts, as `Snapshots.trees` gives them."""

    def __init__(self, epochs: int, snapshots: int) -> None:
        self.snapshots = Snapshots(epochs, snapshots)
        self.found: list[dict[str, Any]] = []

    def begin(self, team: loop.Team, session: runs.Session) -> Tree:
        return self.snapshots.room(team)

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        return self.snapshots.after_epoch(epoch, state, extra)

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        self.found += self.snapshots.trees(team, state, extra)
        return True


class Recorder(loop.Observer):
    """Keeps what a team of experts leaves behind: log lines, snapshots, finished experts."""

    def __init__(
        self,
        job: loop.Job,
        folder: Path,
        log: runs.MetricsLog,
        snapshots: int,
    ) -> None:
        self.folder, self.log = folder, log
        self.snapshots = Snapshots(job.config.epochs, snapshots)

    def begin(self, team: loop.Team, session: runs.Session) -> Json:
        """Room for the snapshots, and the loss of the last epoch."""
        self.rewound = False
        self.kind = "expert " + ",".join(map(str, team.members))
        return {"loss": np.zeros((), np.float32), "snapshots": self.snapshots.room(team)}

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        if not self.rewound:
            self.log.rewind(self.kind, epoch - 1)
            self.rewound = True
        self.log.write(self.kind, epoch, loss=loss)
        kept = self.snapshots.after_epoch(epoch, state, extra["snapshots"])
        return {"loss": np.float32(loss), "snapshots": kept}

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        """Store the experts; `save_tree` leaves alone those that are there already."""
        trees = self.snapshots.trees(team, state, extra["snapshots"])
        for member, tree in zip(team.members, trees, strict=True):
            metadata = {"member": member, "final_loss": float(extra["loss"])}
            checkpoint.save_tree(expert_path(self.folder, member), tree, metadata)
        return True


def _put(snapshots: np.ndarray, slot: int, now: np.ndarray) -> np.ndarray:
    snapshots = np.array(snapshots)
    snapshots[:, slot] = now[: len(snapshots)]
    return snapshots


def expert_path(folder: Path, member: int) -> Path:
    return folder / f"expert_{member:05d}"
