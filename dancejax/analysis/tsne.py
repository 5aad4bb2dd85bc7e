"""Real and synthetic features in two dimensions, all sets in one embedding (DM, Figure 3)."""

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
    unseen_experts,
)
from dancejax.analysis.features import Features
from dancejax.analysis.settings import Tsne as Config
from dancejax.errors import UserError
from dancejax.runs import QUIET, Run
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPONENTS = 50


def embed(values: np.ndarray, perplexity: float, *, seed: int) -> np.ndarray:
    """Embed points by PCA to 50 components and t-SNE to two.

    Args:
      values: [n, d], n >= 4.
      perplexity: at most a third of n - 1 is taken.
      seed: of the embedding.

    Returns:
      float64 [n, 2].

    References:
      van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(COMPONENTS, *values.shape)
    reduced = PCA(components, random_state=seed).fit_transform(values)
    perplexity = min(perplexity, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(reduced), np.float64)


def nearest_share(real: Features, own: Features) -> float:
    """Return the share of points whose nearest real point has their class.

    Args:
      real: points of real images, values [n, 2].
      own: points of synthetic images, values [m, 2].
    """
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(1).fit(real.values, real.labels)
    return float((nearest.predict(own.values) == own.labels).mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """Points of real and synthetic images in one plane.

    Attributes:
      class_names: of the classes shown.
      points: by label, values float64 [m, 2]; those of real images under REAL.
    """

    class_names: tuple[str, ...]
    points: Mapping[str, Features]

    def rows(self) -> list[Json]:
        """Return a record for each point."""
        return [
            {"set": name, "class": self.class_names[label], "x": float(x), "y": float(y)}
            for name, own in self.points.items()
            for (x, y), label in zip(own.values, own.labels, strict=True)
        ]

    def summary(self) -> str:
        """Return one sentence with the share of points that lie in their class."""
        real = self.points[REAL]
        shares = [
            f"{name} {100 * nearest_share(real, own):.0f} %"
            for name, own in self.points.items()
            if name != REAL
        ]
        return (
            "In one t-SNE embedding of all sets, the share of synthetic images whose nearest real "
            f"image has their class: {', '.join(shares)} ({len(real.labels)} real images of "
            f"{len(self.class_names)} classes)."
        )

    def figure(self) -> "Figure":
        """Draw a panel for each set over the same real points: colours are classes."""
        own = {name: points for name, points in self.points.items() if name != REAL}
        figure, panels = plots.new(len(own), width=3.6)
        for axes, (name, points) in zip(panels, own.items(), strict=True):
            for label, class_name in enumerate(self.class_names):
                style, real = plots.style(label), self.points[REAL].of(label)
                axes.scatter(
                    real[:, 0], real[:, 1], s=6, color=style.color, alpha=0.4, linewidths=0
                )
                stars = points.of(label)
                axes.scatter(
                    stars[:, 0],
                    stars[:, 1],
                    s=60,
                    color=style.color,
                    marker=style.marker,
                    edgecolors="black",
                    linewidths=0.8,
                    label=names.short(class_name),
                )
            axes.set_xticks([])
            axes.set_yticks([])
            plots.finish(figure, axes, title=f"{name} (outlined) among real images (dots)")
        return figure


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Embedding:
    """Embed real and synthetic features of the first classes in one plane.

    Args:
      material: sets, real images, and experts; the first that no set was made with is looked
        through.
      config: how many classes and images.
      run: not used: it is done in a minute.

    Raises:
      UserError: there is no expert that no set was made with, or there are too few images.

    References:
      Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, Figure 3.
    """
    config = config or Config()
    experts, number = experts_of(material), unseen_experts(material)[0]
    variables = interpolate.select(experts.pool.final, number)
    count = min(config.classes, material.train.num_classes)
    images = features.real_images(material.train, config.per_class, seed=material.seed)
    parts = {
        REAL: features.of_dataset(images, variables, experts.network),
        **features.of_sets(material.sets, material.train, variables, experts.network),
    }
    kept = {
        name: Features(part.values[part.labels < count], part.labels[part.labels < count])
        for name, part in parts.items()
    }
    joint = np.concatenate([part.values for part in kept.values()])
    if len(joint) < 4:
        raise UserError("t-SNE needs at least four images; give a larger --classes.")
    flat = embed(joint, config.perplexity, seed=material.seed)
    cuts = np.cumsum([len(part.labels) for part in kept.values()])[:-1]
    points = {
        name: Features(values, part.labels)
        for (name, part), values in zip(kept.items(), np.split(flat, cuts), strict=True)
    }
    return Embedding(material.train.classes[:count], points)


ANALYSIS = Analysis(
    "Real and synthetic features in one t-SNE embedding",
    "DM (WACV 2023), Figure 3",
    Config,
    measure,
    ("experts", "unseen"),
)
