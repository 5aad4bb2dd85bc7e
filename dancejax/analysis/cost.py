"""What condensation cost: time, memory, time to an accuracy (DANCE, Table 4; M3D, Table 3)."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dancejax import runs
from dancejax.analysis import plots
from dancejax.analysis.base import Analysis, Material, listing
from dancejax.analysis.settings import Cost as Config
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.evaluation import BEST
from dancejax.report import papers
from dancejax.runs import QUIET, Run
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Checkpoint(NamedTuple):
    """A kept set that was evaluated.

    Attributes:
      iteration: after which it was kept.
      minutes: of condensation until then.
      accuracy: mean over the networks that tested it, percent.
    """

    iteration: int
    minutes: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Spent:
    """What making a set cost.

    Attributes:
      seconds_per_iteration: mean over the measured iterations.
      iterations: of the run.
      memory_mb: that the compiled iteration needs on a device, MiB.
      compile_seconds: until the first iteration.
      device: its name.
      checkpoints: evaluated kept sets, by iteration.
    """

    seconds_per_iteration: float
    iterations: int
    memory_mb: float
    compile_seconds: float
    device: str
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def minutes(self) -> float:
        """Of the whole run, with compiling; experts and evaluation are not in it."""
        seconds = self.seconds_per_iteration * self.iterations + self.compile_seconds
        return seconds / 60

    def minutes_to(self, accuracy: float) -> float | None:
        """Return the minutes to the first kept set of at least an accuracy; None if there is
        none."""
        return next((c.minutes for c in self.checkpoints if c.accuracy >= accuracy), None)


def read_spent(folder: Path) -> Spent | None:
    """Read what a run wrote of its cost: result.json, and evaluations of the sets it kept.

    Args:
      folder: of the run.

    Returns:
      None where there is nothing, as beside a set of another program.

    Raises:
      UserError: a file is damaged.
    """
    path = folder / "result.json"
    if not path.is_file():
        return None
    about = runs.read_json(path)
    if not isinstance(about, dict) or "seconds_per_iteration" not in about:
        return None  # of a coreset's or somebody else's
    try:
        spent = Spent(
            float(about["seconds_per_iteration"]),
            int(about["iterations"]),
            float(about["step_memory_mb"]),
            float(about["compile_seconds"]),
            str(about["device"]),
        )
        return dataclasses.replace(spent, checkpoints=tuple(_checkpoints(folder, spent)))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is of another version or was edited ({error}).") from error


def _checkpoints(folder: Path, spent: Spent) -> list[Checkpoint]:
    found: dict[int, float] = {}
    for path in sorted(folder.rglob(BEST)):
        for entry in runs.read_json(path)["checkpoints"]:
            found[int(entry["iteration"])] = float(entry["accuracy_mean"])
    each = spent.seconds_per_iteration
    return [
        Checkpoint(number, (each * number + spent.compile_seconds) / 60, found[number])
        for number in sorted(found)
    ]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the sets cost.

    Attributes:
      spent: by label; None where it is not known.
      target: accuracy that times are told to, percent; None where no kept sets were evaluated.
      published: what DANCE's Table 4 prints of such sets, where it does.
    """

    spent: Mapping[str, Spent | None]
    target: float | None
    published: Mapping[str, papers.Cost]

    def rows(self) -> list[Json]:
        """Return a record for each set."""
        return [self._row(label, spent) for label, spent in self.spent.items()]

    def _row(self, label: str, spent: Spent | None) -> Json:
        there = self.published.get(label)
        reached = spent.minutes_to(self.target) if spent and self.target is not None else None
        return {
            "set": label,
            "seconds_per_iteration": spent.seconds_per_iteration if spent else None,
            "memory_mb": spent.memory_mb if spent else None,
            "iterations": spent.iterations if spent else None,
            "minutes": spent.minutes if spent else None,
            "device": spent.device if spent else None,
            "target_accuracy": self.target,
            "minutes_to_target": reached,
            "published_seconds_per_iteration": there.seconds_per_iteration if there else None,
            "published_memory_mb": there.peak_mb if there else None,
            "published_device": there.device if there else None,
        }

    def summary(self) -> str:
        """Return one sentence with seconds an iteration and minutes in all."""
        known = {label: spent for label, spent in self.spent.items() if spent is not None}
        missing = [label for label, spent in self.spent.items() if spent is None]
        said = (
            "Seconds an iteration: "
            f"{listing({label: s.seconds_per_iteration for label, s in known.items()})}; minutes "
            f"in all: {listing({label: s.minutes for label, s in known.items()})}"
        )
        if self.target is not None:
            reached = {label: spent.minutes_to(self.target) for label, spent in known.items()}
            there = {label: value for label, value in reached.items() if value is not None}
            said += f"; minutes to {self.target:.1f} %: {listing(there) or 'none'}"
        return said + (f"; not known of {', '.join(missing)}." if missing else ".")

    def figure(self) -> "Figure":
        """Draw time and memory as bars, and accuracy against time where it is known."""
        curves = [label for label, spent in self.spent.items() if spent and spent.checkpoints]
        figure, panels = plots.new(3 if curves else 2, width=4.0)
        quantities = ("seconds_per_iteration", "seconds an iteration"), ("memory_mb", "memory, MiB")
        for axes, (name, ylabel) in zip(panels, quantities, strict=False):
            values = {label: [(_height(s, name), 0.0)] for label, s in self.spent.items()}
            plots.bars(axes, [""], values)
            plots.finish(figure, axes, ylabel=ylabel)
        for number, (label, spent) in enumerate(self.spent.items()):
            if spent and spent.checkpoints:
                _, minutes, accuracy = zip(*spent.checkpoints, strict=True)
                plots.line(panels[2], number, label, minutes, np.array(accuracy))
        if curves:
            xlabel, ylabel = "minutes of condensation", "test accuracy of kept sets, %"
            plots.finish(figure, panels[2], xlabel=xlabel, ylabel=ylabel)
        return figure


def _height(spent: Spent | None, name: str) -> float:
    """A number of what was spent; NaN, which draws nothing, where it is not known."""
    return float(getattr(spent, name)) if spent else math.nan


def published(sets: Mapping[str, CondensedSet]) -> dict[str, papers.Cost]:
    """Return what DANCE's Table 4 prints for such sets, by their labels."""
    found = {
        label: papers.published_cost(made.method, str(made.source.get("name")), made.ipc)
        for label, made in sets.items()
    }
    return {label: cost for label, cost in found.items() if cost is not None}


def measure(material: Material, config: Config | None = None, run: Run = QUIET) -> Cost:
    """Collect what the runs that made the sets wrote of their cost.

    Args:
      material: sets and the folders of their runs.
      config: the accuracy that times are told to.
      run: not used: nothing is computed.

    Raises:
      UserError: no run says what it cost.

    References:
      Zhang et al., "DANCE", IJCAI 2024, Table 4; Zhang et al., "M3D", AAAI 2024, Table 3.
    """
    config = config or Config()
    spent = _all_spent(material)
    best = [max(c.accuracy for c in s.checkpoints) for s in spent.values() if s and s.checkpoints]
    target = config.target_accuracy
    if target is None and best:
        target = math.floor(10 * min(best)) / 10
    return Cost(spent, target if best else None, published(material.sets))


def _all_spent(material: Material) -> dict[str, Spent | None]:
    """What each set cost; raises UserError if none says."""
    folders = material.run_folders
    found = {
        label: read_spent(folders[label]) if label in folders else None for label in material.sets
    }
    if not any(found.values()):
        raise UserError(
            "no run says what it cost; give the work folders of launch.condense, which have a "
            "result.json."
        )
    return found


def _inputs(material: Material) -> Json:
    found = _all_spent(material)
    return {"runs": {k: dataclasses.asdict(v) if v else None for k, v in found.items()}}


ANALYSIS = Analysis(
    "Time and memory of condensation, and time to an accuracy",
    "DANCE (IJCAI 2024), Table 4; M3D (AAAI 2024), Table 3",
    Config,
    measure,
    inputs=_inputs,
)
