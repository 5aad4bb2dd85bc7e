"""Accuracy by class: which classes condensed images lose, beside all images where that is known."""

import statistics
from collections.abc import Sequence

from dancejax import names
from dancejax.report import compare, tables
from dancejax.report.entry import Entry
from dancejax.report.tables import Table

ALL = "all images"


def class_tables(entries: Sequence[Entry]) -> list[Table]:
    """Classes by methods, for each data set, number of images, network and evaluation.

    Args:
      entries: those whose evaluations don't have accuracies by class are left out.

    Returns:
      Tables with a row for each class: its accuracy, percent, mean over sets and their networks.
    """
    known = [entry for entry in tables.ordered(entries) if by_class(entry)]
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for entry in known:
        if entry.ipc is not None:
            of = (compare.network_name(entry.network), tables.evaluation(entry))
            groups.setdefault((entry.dataset, f"{entry.ipc} per class", *of), []).append(entry)
    found = []
    for (dataset, per_class, network, evaluation), own in groups.items():
        columns = {compare.label(entry): by_class(entry) for entry in own}
        whole = [e for e in known if e.ipc is None and e.dataset == dataset]
        whole = [e for e in whole if e.network == own[0].network]
        if whole:
            columns[ALL] = by_class(max(whole, key=lambda e: e.mean))
        rows = [
            (names.short(name, 40), *(_figure(column.get(name)) for column in columns.values()))
            for name in next(iter(columns.values()))
        ]
        title = f"{dataset}, {per_class}, {network} ({evaluation})"
        found.append(Table(title, ("class", *columns), rows, frozenset(columns)))
    return found


def by_class(entry: Entry) -> dict[str, float | None]:
    """The mean accuracy of each class over the sets; {} where an evaluation does not have them."""
    each = [result.get("accuracy_by_class") or {} for result in entry.results]
    if not all(each):
        return {}
    found: dict[str, float | None] = {}
    for name in each[0]:
        values = [own[name] for own in each if own.get(name) is not None]
        found[name] = statistics.fmean(values) if len(values) == len(each) else None
    return found


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
