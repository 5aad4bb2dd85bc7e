"""Accuracy between an initialisation and an expert, and along the way it took (DANCE, Fig. 3b)."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from dancejax import interpolate, networks, training
from dancejax.analysis import plots
from dancejax.analysis.base import Analysis, Material, each, experts_of
from dancejax.analysis.settings import Interpolation as Config
from dancejax.runs import QUIET, Run
from dancejax.training.experts import Experts, load_trajectory
from dancejax.training.recorders import snapshot_epochs
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class Interpolation:
    """Test accuracies of N experts, percent.

    Attributes:
      lambdas: in [0, 1], [L]; 0 is the expert, 1 its initialisation.
      between: of lambda * initial + (1 - lambda) * final parameters, [N, L].
      epochs: of the snapshots, initialisation and end included, [T]; empty without snapshots.
      along: after these epochs of training, [N, T].
    """

    lambdas: np.ndarray
    between: np.ndarray
    epochs: tuple[int, ...]
    along: np.ndarray

    def rows(self) -> list[Json]:
        """Return a record for each lambda, and for each epoch of the snapshots."""
        between = [
            _row("interpolation", float(x), None, self.between[:, i])
            for i, x in enumerate(self.lambdas)
        ]
        along = [
            _row("training", None, epoch, self.along[:, i]) for i, epoch in enumerate(self.epochs)
        ]
        return between + along

    def summary(self) -> str:
        """Return one sentence with the accuracies at both ends and in the middle."""
        mean = self.between.mean(0)
        middle = int(np.argmin(np.abs(self.lambdas - 0.5)))
        return (
            f"Test accuracy of lambda * initial + (1 - lambda) * expert parameters, mean over "
            f"{len(self.between)} experts: {mean[0]:.1f} % at lambda 0, {mean[middle]:.1f} % at "
            f"{self.lambdas[middle]:.2g}, {mean[-1]:.1f} % at 1."
        )

    def figure(self) -> "Figure":
        """Draw accuracy against lambda, and beside it along training where there are snapshots."""
        figure, panels = plots.new(2 if self.epochs else 1, width=4.8)
        curves: list[tuple[Any, str, np.ndarray]] = [
            (self.lambdas, "lambda (0: expert, 1: initialisation)", self.between)
        ]
        if self.epochs:
            curves.append((np.array(self.epochs), "epoch of the expert's training", self.along))
        for number, (axes, (x, xlabel, values)) in enumerate(zip(panels, curves, strict=True)):
            plots.line(axes, number, "", x, values.mean(0), _deviation(values))
            axes.set_ylim(bottom=0)
            title = f"mean and deviation over {len(values)} experts"
            plots.finish(figure, axes, xlabel=xlabel, ylabel="test accuracy, %", title=title)
        if self.epochs:
            plots.whole_ticks(panels[1])
        return figure


def _deviation(values: np.ndarray) -> np.ndarray:
    """Sample deviation over experts, [N, L] -> [L]; 0 for one."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def _row(path: str, lam: float | None, epoch: int | None, values: np.ndarray) -> Json:
    return {
        "path": path,
        "lambda": lam,
        "epoch": epoch,
        "accuracy": float(values.mean()),
        "std": float(_deviation(values[:, None])[0]),
        "experts": len(values),
    }


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Interpolation:
    """Measure test accuracies between initialisations and experts, and along snapshots.

    Args:
      material: the test images and experts; snapshots where they are in a folder with some.
      config: how many lambdas.
      run: shows progress.

    References:
      Zhang et al., "DANCE", IJCAI 2024, Figure 3b.
    """
    config = config or Config()
    experts = experts_of(material)
    init, final = experts.pool
    lambdas = np.linspace(0, 1, config.lambda_steps + 1)
    epochs, trajectories = _snapshots(material, experts)
    test = training.train_data(material.test)
    jobs = [("between", float(x)) for x in lambdas] + [("along", t) for t in range(len(epochs))]
    found: dict[str, list[np.ndarray]] = {"between": [], "along": []}
    for (path, at), session in each(jobs, "interpolation", run):
        if path == "between":
            variables = interpolate.lerp(init, final, at)
        else:
            variables = interpolate.stack([interpolate.select(t, int(at)) for t in trajectories])
        shares = training.accuracy_in_parts(
            variables, test, network=experts.network, mesh=session.mesh
        )
        found[path].append(100 * shares)
    along = np.array(found["along"]).T if epochs else np.zeros((experts.count, 0))
    return Interpolation(lambdas, np.array(found["between"]).T, epochs, along)


def _snapshots(
    material: Material, experts: Experts
) -> tuple[tuple[int, ...], list[networks.Variables]]:
    """The epochs of the experts' snapshots, and those of each expert, leaves [T, ...]."""
    count, epochs = experts.description["snapshots"], experts.description["training"]["epochs"]
    if material.expert_folder is None or not count:
        return (), []
    trajectories = [
        load_trajectory(material.expert_folder, n, network=experts.network)
        for n in range(experts.count)
    ]
    return (0, *snapshot_epochs(epochs, count), epochs), trajectories


ANALYSIS = Analysis(
    "Test accuracy between an initialisation and an expert, and along its training",
    "DANCE (IJCAI 2024), Figure 3b",
    Config,
    measure,
    ("experts",),
)
