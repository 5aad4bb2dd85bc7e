"""What keeps experts in training: in a pool's folder, or in memory."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from dancejax import interpolate, networks, runs, training
from dancejax.data.dataset import Dataset
from dancejax.runs import checkpoint, parallel
from dancejax.training import TrainState, loop
from dancejax.types import Json, Tree


class InMemory(loop.Observer):
    """Keeps the variables of finished experts."""

    def __init__(self) -> None:
        self.found: list[tuple[networks.Variables, networks.Variables]] = []

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        ends = parallel.fetch((team.state.variables, state.variables))
        for i in range(len(team.members)):
            self.found.append(tuple(interpolate.select(end, i) for end in ends))
        return True


def snapshot_epochs(epochs: int, snapshots: int) -> list[int]:
    """Return the epochs after which an expert's snapshots are taken, evenly spread between."""
    return [round((i + 1) * epochs / (snapshots + 1)) for i in range(snapshots)]


class Recorder(loop.Observer):
    """Keeps what a team of experts leaves behind: log lines, snapshots, finished experts."""

    def __init__(
        self,
        job: loop.Job,
        folder: Path,
        log: runs.MetricsLog,
        snapshots: int,
        test: Dataset | None,
    ) -> None:
        self.job, self.folder, self.log, self.test = job, folder, log, test
        self.snapshot_epochs = snapshot_epochs(job.config.epochs, snapshots)

    def begin(self, team: loop.Team, session: runs.Session) -> Json:
        """Room for the snapshots, leaves [N, T, ...], and the loss of the last epoch."""
        self.session, self.rewound = session, False
        self.kind = "expert " + ",".join(map(str, team.members))
        count, members = len(self.snapshot_epochs), len(team.members)

        def room(x: Any) -> np.ndarray:
            return np.zeros((members, count, *x.shape[1:]), x.dtype)

        kept = jax.tree.map(room, team.state.variables) if count else ()
        return {"loss": np.zeros((), np.float32), "snapshots": kept}

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        if not self.rewound:
            self.log.rewind(self.kind, epoch - 1)
            self.rewound = True
        self.log.write(self.kind, epoch, loss=loss)
        snapshots = extra["snapshots"]
        if epoch in self.snapshot_epochs:
            slot = self.snapshot_epochs.index(epoch)
            now = parallel.fetch(state.variables)
            snapshots = jax.tree.map(lambda s, x: _put(s, slot, x), snapshots, now)
        return {"loss": np.float32(loss), "snapshots": snapshots}

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        """Store the experts; `save_tree` leaves alone those that are there already."""
        accuracies = None
        if self.test is not None:
            placed = loop.place(training.train_data(self.test), self.session)
            accuracies = training.accuracy_in_parts(
                state.variables, placed, network=self.job.network, mesh=self.session.mesh
            )
        parts = team.state.variables, state.variables, extra
        first, final, kept = parallel.fetch(parts)
        for i, member in enumerate(team.members):
            tree = interpolate.select({"init": first, "final": final}, i)
            if self.snapshot_epochs:
                tree["trajectory"] = interpolate.select(kept["snapshots"], i)
            metadata: dict[str, Any] = {"member": member, "final_loss": float(kept["loss"])}
            if accuracies is not None:
                metadata["test_accuracy"] = float(accuracies[i])
            checkpoint.save_tree(expert_path(self.folder, member), tree, metadata)
        return True


def _put(snapshots: np.ndarray, slot: int, now: np.ndarray) -> np.ndarray:
    snapshots = np.array(snapshots)
    snapshots[:, slot] = now[: len(snapshots)]
    return snapshots


def expert_path(folder: Path, member: int) -> Path:
    return folder / f"expert_{member:05d}"
