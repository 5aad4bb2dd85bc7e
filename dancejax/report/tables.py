"""Entries as tables: accuracies beside the papers', across networks, cost, as Markdown and CSV."""

import csv
import io
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from dancejax import methods, names
from dancejax.report import compare, papers
from dancejax.report.entry import Entry
from dancejax.report.papers import Accuracy

T = TypeVar("T", bound=Hashable)
EXPLANATION = (
    "Accuracy is that of the last epoch of the last iteration, in percent: mean +- sample "
    "deviation. Beside it stands over what the deviation is: over condensed sets of "
    "different seeds (of the sets' means over networks) where there are several, else over the "
    'networks trained on the one set. "Best over epochs" and "best over checkpoints" are chosen '
    "on the test set, and are no results."
)


class Table(NamedTuple):
    """A titled table of text; numeric columns are the ones aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: frozenset[str]


def accuracy_tables(entries: Sequence[Entry]) -> list[Table]:
    """One for each data set."""
    letters = footnotes(entries)
    tables = []
    for dataset in _unique(entry.dataset for entry in entries):
        own = ordered([e for e in entries if e.dataset == dataset])
        rows = [_accuracy_row(entry, letters[_noted(entry)]) for entry in own]
        columns = tuple(rows[0])
        table = Table(dataset, columns, [tuple(row.values()) for row in rows], _NUMERIC)
        tables.append(shortened(table))
    return tables


_NUMERIC = frozenset(
    {
        "accuracy",
        "IPC",
        "best over epochs",
        "best over checkpoints",
        "paper",
        "difference",
        "test images",
    }
)


def _accuracy_row(entry: Entry, letter: str) -> dict[str, str]:
    paper, checkpoints = compare.published(entry), entry.best_over_checkpoints
    return {
        "method": compare.label(entry),
        "accuracy": accuracy(entry),
        "deviation over": deviation_over(entry),
        "IPC": "all" if entry.ipc is None else str(entry.ipc),
        "network": compare.network_name(entry.network),
        "best over epochs": "" if entry.best is None else f"{entry.best:.1f}",
        "best over checkpoints": "" if checkpoints is None else f"{checkpoints:.1f}",
        "paper": figure(paper),
        "difference": f"{entry.mean - paper.accuracy:+.1f}" if paper else "",
        "paper's table": paper.source if paper else "",
        "protocol": evaluation(entry),
        "test images": "" if entry.test_images is None else str(entry.test_images),
        "differs in": letter,
    }


def cross_tables(entries: Sequence[Entry]) -> list[Table]:
    """For each data set and IPC that was evaluated on several networks: sets by networks."""
    tables = []
    for dataset, ipc in _unique((e.dataset, e.ipc) for e in ordered(entries)):
        own = ordered([e for e in entries if (e.dataset, e.ipc) == (dataset, ipc)])
        kinds = _unique(_evaluation(e) for e in own)
        by_kind = {kind: [e for e in own if _evaluation(e) == kind] for kind in kinds}
        for (protocol, epochs), group in by_kind.items():
            columns = tuple(_unique(compare.network_name(e.network) for e in group))
            if len(columns) < 2:
                continue
            rows = []
            for name in _unique(compare.label(e) for e in group):
                cells = {
                    compare.network_name(e.network): accuracy(e)
                    for e in group
                    if compare.label(e) == name
                }
                rows.append((name, *(cells.get(network, "") for network in columns)))
            title = f"{dataset}, IPC {ipc}, across networks ({protocol}, {epochs} epochs)"
            tables.append(Table(title, ("method", *columns), rows, frozenset(columns)))
    return tables


def cost_table(entries: Sequence[Entry]) -> Table | None:
    """Seconds per iteration and memory of the runs that say so."""
    columns = ("method", "data set", "IPC", "s/iteration", "step memory, MB", "device",
               "paper, s/iteration", "paper, MB", "paper's device")  # fmt: skip
    rows = []
    for entry in ordered(entries):
        if entry.ipc is None or not entry.runs:
            continue
        cost = entry.runs[0].cost
        if "seconds_per_iteration" not in cost:
            continue
        plain = compare.label(entry) == methods.title(entry.method)
        paper = papers.published_cost(entry.method, entry.dataset, entry.ipc) if plain else None
        rows.append(
            (
                compare.label(entry),
                entry.dataset,
                str(entry.ipc),
                f"{cost['seconds_per_iteration']:.3f}",
                f"{cost['step_memory_mb']:.0f}",
                f"{cost.get('devices', 1)} x {cost['device']}",
                f"{paper.seconds_per_iteration:g}" if paper else "",
                f"{paper.peak_mb:g}" if paper else "",
                paper.device if paper else "",
            )
        )
    rows = _unique(rows)
    numeric = frozenset(columns[2:5] + columns[6:8])
    return shortened(Table("Cost of condensation", columns, rows, numeric)) if rows else None


_OPTIONAL = (
    "difference", "published", "change", "best over epochs", "best over checkpoints",
    "test images", "differs in",
)  # fmt: skip


def shortened(table: Table) -> Table:
    """Leave out the columns that have nothing to say, of papers and the like."""

    def optional(name: str) -> bool:
        return "paper" in name or name in _OPTIONAL

    kept = [
        i
        for i, name in enumerate(table.columns)
        if not optional(name) or any(row[i] for row in table.rows)
    ]
    rows = [tuple(row[i] for i in kept) for row in table.rows]
    return table._replace(columns=tuple(table.columns[i] for i in kept), rows=rows)


def footnotes(entries: Sequence[Entry]) -> dict[str, str]:
    """Every list of differing settings with its letter; no letter for an empty list."""
    listings = _unique(_noted(entry) for entry in ordered(entries))
    kept = [listing for listing in listings if listing]
    return {"": "", **{listing: _letter(i) for i, listing in enumerate(kept)}}


def markdown(table: Table) -> str:
    """A table as GitHub's Markdown; whatever is in the cells stays in them."""
    align = ["---:" if c in table.numeric else "---" for c in table.columns]
    lines = [[names.markdown(cell) for cell in line] for line in (table.columns, *table.rows)]
    lines.insert(1, align)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(entries: Sequence[Entry]) -> str:
    """Methods and accuracies alone, as Markdown."""
    columns = ("method", "accuracy, last epoch (%)", "deviation over", "IPC")
    rows = [
        (
            compare.label(e), accuracy(e), deviation_over(e),
            "all" if e.ipc is None else str(e.ipc),
        )
        for e in ordered(entries)
    ]  # fmt: skip
    return markdown(Table("", columns, rows, frozenset({columns[1], columns[3]})))


def to_csv(entries: Sequence[Entry]) -> str:
    """All entries, a line each, with full precision and the settings that differ."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ("data_set", "method", "ipc", "network", "accuracy_mean", "accuracy_std", "networks",
         "sets", "best_over_epochs_mean", "paper_accuracy", "paper_std", "paper_table",
         "difference", "protocol", "epochs", "seconds_per_iteration", "step_memory_mb",
         "settings_that_differ", "label", "accuracy_std_over_networks", "accuracy_std_over_sets",
         "best_over_checkpoints_mean", "test_images")
    )  # fmt: skip
    for entry in ordered(entries):
        paper = compare.published(entry)
        cost = entry.runs[0].cost if entry.runs else {}
        writer.writerow(
            (
                names.clean(entry.dataset), names.clean(entry.method), entry.ipc or "all",
                compare.network_name(entry.network), entry.mean,
                _or_empty(entry.std),
                len(entry.accuracies), len(entry.by_set),
                _or_empty(entry.best),
                paper.accuracy if paper else "", paper.std if paper and paper.std else "",
                paper.source if paper else "", entry.mean - paper.accuracy if paper else "",
                entry.protocol or "", entry.training["epochs"],
                cost.get("seconds_per_iteration", ""), cost.get("step_memory_mb", ""),
                names.clean(_listing(entry)), compare.label(entry),
                *map(_or_empty, (entry.std_over_networks, entry.std_over_sets,
                                 entry.best_over_checkpoints, entry.test_images)),
            )
        )  # fmt: skip
    return out.getvalue()


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """By data set, IPC, then the whole set and methods in the order of their papers."""
    rank = {name: i for i, name in enumerate(methods.METHODS)}
    return sorted(
        entries,
        key=lambda e: (
            e.dataset,
            float("inf") if e.ipc is None else e.ipc,
            compare.network_name(e.network),
            -e.training["epochs"],
            rank.get(e.method, len(rank)),
            e.method,
            compare.label(e) != methods.title(e.method),
            [(part.isdecimal() and int(part), part) for part in compare.label(e).split()],
        ),
    )


def accuracy(entry: Entry) -> str:
    """Mean and deviation, as `spread` has it."""
    std = spread(entry)
    return f"{entry.mean:.1f}" + ("" if std is None else f" +- {std:.1f}")


def spread(entry: Entry) -> float | None:
    """Deviation over the sets where there are several, else over networks; None of one alone."""
    return entry.std_over_networks if entry.std_over_sets is None else entry.std_over_sets


def deviation_over(entry: Entry) -> str:
    """What the deviation in `accuracy` is over."""
    sets, networks = len(entry.by_set), len(entry.accuracies)
    if sets == 1:
        return f"{networks} network{'' if networks == 1 else 's'}"
    each = {len(own) for own in entry.by_set}
    return (
        f"{sets} sets, {'-'.join(map(str, sorted(each)))} network{'' if each == {1} else 's'} each"
    )


def evaluation(entry: Entry) -> str:
    return "{}, {} epochs".format(*_evaluation(entry))


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


def figure(paper: Accuracy | None) -> str:
    """A published accuracy with its deviation; "" for none."""
    if paper is None:
        return ""
    return f"{paper.accuracy:.1f}" + ("" if paper.std is None else f" +- {paper.std:.1f}")


def _evaluation(entry: Entry) -> tuple[str, int]:
    return entry.protocol or "?", entry.training["epochs"]


def _noted(entry: Entry) -> str:
    """What differs from the papers; nothing for data that they have no figures of."""
    return "" if compare.is_own(entry.dataset) else _listing(entry)


def _listing(entry: Entry) -> str:
    found = "; ".join(map(str, compare.differences(entry)))
    if entry.ipc is not None and not entry.runs:
        return "the condensed set is not among the folders: its settings are unknown; " + found
    return found


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    prefix = _letter(number // 26 - 1) if number >= 26 else ""
    return prefix + chr(ord("a") + number % 26)


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
