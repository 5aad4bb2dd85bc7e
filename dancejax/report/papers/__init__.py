"""The papers' result tables, to compare with: accuracies in percent, seconds an iteration, MB."""

import csv
import functools
from importlib import resources
from typing import NamedTuple

from dancejax import methods
from dancejax.types import Json


class Accuracy(NamedTuple):
    """A cell of a paper's table. table: "1" is Table 1; std: None where the paper gives none."""

    paper: str
    table: str
    method: str
    dataset: str
    ipc: int | None
    network: str
    accuracy: float
    std: float | None

    @property
    def source(self) -> str:
        """Where it stands, as in "DANCE Table 1"."""
        place = f"Table {self.table}" if self.table.isdecimal() else self.table
        return f"{methods.title(self.paper)} {place}"


class Cost(NamedTuple):
    """A method's cost in a paper's table."""

    paper: str
    table: str
    method: str
    dataset: str
    ipc: int
    seconds_per_iteration: float
    peak_mb: float
    device: str


class Application(NamedTuple):
    """A number of a paper's application. figure: "6", "8a" or "table5"."""

    paper: str
    figure: str
    task: str
    method: str
    metric: str
    value: float

    @property
    def source(self) -> str:
        """Where it stands, as in "DM Figure 6"."""
        number = self.figure.removeprefix("table")
        kind = "Figure" if number == self.figure else "Table"
        return f"{methods.title(self.paper)} {kind} {number}"


@functools.cache
def accuracies() -> tuple[Accuracy, ...]:
    """All published accuracies."""
    return tuple(
        Accuracy(
            row["paper"],
            row["table"],
            row["method"],
            row["dataset"],
            int(row["ipc"]) if row["ipc"].isdecimal() else None,
            row["network"],
            float(row["accuracy"]),
            float(row["std"]) if row["std"] else None,
        )
        for row in _rows("accuracy.csv")
    )


@functools.cache
def costs() -> tuple[Cost, ...]:
    """All published costs."""
    return tuple(
        Cost(
            row["paper"],
            row["table"],
            row["method"],
            row["dataset"],
            int(row["ipc"]),
            float(row["seconds_per_iteration"]),
            float(row["peak_mb"]),
            row["device"],
        )
        for row in _rows("cost.csv")
    )


@functools.cache
def applications() -> tuple[Application, ...]:
    """All published numbers of continual learning and architecture search."""
    return tuple(
        Application(
            row["paper"],
            row["figure"],
            row["task"],
            row["method"],
            row["metric"],
            float(row["value"]),
        )
        for row in _rows("applications.csv")
    )


def applied(task: str, method: str, metric: str) -> list[Application]:
    """What the papers measured of a method in an application's task; empty for other tasks."""
    wanted = (task, method, metric)
    return [row for row in applications() if (row.task, row.method, row.metric) == wanted]


def published(method: str, dataset: str, ipc: int | None, networks: set[str]) -> Accuracy | None:
    """A method's published accuracy; its own paper's number goes before what others measured.

    networks: the names that the papers have for the network ("convnet", "convnet3").
    """
    found = [
        row
        for row in accuracies()
        if (row.method, row.dataset, row.ipc) == (method, dataset, ipc) and row.network in networks
    ]
    order = (method.partition("_")[0], *reversed([*methods.METHODS]))
    return min(found, key=lambda row: order.index(row.paper), default=None)


def ablated(method: str) -> frozenset[str]:
    """The settings that tables with numbers vary for a method."""
    return frozenset(name for settings in _rows_of(method).values() for name in settings)


def ablation_row(method: str, settings: Json) -> str | None:
    """The row of the tables in which a method has such settings, all others being the paper's."""
    found = (name for name, own in _rows_of(method).items() if own == settings)
    return next(found, None)


def _rows_of(method: str) -> dict[str, Json]:
    """The rows with numbers that vary a method: what settings each has."""
    if method not in methods.METHODS:
        return {}
    known = {row.method for row in accuracies()}
    tables = methods.ablations(method).values()
    return {
        name: dict(own) for table in tables for name, own in table.rows.items() if name in known
    }


def published_cost(method: str, dataset: str, ipc: int) -> Cost | None:
    """A method's published cost."""
    wanted = (method, dataset, ipc)
    return next((c for c in costs() if (c.method, c.dataset, c.ipc) == wanted), None)


def _rows(name: str) -> list[dict[str, str]]:
    text = (resources.files(__name__) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
