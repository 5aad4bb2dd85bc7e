"""Folders that analyses and applications left, as a section of the report each.

A further kind of folder is a function here and a line in KINDS.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dancejax import runs
from dancejax.errors import UserError
from dancejax.report.tables import Table
from dancejax.types import Json

MOST_BYTES = 300_000
"""Of a plot that is shown in the page."""
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


class Plot(NamedTuple):
    """A picture beside the numbers: its bytes and what they are."""

    media: str
    data: bytes


class Analysis(NamedTuple):
    """What was measured, as a section.

    Attributes:
      title: of the section.
      summary: a sentence.
      sets: the condensed sets that it is of.
      plot: a picture; None where there is none that can be shown.
      table: the numbers; None where there are none.
    """

    title: str
    summary: str
    sets: tuple[str, ...]
    plot: Plot | None
    table: Table | None


def _analysis(path: Path, value: Json) -> Analysis | None:
    """A file of an analysis: analysis, title, summary, plot, sets and rows."""
    texts = [value.get(key) for key in ("analysis", "title", "summary")]
    if not all(isinstance(text, str) for text in texts):
        return None
    sets = value.get("sets")
    return Analysis(
        title=str(value["title"]),
        summary=str(value["summary"]),
        sets=tuple(map(str, sets)) if isinstance(sets, list | dict) else (),
        plot=_plot(path.parent, value.get("plot")),
        table=rows_table(str(value["title"]), value.get("rows")),
    )


KINDS: dict[str, Callable[[Path, Json], Analysis | None]] = {"analysis.json": _analysis}
"""By the name of the file that a folder holds, what makes a section of it; None if it is none."""


def find(folders: Sequence[Path], notes: list[str]) -> list[Analysis]:
    """Read the folders of every kind, at and below some folders, in the order of their paths.

    Args:
      folders: work folders.
      notes: takes a sentence for each file that is damaged or not of its kind.
    """
    found: dict[Path, Analysis] = {}
    for name, read in KINDS.items():
        paths = {p.resolve(): p for folder in folders for p in folder.rglob(name)}
        for resolved, path in sorted(paths.items()):
            try:
                value = runs.read_json(path)
            except UserError as error:
                notes.append(f"passed over: {error}")
                continue
            made = read(path, value) if isinstance(value, dict) else None
            if made is None:
                notes.append(f"passed over: {path} lacks a title or a summary.")
            else:
                found[resolved] = made
    return [found[path] for path in sorted(found)]


def _plot(folder: Path, name: object) -> Plot | None:
    """A picture beside an analysis, if it is one and not too large."""
    if not isinstance(name, str) or Path(name).name != name or Path(name).suffix not in _MEDIA:
        return None
    path = folder / name
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return Plot(_MEDIA[path.suffix], path.read_bytes())
    except OSError:
        return None


def rows_table(title: str, rows: object) -> Table | None:
    """Lay flat objects out as a table, a column for each key that one of them has."""
    if not isinstance(rows, list):
        return None
    flat = [row for row in rows if isinstance(row, dict)]
    columns = tuple(dict.fromkeys(str(key) for row in flat for key in row))
    if not columns:
        return None
    cells = [tuple(_cell(row.get(column)) for column in columns) for row in flat]
    numeric = {c for c in columns if all(_number(row.get(c)) for row in flat if c in row)}
    return Table(title, columns, cells, frozenset(numeric))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return value if isinstance(value, str) else json.dumps(value)
