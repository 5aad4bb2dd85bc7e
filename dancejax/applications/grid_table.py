"""The table of a grid: each cell has its line in its own folder, from which the table is read."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancejax import methods, names, runs
from dancejax.applications.cell import Cell
from dancejax.applications.settings import Say, quiet
from dancejax.errors import UserError
from dancejax.types import Json

ROW = "row.json"
"""A cell's line, in its folder."""


def write(workdir: Path, cells: Sequence[Cell], say: Say = quiet) -> list[Json]:
    """Write result.json and table.md of a grid, from the folders of its cells.

    Args:
      workdir: the grid's folder.
      cells: the first lines, in this order; the other cells that have a folder there follow.
      say: takes what is left out, in a sentence.

    Returns:
      The lines of the cells that are finished, as `table` takes them.
    """
    found = read(workdir, say)
    own = [found[cell] for cell in cells if cell in found]
    rows = own + [line for cell, line in found.items() if cell not in cells]
    runs.write_json(workdir / "result.json", rows)
    runs.write_bytes(workdir / "table.md", (table(rows) + "\n").encode())
    return rows


def read(workdir: Path, say: Say = quiet) -> dict[Cell, Json]:
    """Read the lines of a grid's cells.

    Cells made by an earlier version have their line in result.json alone. What is no line of this
    version's is left out, and that is said.
    """
    found: dict[Cell, Json] = {}
    if (workdir / "result.json").exists():
        rows = runs.read_json(workdir / "result.json")
        for line in rows if isinstance(rows, list) else [rows]:
            if (cell := _cell_of(line)) is None:
                say(f"left out of {workdir / 'result.json'}: an entry that is no line of a grid")
            else:
                found[cell] = line
    for path in sorted(workdir.glob(f"*/{ROW}")):
        line = runs.read_json(path)
        if (cell := _cell_of(line)) is None or cell.name != path.parent.name:
            say(f"left out of the table: {path}, which is no line of that cell")
        else:
            found[cell] = line
    return found


def _cell_of(line: Any) -> Cell | None:
    """The cell of a line of the table; None for what is no such line."""
    fields = [field.name for field in dataclasses.fields(Cell)]
    try:
        table([line])
        return Cell(**{name: line[name] for name in fields if name in line})
    except (KeyError, TypeError, ValueError, AttributeError, UserError):
        return None


def table(rows: list[Json]) -> str:
    """Show lines of `row` as a Markdown table, the seeds of one cell together in a line.

    The deviation is over the sets of several seeds (of their means over networks), or over the
    networks of the one set; a column says which. The papers' numbers are beside, where they have
    some.
    """
    head: tuple[str, ...] = (
        "method",
        "variant",
        "IPC",
        "accuracy, last epoch (%)",
        "deviation over",
        "seeds",
        "protocol, epochs",
        "iterations",
        "s/iteration",
        "step memory (MB)",
    )
    if compared := any(r.get("published") for r in rows):
        head += ("published",)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in rows:
        keys = ("method", "ipc", "protocol", "epochs", "repeats", "iterations")
        groups.setdefault((*(r.get(k) for k in keys), r.get("variant") or ""), []).append(r)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for group in groups.values():
        line = _table_line(group) + ([_published(group[0])] if compared else [])
        lines.append("| " + " | ".join(map(names.markdown, line)) + " |")
    return "\n".join(lines)


def _table_line(group: list[dict[str, Any]]) -> list[str]:
    """A cell's line of the table, from its rows of one seed each."""
    first = group[0]
    seconds = [r["seconds_per_iteration"] for r in group if r.get("seconds_per_iteration")]
    memory = [r["step_memory_mb"] for r in group if r.get("step_memory_mb")]
    means = [r["accuracy_mean"] for r in group]
    several = first["repeats"] > 1
    if len(group) > 1:
        over = f"{len(group)} sets, {first['repeats']} network{'s' if several else ''} each"
        std: float | None = statistics.stdev(means)
    else:
        over = f"{first['repeats']} network{'s' if several else ''}"
        std = first["accuracy_std"] if several else None
    return [
        methods.title(first["method"]),
        first.get("variant") or "-",
        str(first["ipc"]),
        f"{statistics.fmean(means):.1f}" + ("" if std is None else f" +- {std:.1f}"),
        over,
        ", ".join(str(r["seed"]) for r in group),
        f"{first['protocol']}, {first['epochs']}",
        str(first["iterations"] or "-"),
        f"{statistics.fmean(seconds):.3f}" if seconds else "-",
        f"{max(memory):.0f}" if memory else "-",
    ]


def _published(line: Json) -> str:
    """The papers' number beside a line, with its place."""
    found = line.get("published")
    if not found:
        return "-"
    std = "" if found["std"] is None else f" +- {found['std']:.1f}"
    return f"{found['accuracy']:.1f}{std} ({found['source']})"
