"""Whether the real neighbours of synthetic images have their class (IDM, Figure 4)."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dancejax import interpolate, networks
from dancejax.analysis import features, plots
from dancejax.analysis.base import (
    Analysis,
    Material,
    each,
    experts_of,
    listing,
    unseen_experts,
)
from dancejax.analysis.features import Features
from dancejax.analysis.settings import Consistency as Config
from dancejax.errors import UserError
from dancejax.runs import QUIET, Run
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("trained", "random")


def consistency(real: Features, own: Features, neighbours: int) -> np.ndarray:
    """Compute the consistency ratio of synthetic images.

    Args:
      real: of real training images.
      own: of synthetic images.
      neighbours: K, at most as many as there are real images.

    Returns:
      float64 [K] in [0, 1]: for k = 1..K the share of the k real images nearest to a synthetic one
      (L2 distance of features) that have its class, mean over the synthetic images.

    References:
      Zhao et al., "IDM", CVPR 2023, Figure 4.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(real.values)
    nearest = search.kneighbors(own.values, return_distance=False)
    right = (real.labels[nearest] == own.labels[:, None]).mean(0)
    return np.cumsum(right) / np.arange(1, neighbours + 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Consistency:
    """Consistency ratios under trained and under random networks.

    Attributes:
      ratios: by kind of network (KINDS) and label, float64 [networks, K].
    """

    ratios: Mapping[str, Mapping[str, np.ndarray]]

    def rows(self) -> list[Json]:
        """Return a record for each kind of network, set and number of neighbours."""
        return [
            {
                "set": label,
                "network": kind,
                "neighbours": k + 1,
                "ratio": float(values[:, k].mean()),
                "std": _deviation(values)[k].item(),
                "networks": len(values),
            }
            for kind, by_label in self.ratios.items()
            for label, values in by_label.items()
            for k in range(values.shape[1])
        ]

    def summary(self) -> str:
        """Return one sentence with the ratios at a fifth of the neighbours."""
        k = max(1, next(iter(self.ratios["trained"].values())).shape[1] // 5)
        parts = [
            f"{kind} networks: "
            + listing({label: values[:, k - 1].mean() for label, values in by_label.items()})
            for kind, by_label in self.ratios.items()
        ]
        return (
            f"Share of the {k} nearest real images that have a synthetic image's class, under "
            f"{'; under '.join(parts)}."
        )

    def figure(self) -> "Figure":
        """Draw the ratio against the number of neighbours, a panel for each kind of network."""
        figure, panels = plots.new(2, width=4.6)
        for axes, (kind, by_label) in zip(panels, self.ratios.items(), strict=True):
            for number, (label, values) in enumerate(by_label.items()):
                k = np.arange(1, values.shape[1] + 1)
                plots.line(axes, number, label, k, values.mean(0), _deviation(values))
            axes.set_ylim(0, 1.02)
            plots.finish(
                figure,
                axes,
                xlabel="nearest real images k",
                ylabel="share with the same class",
                title=f"features of {kind} networks",
            )
        return figure


def _deviation(values: np.ndarray) -> np.ndarray:
    """Sample deviation over networks, [N, K] -> [K]; 0 for one."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Consistency:
    """Measure the consistency ratio of sets under trained and random networks.

    Args:
      material: sets, real images, the network, and experts, of which only those are looked at that
        no set was made with.
      config: how many neighbours and networks.
      run: shows progress.

    Raises:
      UserError: there are fewer real images than neighbours, or no such expert.

    References:
      Zhao et al., "IDM", CVPR 2023, Figure 4.
    """
    config = config or Config()
    real = features.real_images(material.train, config.per_class, seed=material.seed)
    if len(real) < config.neighbours:
        raise UserError(
            f"there are {len(real)} real images, {config.neighbours} neighbours are asked for; "
            "give a smaller --neighbours."
        )
    experts, unseen = experts_of(material), unseen_experts(material)[: config.networks]
    jobs = [("trained", n) for n in unseen] + [("random", n) for n in range(config.networks)]
    found: dict[str, dict[str, list[np.ndarray]]] = {
        kind: {label: [] for label in material.sets} for kind in KINDS
    }
    for (kind, number), _ in each(jobs, "consistency", run):
        variables: networks.Variables
        if kind == "trained":
            net, variables = experts.network, interpolate.select(experts.pool.final, number)
        else:
            net, variables = material.network, features.random_network(material, number)
        of_real = features.of_dataset(real, variables, net)
        of_sets = features.of_sets(material.sets, material.train, variables, net)
        for label, own in of_sets.items():
            found[kind][label].append(consistency(of_real, own, config.neighbours))
    return Consistency(
        {kind: {k: np.array(v) for k, v in own.items()} for kind, own in found.items()}
    )


ANALYSIS = Analysis(
    "Share of a synthetic image's nearest real images that have its class",
    "IDM (CVPR 2023), Figure 4",
    Config,
    measure,
    ("experts", "unseen"),
)
