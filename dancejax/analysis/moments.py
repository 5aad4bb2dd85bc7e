"""Distances between the moments of real and synthetic features (M3D, Table 1)."""

import csv
import dataclasses
import statistics
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dancejax.analysis import features, plots
from dancejax.analysis.base import Analysis, Material, each
from dancejax.analysis.settings import Moments as Config
from dancejax.condensed import CondensedSet
from dancejax.runs import QUIET, Run
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOMENTS = ("mean", "variance", "skewness")
CONSTANT = 1e-12
"""Variance up to which a coordinate counts as constant."""


class Moments(NamedTuple):
    """The first three moments of each coordinate, [d] each."""

    mean: np.ndarray
    variance: np.ndarray
    skewness: np.ndarray


def moments(values: np.ndarray) -> Moments:
    """Compute mean, variance and skewness of each coordinate.

    Args:
      values: [n, d], n >= 1.

    Returns:
      The mean, the variance (divided by n) and the third central moment over sigma^3, float64 [d]
      each; the skewness of a constant coordinate is 0.
    """
    values = np.asarray(values, np.float64)
    mean = values.mean(0)
    centred = values - mean
    variance = (centred**2).mean(0)
    varies = variance > CONSTANT
    third = (centred**3).mean(0)
    skewness = np.where(varies, third / np.where(varies, variance, 1) ** 1.5, 0.0)
    return Moments(mean, variance, skewness)


def distances(real: features.Features, own: features.Features) -> np.ndarray:
    """Compute how far the moments of two sets of features lie apart.

    Args:
      real: of real images.
      own: of synthetic ones, of the same classes or some of them.

    Returns:
      float64 [3]: for mean, variance and skewness the L2 norm over the coordinates of the
      difference, mean over the classes of `own`.

    References:
      Zhang et al., "M3D", AAAI 2024, Table 1; per class and coordinate is our reading.
    """
    found = []
    for label in np.unique(own.labels):
        pairs = zip(moments(real.of(label)), moments(own.of(label)), strict=True)
        found.append([float(np.linalg.norm(a - b)) for a, b in pairs])
    return np.mean(found, axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class MomentDistances:
    """Distances of moments under random networks.

    Attributes:
      values: of each set, float64 [networks, 3], for the moments of MOMENTS.
      published: what the paper prints of such sets, [3], where it does.
    """

    values: Mapping[str, np.ndarray]
    published: Mapping[str, tuple[float, ...]]

    def rows(self) -> list[Json]:
        """Return a record for each set and moment."""
        return [
            {
                "set": label,
                "moment": moment,
                "distance": float(values[:, i].mean()),
                "std": statistics.stdev(values[:, i].tolist()) if len(values) > 1 else 0.0,
                "networks": len(values),
                "published": self.published[label][i] if label in self.published else None,
            }
            for label, values in self.values.items()
            for i, moment in enumerate(MOMENTS)
        ]

    def summary(self) -> str:
        """Return one sentence with each set's three distances."""
        parts = [
            f"{label} " + "/".join(f"{value:.3g}" for value in values.mean(0))
            for label, values in self.values.items()
        ]
        count = len(next(iter(self.values.values())))
        return (
            "Distance between real and synthetic features in mean/variance/skewness, mean over "
            f"{count} random networks: {', '.join(parts)}."
        )

    def figure(self) -> "Figure":
        """Draw a panel of bars for each moment."""
        figure, panels = plots.new(3, width=3.4)
        for i, (axes, moment) in enumerate(zip(panels, MOMENTS, strict=True)):
            plots.bars(
                axes,
                [moment],
                {
                    row["set"]: [(row["distance"], row["std"])]
                    for row in self.rows()
                    if row["moment"] == moment
                },
            )
            plots.finish(figure, axes, ylabel="distance to real features" if i == 0 else "")
        return figure


def published(sets: Mapping[str, CondensedSet]) -> dict[str, tuple[float, ...]]:
    """Return the distances that M3D's Table 1 prints for such sets, by their labels."""
    text = (resources.files(__package__) / "published.csv").read_text(encoding="utf-8")
    known = {row["method"]: row for row in csv.DictReader(text.splitlines())}
    found = {}
    for label, made in sets.items():
        name = made.method
        if made.settings.get("moments", 1) > 1:
            name += f"_moments{made.settings['moments']}"
        if name in known and (made.source.get("name"), made.ipc) == ("cifar10", 10):
            found[label] = tuple(float(known[name][moment]) for moment in MOMENTS)
    return found


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> MomentDistances:
    """Measure how far the moments of synthetic features lie from those of real ones.

    Args:
      material: sets, real images and the network, which is initialised only.
      config: how many networks and images.
      run: shows progress.

    References:
      Zhang et al., "M3D", AAAI 2024, Table 1.
    """
    config = config or Config()
    real = features.real_images(material.train, config.per_class, seed=material.seed)
    net, found = material.network, []
    for number, _ in each(range(config.networks), "moments", run):
        variables = features.random_network(material, number)
        of_real = features.of_dataset(real, variables, net)
        of_sets = features.of_sets(material.sets, material.train, variables, net)
        found.append([distances(of_real, own) for own in of_sets.values()])
    values = np.array(found)
    by_label = {label: values[:, i] for i, label in enumerate(material.sets)}
    return MomentDistances(by_label, published(material.sets))


ANALYSIS = Analysis(
    "Distances between the moments of real and synthetic features",
    "M3D (AAAI 2024), Table 1",
    Config,
    measure,
)
