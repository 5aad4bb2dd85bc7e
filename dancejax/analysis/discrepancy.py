"""Distance of real and synthetic class means while networks train on real images (DANCE, Fig. 3a).

The networks are trained for this alone, from keys that no condensation draws from. In a folder,
each finished network is a file network_NN.json; those under way are kept in training/.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dancejax import keys, networks, runs
from dancejax.analysis import features, plots
from dancejax.analysis.base import Analysis, Material, listing
from dancejax.analysis.features import ClassSums
from dancejax.analysis.settings import Discrepancy as Config
from dancejax.condensed import fingerprint
from dancejax.runs import QUIET, Run, integrity, parallel
from dancejax.training import TrainState, loop, train_data
from dancejax.types import Json, Tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def discrepancy(real: ClassSums, own: ClassSums) -> np.ndarray:
    """Compute the distance of class means, relative to the size of the real features.

    Args:
      real: sums over real images under N networks.
      own: sums over synthetic images under the same networks, of all classes or some.

    Returns:
      float64 [N]: the squared distance of real and synthetic class means, mean over the classes of
      `own`, divided by the mean squared norm of the real features, which grows in training.

    References:
      Zhang et al., "DANCE", IJCAI 2024, Figure 3a; the division is ours.
    """
    there = np.asarray(own.counts)[0] > 0
    means = [
        np.asarray(sums.features, np.float64)[:, there]
        / np.asarray(sums.counts, np.float64)[:, there, None]
        for sums in (real, own)
    ]
    squared = ((means[0] - means[1]) ** 2).sum(-1).mean(-1)
    size = np.asarray(real.squares, np.float64) / np.asarray(real.counts, np.float64).sum(-1)
    return squared / size


@dataclasses.dataclass(frozen=True, eq=False)
class Discrepancy:
    """Discrepancies along the training of networks.

    Attributes:
      labels: of the sets.
      distances: [N, epochs + 1, sets], before training and after each epoch.
      accuracies: of the networks on the test images, percent, [N, epochs + 1].
    """

    labels: tuple[str, ...]
    distances: np.ndarray
    accuracies: np.ndarray

    def rows(self) -> list[Json]:
        """Return a record for each set and epoch."""
        mean, spread = self.distances.mean(0), _deviation(self.distances)
        return [
            {
                "set": label,
                "epoch": epoch,
                "discrepancy": float(mean[epoch, i]),
                "std": float(spread[epoch, i]),
                "accuracy": float(self.accuracies[:, epoch].mean()),
                "networks": len(self.distances),
            }
            for i, label in enumerate(self.labels)
            for epoch in range(mean.shape[0])
        ]

    def summary(self) -> str:
        """Return one sentence with the means over training and the values at its end."""
        epochs = self.distances.shape[1] - 1
        over = dict(zip(self.labels, self.distances.mean((0, 1)), strict=True))
        last = dict(zip(self.labels, self.distances[:, -1].mean(0), strict=True))
        return (
            "Squared distance of real and synthetic class means over the mean squared norm of real "
            f"features, mean over {epochs} epochs: {listing(over)}; after the last one "
            f"({self.accuracies[:, -1].mean():.1f} % test accuracy): {listing(last)}."
        )

    def figure(self) -> "Figure":
        """Draw the discrepancy along training, and the accuracy on an axis at the right."""
        figure, (axes,) = plots.new()
        epochs = np.arange(self.distances.shape[1])
        mean, spread = self.distances.mean(0), _deviation(self.distances)
        for number, label in enumerate(self.labels):
            plots.line(axes, number, label, epochs, mean[:, number], spread[:, number])
        axes.set_ylim(bottom=0)
        plots.whole_ticks(axes)
        right = axes.twinx()
        right.plot(epochs, self.accuracies.mean(0), **plots.REAL)
        right.set_ylabel("test accuracy of the networks, % (dotted)")
        plots.finish(
            figure,
            axes,
            xlabel="epoch of training on real images",
            ylabel="discrepancy of class means (relative)",
        )
        return figure


def _deviation(values: np.ndarray) -> np.ndarray:
    """Sample deviation over networks, the first axis; 0 for one."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Discrepancy:
    """Train networks on the real images and measure the sets' discrepancy after each epoch.

    Args:
      material: sets, real images, the network and how it is trained.
      config: how many networks.
      run: with a folder, the same call goes on after an interruption, bit for bit.

    Raises:
      Interrupted: a signal came; what was computed is saved.
      UserError: the folder holds another measurement.

    References:
      Zhang et al., "DANCE", IJCAI 2024, Figure 3a.
    """
    config = config or Config()
    run = run.opened()
    about = integrity.plain(
        {
            "analysis": "discrepancy",
            "sets": {label: fingerprint(made) for label, made in material.sets.items()},
            "train": material.train.fingerprint,
            "test": material.test.fingerprint,
            "network": networks.identity(material.network),
            "training": dataclasses.asdict(material.training),
            "seed": material.seed,
        }
    )
    job = loop.Job(
        "discrepancy",
        material.network,
        material.training,
        train_data(material.train),
        config.networks,
        material.seed,
        keys.ANALYSIS,
        about,
    )
    kept = _Kept(run.folder, about)
    watcher = _Watcher(job, material, kept)
    missing = [n for n in range(config.networks) if n not in kept.found]
    loop.train(job, missing, watcher, run)
    found = [kept.found[n] for n in range(config.networks)]
    return Discrepancy(
        tuple(material.sets),
        np.array([one["discrepancy"] for one in found]),
        np.array([one["accuracy"] for one in found]),
    )


class _Kept:
    """What finished networks measured, by number; with a folder a file each."""

    def __init__(self, folder: Path | None, about: Json) -> None:
        self._folder, self._about = folder, about
        self.found: dict[int, Json] = {}
        read = parallel.primary_says(lambda: list(self._read().items()))
        self.found = {int(number): found for number, found in read}

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"network_{number:02d}.json"

    def _read(self) -> dict[int, Json]:
        found = {}
        for path in sorted(self._folder.glob("network_*.json")) if self._folder else []:
            try:
                stored = integrity.read_manifest(path)
            except integrity.DamagedError:
                continue  # trained again
            integrity.check_same(stored["record"], self._about, path)
            found[stored["network"]] = stored["measured"]
        return found

    def add(self, number: int, measured: Json) -> None:
        """Keep what a finished network measured."""
        self.found[number] = measured
        if self._folder is not None:
            value = {"record": self._about, "network": number, "measured": measured}
            runs.write_json(self._path(number), integrity.seal(value))


class _Watcher(loop.Observer):
    """Measures networks in training: `extra` are the discrepancies and accuracies so far."""

    def __init__(self, job: loop.Job, material: Material, kept: _Kept) -> None:
        self.job, self.material, self.kept = job, material, kept
        self.placed: Tree = None

    def begin(self, team: loop.Team, session: runs.Session) -> Mapping[str, np.ndarray]:
        self.session = session
        if self.placed is None:
            sets = [
                features.training_images(made, self.material.train)
                for made in self.material.sets.values()
            ]
            real = (self.material.train, self.material.test)
            data = [*map(train_data, real), *sets]
            self.placed = [loop.place(one, session) for one in data]
        shape = (len(team.members), self.job.config.epochs + 1)
        room = {
            "discrepancy": np.zeros((*shape, len(self.material.sets)), np.float32),
            "accuracy": np.zeros(shape, np.float32),
        }
        return self._measured(0, team.state, room)

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Tree) -> Tree:
        return self._measured(epoch, state, extra)

    def _measured(self, epoch: int, state: TrainState, extra: Mapping[str, Tree]) -> Tree:
        real, test, *sets = (
            features.class_sums_in_parts(
                state.variables, data, network=self.job.network, mesh=self.session.mesh
            )
            for data in self.placed
        )
        found = {name: np.array(values) for name, values in extra.items()}
        members = len(found["accuracy"])
        for i, own in enumerate(sets):
            found["discrepancy"][:, epoch, i] = discrepancy(real, own)[:members]
        right = 100 * np.asarray(test.right) / len(self.material.test)
        found["accuracy"][:, epoch] = right[:members]
        return found

    def finish(self, team: loop.Team, state: TrainState, extra: Tree) -> bool:
        for i, member in enumerate(team.members):
            measured = {name: np.asarray(values)[i].tolist() for name, values in extra.items()}
            self.kept.add(member, measured)
        return True


ANALYSIS = Analysis(
    "Distance of real and synthetic class means along training",
    "DANCE (IJCAI 2024), Figure 3a",
    Config,
    measure,
    ("training",),
)
