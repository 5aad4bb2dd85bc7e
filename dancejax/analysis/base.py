"""What every analysis is made of: what it looks at, its settings, and what it finds."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import flax.linen as nn

from dancejax import condensed, coreset, methods, networks
from dancejax.analysis.settings import (
    NoSettings as NoSettings,
    Setting as Setting,
    check_config as check_config,
    setting as setting,
)
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run, Session, integrity, parallel
from dancejax.training import TrainConfig
from dancejax.training.experts import Experts
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
REAL = "real"
"""What the real images are called among the labels of sets."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What analyses look at.

    Attributes:
      sets: condensed sets by their labels in tables and plots.
      train: the real training images that the sets are of.
      test: the real test images.
      network: what is initialised or trained to look through.
      training: how networks are trained on the real images, as experts are.
      experts: networks trained on the real images; None where no analysis needs them.
      expert_folder: of the same experts, for the snapshots between; None where there is none.
      run_folders: of the runs that made the sets, for what they cost; by label.
      seed: of everything random; no condensation draws from it what analyses draw.
    """

    sets: Mapping[str, CondensedSet]
    train: Dataset
    test: Dataset
    network: nn.Module
    training: TrainConfig
    experts: Experts | None = None
    expert_folder: Path | None = None
    run_folders: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("there are no condensed sets to analyse; give at least one.")
        if REAL in self.sets:
            raise UserError(
                f"no set may be called {REAL!r}, as real images are; rename its folder."
            )
        for label, made in self.sets.items():
            same = made.image_shape == self.train.image_shape
            if not same or tuple(made.classes) != tuple(self.train.classes):
                raise UserError(
                    f"{label} has other classes or image sizes than {self.train.name}; give the "
                    "data set that it was made from."
                )


class Result(Protocol):
    """What an analysis found."""

    def rows(self) -> list[Json]:
        """Return the numbers as flat records that all have the same keys."""
        ...

    def summary(self) -> str:
        """Return one sentence that says the result in numbers."""
        ...

    def figure(self) -> "Figure":
        """Draw the result."""
        ...


class Analysis(NamedTuple):
    """A measurement by name.

    Attributes:
      title: what it measures, in plain English.
      source: paper and figure or table that it follows.
      config: its settings, a frozen dataclass of `setting`s.
      measure: (material, config, run) -> what was found.
      needs: "experts" for trained networks, with "unseen" for some that no set was made with;
        "training" where it trains networks itself.
      inputs: what else its result depends on, as JSON.
    """

    title: str
    source: str
    config: type
    measure: Callable[[Material, Any, Run], Result]
    needs: tuple[str, ...] = ()
    inputs: Callable[[Material], Json] = lambda material: {}


def experts_of(material: Material) -> Experts:
    """Return the experts; raise UserError if there are none."""
    if material.experts is None:
        raise UserError("this analysis needs experts; give a pool that launch.pretrain trained.")
    return material.experts


def used_experts(made: CondensedSet, experts: Experts) -> range | None:
    """Find which experts of a pool a set was made with.

    Args:
      made: whose manifest names the experts: training, seed and number.
      experts: the pool, whose members depend on training, seed and number alone.

    Returns:
      Their numbers; none for methods that use no experts, and for experts of another pool. None
      where the set does not say, as a set of another program.
    """
    recorded = _recorded_experts(made)
    if recorded:
        pool, source = experts.description, made.source.get("fingerprint")
        here = (pool["seed"], pool["training"], pool["network"], pool["dataset"]["fingerprint"])
        counts = [0]
        for network, about in recorded:
            there = (about["seed"], about["training"], network, source)
            if integrity.plain(here) == integrity.plain(there):
                counts.append(min(about["count"], experts.count))
        return range(max(counts))
    alone = made.method in methods.METHODS and not methods.needs_experts(made.method)
    chosen = coreset.CORESETS.get(made.method)
    if alone or (chosen is not None and chosen.needs != "experts"):
        return range(0)
    return None


def _recorded_experts(made: CondensedSet) -> list[tuple[Json, Json]]:
    """The networks that a set was made with and what it says of the experts of each, if it does:
    one, or for networks in turns several."""
    about = made.settings.get("experts")
    several = isinstance(about, list)
    own = made.settings.get("networks" if several else "network")
    every: list[Any] = list(about) if isinstance(about, list) else [about]
    each: list[Any] = list(own) if several and isinstance(own, list) else [own]
    known = all(isinstance(a, dict) and {"count", "seed", "training"} <= a.keys() for a in every)
    return list(zip(each, every, strict=True)) if known and len(each) == len(every) else []


def unseen_experts(material: Material) -> list[int]:
    """Return the numbers of the experts that no set is known to have been made with.

    Raises:
      UserError: there is none, so that whatever they say of the sets would be circular.
    """
    experts = experts_of(material)
    seen: set[int] = set()
    for made in material.sets.values():
        seen.update(used_experts(made, experts) or ())
    left = [n for n in range(experts.count) if n not in seen]
    if not left:
        raise UserError(
            f"all {experts.count} experts took part in making the sets, so that they are no "
            "independent judges; train more with launch.pretrain --experts, or leave --expert_dir "
            "out."
        )
    return left


def record(name: str, analysis: Analysis, material: Material, config: object, pool: Json) -> Json:
    """Return what tells an analysis's result from others, as plain JSON values.

    Args:
      name: of the analysis.
      analysis: likewise.
      material: what it looks at; the experts may be missing yet.
      config: its settings.
      pool: what the experts are.
    """
    found: dict[str, Any] = {
        "analysis": name,
        "sets": {label: condensed.fingerprint(made) for label, made in material.sets.items()},
        "train": {"name": material.train.name, "fingerprint": material.train.fingerprint},
        "test": {"name": material.test.name, "fingerprint": material.test.fingerprint},
        "network": networks.identity(material.network),
        "settings": dataclasses.asdict(config),  # type: ignore[call-overload]
        "seed": material.seed,
        **analysis.inputs(material),
    }
    if "training" in analysis.needs:
        found["training"] = dataclasses.asdict(material.training)
    if "experts" in analysis.needs:
        found["experts"] = pool
    return integrity.plain(found)


def each(items: Sequence[T], name: str, run: Run) -> Iterator[tuple[T, Session]]:
    """Yield items with a progress bar, on the run's devices; a stop signal ends it between two.

    Args:
      items: what to go through.
      name: of the progress.
      run: whose devices are used.

    Yields:
      Each item, and the session of the run that goes through them.

    Raises:
      Interrupted: a signal came.
    """
    with run.working(name, len(items), parallel.NETWORKS) as session:
        for number, item in enumerate(items, 1):
            yield item, session
            session.bar.update(number)
            session.interrupt(session.signal(number))


def listing(values: Mapping[str, float], digits: int = 3) -> str:
    """Return numbers by label as a sentence names them: "dm 0.12, dance 0.05"."""
    return ", ".join(f"{label} {value:.{digits}g}" for label, value in values.items())
