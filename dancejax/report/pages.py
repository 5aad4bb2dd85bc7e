"""Reports as files: Markdown, CSV, and one HTML page that needs nothing beside it."""

import base64
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

import dancejax
from dancejax import figures, names, runs
from dancejax.condensed import CondensedSet
from dancejax.report import compare, tables
from dancejax.report.entry import Entry
from dancejax.report.tables import Table


def write(
    entries: Sequence[Entry],
    folder: Path,
    *,
    title: str,
    command: str,
    pictures_of: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write report.md, report.csv and report.html into a folder.

    Args:
      entries: of `collect`.
      folder: where to.
      title: of the report.
      command: that made it, as a user would type it.
      pictures_of: the data sets whose condensed sets are shown (None: all), for images that may not
        be passed on.
      notes: sentences about files that were passed over.
    """
    page = to_html(entries, title, command, pictures_of, notes)
    runs.write_bytes(folder / "report.md", to_markdown(entries, title, command, notes).encode())
    runs.write_bytes(folder / "report.csv", tables.to_csv(entries).encode())
    runs.write_bytes(folder / "report.html", page.encode())


def to_markdown(
    entries: Sequence[Entry], title: str, command: str, notes: Sequence[str] = ()
) -> str:
    """Tables and the settings that differ from the papers'."""
    parts = [f"# {names.markdown(title)}", f"    {names.clean(command)}", tables.EXPLANATION]
    for table in _all_tables(entries):
        parts += [f"## {names.markdown(table.title)}", tables.markdown(table)]
    settings = [f"- {letter}: {names.markdown(text)}" for letter, text in _footnotes(entries)]
    parts += ["## Settings that are not the papers'", "\n".join(settings) or "None."]
    if notes:
        listing = "\n".join(f"- {names.markdown(note)}" for note in notes)
        parts += ["## Not in this report", listing]
    return "\n\n".join(parts) + "\n"


def _footnotes(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return [(letter, text) for text, letter in tables.footnotes(entries).items() if text]


def to_html(
    entries: Sequence[Entry],
    title: str,
    command: str,
    pictures_of: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The same, with curves and a picture of each condensed set."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # For names with what no encoding takes.
        finalize=lambda value: names.clean(value) if type(value) is str else value,
    )
    template = environment.from_string(
        (resources.files("dancejax.report") / "page.html").read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        command=command,
        explanation=tables.EXPLANATION,
        tables=_all_tables(entries),
        settings=_footnotes(entries),
        notes=notes,
        curves=_curves(entries),
        sets=_pictures([e for e in entries if pictures_of is None or e.dataset in pictures_of]),
        version=dancejax.__version__,
    )


def _all_tables(entries: Sequence[Entry]) -> list[Table]:
    cost = tables.cost_table(entries)
    found = [*tables.accuracy_tables(entries), *tables.cross_tables(entries)]
    return [*found, cost] if cost else found


def _curves(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Test accuracy over epochs, and losses over iterations, as pictures with descriptions."""
    found = []
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for e in tables.ordered(entries):
        key = (e.dataset, e.ipc, compare.network_name(e.network), tables.evaluation(e))
        groups.setdefault(key, []).append(e)
    for (dataset, ipc, network, evaluation), own in groups.items():
        lines = {compare.label(e): _mean_curve(e) for e in own if _has_curve(e)}
        if max(map(len, lines.values()), default=0) > 1:
            text = f"{dataset}, IPC {'all' if ipc is None else ipc}, {network} ({evaluation})"
            figure = figures.curves_figure(
                lines, xlabel="epoch", ylabel="test accuracy (%)", title=text
            )
            found.append({"text": f"Test accuracy: {text}", "png": _base64(figures.png(figure))})
    seen = set()
    for entry in tables.ordered(entries):
        for run in entry.runs[:1]:
            if not run.losses or run.folder in seen:
                continue
            seen.add(run.folder)
            curves = figures.loss_curves(run.losses)
            if not curves:
                continue
            text = f"{entry.dataset}, IPC {entry.ipc}, {compare.label(entry)}"
            figure = figures.curves_figure(
                curves, xlabel="iteration", ylabel=figures.LOSS_AXIS, title=text
            )
            found.append({"text": f"Losses: {text}", "png": _base64(figures.png(figure))})
    return found


def _has_curve(entry: Entry) -> bool:
    """Whether all evaluations have a curve, at the same epochs."""
    epochs = [(result.get("curve") or {}).get("epochs") for result in entry.results]
    return epochs[0] is not None and all(own == epochs[0] for own in epochs)


def _mean_curve(entry: Entry) -> list[tuple[float, float]]:
    curves = [result["curve"]["accuracy_mean"] for result in entry.results]
    return list(zip(entry.results[0]["curve"]["epochs"], np.mean(curves, 0).tolist(), strict=True))


def _pictures(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Each condensed set once, as a picture."""
    found: dict[Path, dict[str, Any]] = {}
    for entry in tables.ordered(entries):
        for run in entry.runs[:1]:
            made = run.made
            shown = min(10, made.ipc)
            text = f"{entry.dataset}, {compare.label(entry)}, IPC {entry.ipc}"
            more = f", {shown} of {made.ipc} of each class" if made.ipc > shown else ""
            found.setdefault(run.folder, {"text": text + more, "webp": _base64(_webp(made))})
    return list(found.values())


def _webp(made: CondensedSet) -> bytes:
    """The grid with the names of the classes, in a form that is small."""
    picture = figures.png(figures.grid_figure(made, title=False))
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(buffer, format="webp", quality=80)
    return buffer.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
