"""The papers' form of a result: methods by images per class, ours beside the published."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dancejax import methods, names
from dancejax.report import compare, headline, tables
from dancejax.report.charts import Point, Series
from dancejax.report.entry import Entry
from dancejax.report.papers import Accuracy


class Signed(NamedTuple):
    """A difference in points of accuracy, told by arrow and sign, not by colour alone."""

    value: float

    @property
    def kind(self) -> str:
        """up, down, or same where one digit shows no difference."""
        shown = round(self.value, 1)
        return "same" if shown == 0 else "up" if shown > 0 else "down"

    def __str__(self) -> str:
        if self.kind == "same":
            return "= 0.0"
        return ("\u25b2 " if self.kind == "up" else "\u25bc ") + f"{self.value:+.1f}"


class Box(NamedTuple):
    """A cell: what was measured, the published figure, and how far apart they are."""

    entry: Entry
    published: Accuracy | None
    difference: Signed | None

    @property
    def accuracy(self) -> str:
        return tables.accuracy(self.entry)


class Line(NamedTuple):
    """A method with its cells, one for each column."""

    label: str
    boxes: tuple[Box | None, ...]

    @property
    def plotted(self) -> list[Box]:
        """The cells that are points of a curve: all images are none."""
        return [box for box in self.boxes if box is not None and box.entry.ipc is not None]


class Matrix(NamedTuple):
    """A data set's methods by images per class, on the network that most was evaluated on.

    Attributes:
      dataset: its name.
      own: whether no paper has figures of it.
      headline: sentences for data of one's own.
      context: under which network, by which training and on which test images.
      columns: what stands above the cells, as "10 per class".
      ipcs: the same as numbers; None for all images.
      lines: methods.
    """

    dataset: str
    own: bool
    headline: tuple[str, ...]
    context: str
    columns: tuple[str, ...]
    ipcs: tuple[int | None, ...]
    lines: tuple[Line, ...]


def matrices(entries: Sequence[Entry]) -> list[Matrix]:
    """One for each data set, in the order of tables."""
    found = []
    for dataset in dict.fromkeys(e.dataset for e in tables.ordered(entries)):
        own = [e for e in tables.ordered(entries) if e.dataset == dataset]
        found.append(_matrix(dataset, own))
    return found


def _matrix(dataset: str, entries: list[Entry]) -> Matrix:
    shown = plain(main(entries))
    ipcs = tuple(dict.fromkeys(e.ipc for e in shown))
    lines = []
    for label in dict.fromkeys(compare.label(e) for e in sorted(shown, key=_rank)):
        by_ipc = {e.ipc: e for e in shown if compare.label(e) == label}
        boxes = tuple(_box(by_ipc[ipc]) if ipc in by_ipc else None for ipc in ipcs)
        lines.append(Line(label, boxes))
    own = compare.is_own(dataset)
    said = tuple(headline.sentences(entries)) if own else ()
    columns = tuple("all images" if ipc is None else f"{ipc} per class" for ipc in ipcs)
    return Matrix(dataset, own, said, _context(shown), columns, ipcs, tuple(lines))


def _rank(entry: Entry) -> tuple[bool, int]:
    """Methods in the order of their papers, coresets, all images last."""
    known = list(methods.METHODS)
    rank = known.index(entry.method) if entry.method in known else len(known)
    return (entry.ipc is None, rank)


def main(entries: Sequence[Entry]) -> list[Entry]:
    """Those on the network that most were evaluated on, by the longest training of each."""
    counts = Counter(compare.network_name(e.network) for e in entries if e.ipc is not None)
    network = max(counts, key=counts.__getitem__) if counts else None
    longest: dict[tuple[str, int | None], Entry] = {}
    for entry in entries:
        if network in (None, compare.network_name(entry.network)):
            key = (compare.label(entry), entry.ipc)
            if key not in longest or entry.training["epochs"] > longest[key].training["epochs"]:
                longest[key] = entry
    return list(longest.values())


def plain(entries: Sequence[Entry]) -> list[Entry]:
    """Of each method at each IPC the variant with the fewest settings that are not usual, and of
    several such that of the most iterations."""
    chosen: dict[tuple[str, int | None], Entry] = {}
    for entry in entries:
        key = (entry.method, entry.ipc)
        if key not in chosen or _plainness(entry) < _plainness(chosen[key]):
            chosen[key] = entry
    return list(chosen.values())


def _plainness(entry: Entry) -> tuple[int, int]:
    """The less, the plainer."""
    return len(compare.variation(entry)), -entry.settings.get("steps", 0)


def _box(entry: Entry) -> Box:
    paper = compare.published(entry)
    return Box(entry, paper, Signed(entry.mean - paper.accuracy) if paper else None)


def _context(entries: Sequence[Entry]) -> str:
    sets = [e for e in entries if e.ipc is not None] or list(entries)
    network = compare.network_name(sets[0].network)
    ways = " or ".join(dict.fromkeys(map(tables.evaluation, sets)))
    sizes = sorted({e.test_images for e in sets if e.test_images is not None})
    text = f"Networks: {network}, trained from scratch (protocol {ways})"
    return text + (f"; {' or '.join(f'{n:,}' for n in sizes)} test images." if sizes else ".")


def curves(matrix: Matrix) -> list[Series]:
    """Return accuracy against images per class: a measured and a published curve of each method."""
    found = []
    for number, line in enumerate(matrix.lines):
        boxes = line.plotted
        if not boxes:
            continue
        points = [_point(box.entry) for box in boxes]
        found.append(Series(line.label, tuple(points), number))
        rows: dict[int | None, Accuracy | None] = {box.entry.ipc: box.published for box in boxes}
        rows |= {n: compare.published_at(boxes[0].entry, n) for n in (1, 10, 50) if n not in rows}
        known = [
            Point(float(ipc or 0), row.accuracy, row.std or 0.0)
            for ipc, row in sorted(rows.items(), key=lambda item: item[0] or 0)
            if row is not None
        ]
        if known:
            found.append(Series(f"{line.label}, published", tuple(known), number, hollow=True))
    return found


def _point(entry: Entry) -> Point:
    return Point(float(entry.ipc or 0), entry.mean, tables.spread(entry) or 0.0)


LEGEND = (
    "\u25b2 +: above the published figure; \u25bc -: below; = : equal to one digit (points of "
    "accuracy)"
)


def markdown(matrix: Matrix) -> str:
    """The matrix as GitHub's Markdown, the published figures in brackets."""
    head = ["method", *matrix.columns]
    rows = [[line.label, *map(_cell, line.boxes)] for line in matrix.lines]
    lines = [" | ".join(map(names.markdown, row)) for row in (head, *rows)]
    lines.insert(1, " | ".join(["---", *["---:"] * len(matrix.columns)]))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(box: Box | None) -> str:
    if box is None:
        return ""
    if box.published is None:
        return box.accuracy
    return f"{box.accuracy} (published {tables.figure(box.published)}, {box.difference})"


def ablations(entries: Sequence[Entry]) -> list[tables.Table]:
    """Variants of a method under otherwise equal circumstances, beside its plainest one."""
    groups: dict[tuple[str, int | None, str, str, str], list[Entry]] = {}
    for e in tables.ordered(entries):
        if e.method in methods.METHODS and e.form is None:
            network = compare.network_name(e.network)
            key = (e.dataset, e.ipc, network, tables.evaluation(e), e.method)
            groups.setdefault(key, []).append(e)
    found = []
    for (dataset, ipc, network, evaluation, method), own in groups.items():
        if len({compare.label(e) for e in own}) < 2:
            continue
        base = plain(own)[0]
        rows = [_variant(e, base) for e in sorted(own, key=_plainness)]
        title = f"{methods.title(method)} on {dataset}, {ipc} per class ({network}, {evaluation})"
        table = tables.Table(title, tuple(rows[0]), [tuple(r.values()) for r in rows], _NUMBERS)
        found.append(tables.shortened(table))
    return found


_NUMBERS = frozenset({"accuracy", "change", "published"})


def _variant(entry: Entry, base: Entry) -> dict[str, str]:
    paper = compare.published(entry)
    row = compare.tabled(entry)
    exact = paper is not None and (entry is base or row != compare.tabled(base))
    return {
        "variant": compare.label(entry),
        "accuracy": tables.accuracy(entry),
        "change": "" if entry is base else str(Signed(entry.mean - base.mean)),
        "deviation over": tables.deviation_over(entry),
        "published": tables.figure(paper) if paper and exact else "",
        "paper's table": paper.source if paper and exact else "",
    }
