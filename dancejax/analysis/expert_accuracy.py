"""How well experts classify the images of condensed sets (DANCE, Figure 3c)."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dancejax import training
from dancejax.analysis import features, plots
from dancejax.analysis.base import (
    REAL,
    Analysis,
    Material,
    each,
    experts_of,
    used_experts,
)
from dancejax.analysis.settings import NoSettings
from dancejax.runs import QUIET, Run
from dancejax.training import TrainData
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USED, HELD_OUT, UNKNOWN, ALL = "used", "held out", "unknown", "all"
"""Whether a set was made with the experts; it may not say. Of real test images: all experts."""


class Group(NamedTuple):
    """Accuracies of some experts on one set of images.

    Attributes:
      images: label of the set, or REAL.
      experts: USED, HELD_OUT, UNKNOWN or ALL.
      values: accuracy of each expert, percent.
    """

    images: str
    experts: str
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ExpertAccuracy:
    """Accuracies of experts on real test images and on the sets' training images.

    Attributes:
      groups: the experts that a set was made with apart from the others.
    """

    groups: tuple[Group, ...]

    def rows(self) -> list[Json]:
        """Return a record for each set and group of experts."""
        return [
            {
                "set": group.images,
                "experts": group.experts,
                "accuracy": statistics.fmean(group.values),
                "std": statistics.stdev(group.values) if len(group.values) > 1 else 0.0,
                "number": len(group.values),
            }
            for group in self.groups
        ]

    def summary(self) -> str:
        """Return one sentence with the mean accuracy of each group."""
        parts = [
            f"{row['set']} {row['accuracy']:.1f} % ({row['experts']}, {row['number']})"
            for row in self.rows()
        ]
        return (
            "Mean accuracy of experts, with whether the set was made with them and how many they "
            f"are: {', '.join(parts)}."
        )

    def figure(self) -> "Figure":
        """Draw bars for each set, those of experts that it was made with apart."""
        figure, (axes,) = plots.new()
        rows = self.rows()
        groups = list(dict.fromkeys(row["set"] for row in rows))
        kinds = [k for k in (ALL, HELD_OUT, USED, UNKNOWN) if any(k == r["experts"] for r in rows)]
        found: Mapping[tuple[str, str], tuple[float, float]] = {
            (row["set"], row["experts"]): (row["accuracy"], row["std"]) for row in rows
        }
        missing = (float("nan"), float("nan"))
        series = {f"experts: {k}": [found.get((g, k), missing) for g in groups] for k in kinds}
        plots.bars(axes, groups, series)
        axes.set_ylim(0, 105)
        plots.finish(figure, axes, ylabel="accuracy of the experts, %")
        return figure


def measure(
    material: Material, config: NoSettings | None = None, run: Run = QUIET
) -> ExpertAccuracy:
    """Measure experts on real test images and on the sets' training images.

    Images of sets are decoded and not augmented.

    Args:
      material: sets, test images and experts.
      config: there is nothing to set.
      run: shows progress.

    References:
      Zhang et al., "DANCE", IJCAI 2024, Figure 3c; experts that a set was made with are kept apart
      from the others, since DANCE lowers their loss on the set.
    """
    experts = experts_of(material)
    final = experts.pool.final
    images: dict[str, TrainData] = {
        REAL: training.train_data(material.test),
        **{
            label: features.training_images(made, material.train)
            for label, made in material.sets.items()
        },
    }
    groups = []
    for (label, data), session in each(list(images.items()), "expert_accuracy", run):
        values = 100 * training.accuracy_in_parts(
            final, data, network=experts.network, mesh=session.mesh
        )
        if label == REAL:
            groups.append(Group(REAL, ALL, _floats(values)))
            continue
        used = used_experts(material.sets[label], experts)
        if used is None:
            groups.append(Group(label, UNKNOWN, _floats(values)))
            continue
        parts = {USED: values[: len(used)], HELD_OUT: values[len(used) :]}
        groups += [Group(label, kind, _floats(own)) for kind, own in parts.items() if len(own)]
    return ExpertAccuracy(tuple(groups))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


ANALYSIS = Analysis(
    "Accuracy of experts on condensed sets, those used in making them apart",
    "DANCE (IJCAI 2024), Figure 3c",
    NoSettings,
    measure,
    ("experts",),
)
