"""What class-incremental learning came to: measures of each method, table, CSV and curves."""

import csv
import dataclasses
import io
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dancejax import figures, methods, names, runs
from dancejax.applications import incremental
from dancejax.report import papers
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHOLE = "whole"
"""The upper bound: all training images of the classes seen."""


@dataclasses.dataclass(frozen=True)
class Course:
    """One method in one order of the classes.

    Attributes:
      method: a method, a coreset, or WHOLE.
      order: number of the order.
      classes: names of each step's classes.
      images: stored in the memory after each step.
      tests: test images of each step's classes.
      accuracies: percent, by steps, networks and steps so far: after each step, of each network,
        on the test images of each step's classes so far.
    """

    method: str
    order: int
    classes: tuple[tuple[str, ...], ...]
    images: tuple[int, ...]
    tests: tuple[int, ...]
    accuracies: tuple[tuple[tuple[float, ...], ...], ...]

    @classmethod
    def from_json(cls, about: Json) -> "Course":
        """Return the course that JSON values with the names of the fields describe."""

        def frozen(value: Any) -> Any:
            return tuple(map(frozen, value)) if isinstance(value, list) else value

        return cls(**{name: frozen(value) for name, value in about.items()})

    @property
    def networks(self) -> int:
        """How many networks were trained after each step."""
        return len(self.accuracies[0])

    def of_network(self, number: int) -> list[tuple[float, ...]]:
        """Return `accuracies` of one network, by steps and steps so far."""
        return [after[number] for after in self.accuracies]

    def curve(self, number: int) -> list[float]:
        """Return a network's accuracy on the classes seen after each step, percent."""
        return [
            incremental.seen_accuracy(after, self.tests[: len(after)])
            for after in self.of_network(number)
        ]


class Spread(NamedTuple):
    """A mean, and the sample deviation (None for a single value) over orders or networks."""

    mean: float
    std: float | None

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if self.std is None else f" +- {self.std:.1f}")


class Summary(NamedTuple):
    """A method over all orders and networks, in percent.

    Attributes:
      method: its name.
      classes: seen after each step.
      images: stored in the memory after the last step.
      curve: accuracy on the classes seen after each step.
      average: average incremental accuracy, the mean of the curve.
      forgetting: as `incremental.forgetting`, percentage points.
      final: accuracy on all classes after the last step.
    """

    method: str
    classes: tuple[int, ...]
    images: int
    curve: tuple[Spread, ...]
    average: Spread
    forgetting: Spread
    final: Spread


@dataclasses.dataclass(frozen=True)
class Result:
    """What class-incremental learning came to.

    Attributes:
      dataset: name of the data set.
      ipc: images a class in the memory.
      steps: how many.
      courses: each method in each order.
    """

    dataset: str
    ipc: int
    steps: int
    courses: tuple[Course, ...]

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the courses."""
        return list(dict.fromkeys(course.method for course in self.courses))

    @property
    def task(self) -> str:
        """What the papers' tables call this task."""
        return f"continual_{self.dataset}_{self.steps}_steps_{self.ipc}ipc"

    @property
    def over(self) -> str:
        """What deviations are over."""
        orders = {course.order for course in self.courses}
        each = self.courses[0].networks
        trained = f"{each} network{'s' if each > 1 else ''}"
        return f"{len(orders)} orders, {trained} each" if len(orders) > 1 else trained

    def summary(self, method: str) -> Summary:
        """Summarise a method: deviations over orders, or over the networks of a single order."""
        own = [course for course in self.courses if course.method == method]

        def spread(measure: Callable[[Course, int], float]) -> Spread:
            found = [[measure(c, n) for n in range(c.networks)] for c in own]
            values = [statistics.fmean(each) for each in found] if len(found) > 1 else found[0]
            std = statistics.stdev(values) if len(values) > 1 else None
            return Spread(statistics.fmean(values), std)

        first = own[0]
        seen = [len(classes) for classes in first.classes]
        return Summary(
            method,
            tuple(sum(seen[: step + 1]) for step in range(self.steps)),
            first.images[-1],
            tuple(spread(lambda c, n, s=s: c.curve(n)[s]) for s in range(self.steps)),  # type: ignore[misc]
            spread(lambda c, n: statistics.fmean(c.curve(n))),
            spread(lambda c, n: incremental.forgetting(c.of_network(n))),
            spread(lambda c, n: c.curve(n)[-1]),
        )

    def to_dict(self) -> Json:
        """Return what result.json says."""
        return {
            "application": "continual",
            "dataset": self.dataset,
            "ipc": self.ipc,
            "steps": self.steps,
            "deviation_over": self.over,
            "methods": {name: _plain(self.summary(name)) for name in self.methods},
            "courses": [dataclasses.asdict(course) for course in self.courses],
        }

    def table(self) -> str:
        """Show methods (lines) by steps (columns) as a Markdown table, the papers' values beside.

        Values of the papers stand there for their data set, steps and images a class.
        """
        lines = [self.summary(method) for method in self.methods]
        published = {line.method: _published(self.task, line.method) for line in lines}
        head = ["method", *(f"{n} classes" for n in lines[0].classes)]
        head += ["average", "forgetting", "images"]
        head += ["papers, final"] if any(published.values()) else []
        rows = [head, ["---"] * len(head)]
        for line in lines:
            values = [*line.curve, line.average, line.forgetting, line.images]
            row = [title(line.method), *map(str, values)]
            row += [published[line.method] or "-"] if len(head) > len(row) else []
            rows.append(list(map(names.markdown, row)))
        text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return (
            f"{text}\n\nAccuracy (%) on the classes seen, its average over the steps, forgetting "
            f"(percentage points) and the images stored in the end; deviation over {self.over}."
        )

    def csv(self) -> str:
        """Show a line for each method, order, network and step, with the accuracy on each step's
        classes."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        own = [f"accuracy_step_{step + 1}" for step in range(self.steps)]
        writer.writerow(
            ["method", "order", "network", "step", "classes_seen", "images", "accuracy", *own]
        )
        for course in self.courses:
            for number in range(course.networks):
                seen, after = 0, course.of_network(number)
                for step, accuracy in enumerate(course.curve(number)):
                    seen += len(course.classes[step])
                    empty = [""] * (self.steps - step - 1)
                    values = [seen, course.images[step], accuracy, *after[step], *empty]
                    writer.writerow([course.method, course.order, number, step + 1, *values])
        return out.getvalue()

    def figure(self) -> "Figure":
        """Draw accuracy against classes seen, a band of one deviation around each curve."""
        lines = [self.summary(method) for method in self.methods]
        curves = {
            title(line.method): [
                (n, spread.mean) for n, spread in zip(line.classes, line.curve, strict=True)
            ]
            for line in lines
        }
        drawn = figures.curves_figure(
            curves,
            xlabel=f"classes seen (bands: deviation over {self.over})",
            ylabel="accuracy on them (%)",
            title=f"{self.dataset}, {self.ipc} images a class",
        )
        axes = drawn.axes[0]
        axes.set_xticks(lines[0].classes)
        for drawn_line, line in zip(axes.get_lines(), lines, strict=True):
            drawn_line.set_marker("o")
            low = [spread.mean - (spread.std or 0) for spread in line.curve]
            high = [spread.mean + (spread.std or 0) for spread in line.curve]
            axes.fill_between(line.classes, low, high, color=drawn_line.get_color(), alpha=0.15)
        return drawn

    def section(self) -> Json:
        """Return what analysis.json says, from which reports make a section."""
        lines = [self.summary(method) for method in self.methods]
        finals = ", ".join(f"{title(line.method)} {line.final} %" for line in lines)
        rows = [
            {
                "method": title(line.method),
                **{f"{n} classes": str(v) for n, v in zip(line.classes, line.curve, strict=True)},
                "average": str(line.average),
                "forgetting": str(line.forgetting),
                "images": line.images,
            }
            for line in lines
        ]
        return {
            "analysis": "continual",
            "title": f"Continual learning on {self.dataset}",
            "summary": f"After all {self.steps} steps, with {self.ipc} images of each class in the "
            f"memory: {finals} (deviation over {self.over}).",
            "plot": "curve.png",
            "sets": [line.method for line in lines],
            "rows": rows,
        }

    def write(self, folder: Path) -> None:
        """Write result.json, analysis.json, result.csv, table.md and curve.png."""
        runs.write_json(folder / "result.json", self.to_dict())
        runs.write_json(folder / "analysis.json", self.section())
        runs.write_bytes(folder / "result.csv", self.csv().encode())
        runs.write_bytes(folder / "table.md", (self.table() + "\n").encode())
        runs.write_bytes(folder / "curve.png", figures.png(self.figure()))


def title(method: str) -> str:
    """Return a method's name as people write it."""
    return "whole set (upper bound)" if method == WHOLE else methods.title(method)


def _published(task: str, method: str) -> str:
    found: Sequence[papers.Application] = papers.applied(task, method, "final_accuracy")
    return ", ".join(f"{row.value:g} ({row.source})" for row in found)


def _plain(summary: Summary) -> Json:
    """A summary as JSON objects."""
    return {
        name: value._asdict()
        if isinstance(value, Spread)
        else [spread._asdict() for spread in value]
        if name == "curve"
        else value
        for name, value in summary._asdict().items()
        if name != "method"
    }
