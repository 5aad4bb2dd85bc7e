"""Density of features on the first principal axis of the real ones (M3D, Figure 1)."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dancejax import interpolate, names
from dancejax.analysis import features, plots
from dancejax.analysis.base import (
    REAL,
    Analysis,
    Material,
    experts_of,
    listing,
    unseen_experts,
)
from dancejax.analysis.settings import Density as Config
from dancejax.errors import UserError
from dancejax.runs import QUIET, Run
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 200


def project(real: np.ndarray, own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Project features onto the first principal axis of the real ones.

    Args:
      real: [n, d], n >= 2.
      own: by label, [m, d] each.

    Returns:
      By label, the real ones under REAL and first: float64 [m] each, centred at the real mean, in
      units of the real deviation along the axis.
    """
    from sklearn.decomposition import PCA

    axis = PCA(1, svd_solver="full").fit(np.asarray(real, np.float64))
    scale = np.sqrt(axis.explained_variance_[0])
    return {
        label: axis.transform(np.asarray(values, np.float64))[:, 0] / scale
        for label, values in {REAL: real, **own}.items()
    }


def densities(
    projected: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Estimate densities by Gaussian kernels whose width follows Scott's rule.

    Args:
      projected: numbers by label, [m] each, m >= 2 different ones.

    Returns:
      (where, float64 [POINTS]; by label the density there, [POINTS]). The range goes four widths
      beyond all numbers, so that each density integrates to one over it.
    """
    from scipy.stats import gaussian_kde

    kernels = {label: gaussian_kde(values) for label, values in projected.items()}
    widest = max(float(np.sqrt(kernel.covariance[0, 0])) for kernel in kernels.values())
    joint = np.concatenate(list(projected.values()))
    x = np.linspace(joint.min() - 4 * widest, joint.max() + 4 * widest, POINTS)
    return x, {label: kernel(x) for label, kernel in kernels.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Density:
    """Densities of a class's features along one axis.

    Attributes:
      class_name: of the class.
      x: places on the axis, [POINTS], in real deviations from the real mean.
      values: the density there, [POINTS], by label; the real images' under REAL.
      distances: Wasserstein-1 distance to the real images along the axis, by label.
    """

    class_name: str
    x: np.ndarray
    values: Mapping[str, np.ndarray]
    distances: Mapping[str, float]

    def rows(self) -> list[Json]:
        """Return a record for each set and place."""
        return [
            {"set": label, "x": float(x), "density": float(y)}
            for label, own in self.values.items()
            for x, y in zip(self.x, own, strict=True)
        ]

    def summary(self) -> str:
        """Return one sentence with the sets' distances to the real images."""
        return (
            f"Along the first principal axis of class {names.short(self.class_name)}, the "
            "Wasserstein-1 distance to the real features, in their standard deviations: "
            f"{listing(self.distances)}."
        )

    def figure(self) -> "Figure":
        """Draw the densities, the real one filled."""
        figure, (axes,) = plots.new()
        real = self.values[REAL]
        axes.fill_between(self.x, real, color="black", alpha=0.12, linewidth=0)
        axes.plot(self.x, real, label=REAL, **plots.REAL)
        for number, label in enumerate(self.distances):
            plots.line(axes, number, label, self.x, self.values[label])
        plots.finish(
            figure,
            axes,
            xlabel="first principal axis of the real features (standard deviations)",
            ylabel="density",
            title=f"class {names.short(self.class_name)}",
        )
        return figure


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Density:
    """Measure the density of a class's features under a trained network.

    Args:
      material: sets, real images, and experts; the first that no set was made with is looked
        through.
      config: which class.
      run: not used: it is done in seconds.

    Raises:
      UserError: there is no such class or expert, or a set has fewer than two images of it.

    References:
      Zhang et al., "M3D", AAAI 2024, Figure 1.
    """
    from scipy.stats import wasserstein_distance

    config = config or Config()
    label, classes = config.class_number, material.train.classes
    if label >= len(classes):
        raise UserError(f"there is no class {label}; classes are numbered from 0.")
    experts, number = experts_of(material), unseen_experts(material)[0]
    variables = interpolate.select(experts.pool.final, number)
    images = features.real_images(material.train, config.per_class, seed=material.seed)
    real = features.of_dataset(images, variables, experts.network).of(label)
    sets = {
        name: found.of(label)
        for name, found in features.of_sets(
            material.sets, material.train, variables, experts.network
        ).items()
    }
    for name, values in {REAL: real, **sets}.items():
        if len(np.unique(values, axis=0)) < 2:
            raise UserError(
                f"{name} has fewer than two different images of class {label}, of which no density "
                "can be estimated; leave it out or choose another --class_number."
            )
    projected = project(real, sets)
    x, found = densities(projected)
    return Density(
        classes[label],
        x,
        found,
        {name: float(wasserstein_distance(projected[REAL], projected[name])) for name in sets},
    )


ANALYSIS = Analysis(
    "Density of a class's features on the first principal axis of the real ones",
    "M3D (AAAI 2024), Figure 1",
    Config,
    measure,
    ("experts", "unseen"),
)
