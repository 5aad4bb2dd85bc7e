"""Reports as files: Markdown, CSV, and one HTML page that needs nothing beside it."""

import base64
import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

import dancejax
from dancejax import figures, methods, names, runs
from dancejax.report import charts, classes, compare, matrix, pictures, tables
from dancejax.report.charts import Chart, Point, Series
from dancejax.report.content import Content
from dancejax.report.entry import Entry
from dancejax.report.matrix import Matrix
from dancejax.report.progress import Unfinished
from dancejax.report.tables import Table

MOST_BYTES = 1_500_000
"""Of the page."""
MOST_CHARTS = 12
"""Diagrams of training and of losses, each."""


@dataclasses.dataclass(frozen=True)
class Page:
    """How a report is laid out.

    Attributes:
      title: of the report.
      command: that made it, as a user would type it.
      pictures_of: the data sets whose condensed sets are shown (None: all), for images that may
        not be passed on.
      refresh: seconds after which the page loads itself again (0: never).
    """

    title: str
    command: str
    pictures_of: Sequence[str] | None = None
    refresh: int = 0


def write(content: Content, folder: Path, page: Page) -> None:
    """Write report.md, report.csv and report.html into a folder.

    Args:
      content: what is reported.
      folder: where to; links lead from there to the runs.
      page: how.
    """
    shown = to_html(content, page, folder)
    runs.write_bytes(folder / "report.md", to_markdown(content, page).encode())
    runs.write_bytes(folder / "report.csv", tables.to_csv(content.entries).encode())
    runs.write_bytes(folder / "report.html", shown.encode())


def to_markdown(content: Content, page: Page) -> str:
    """Return the same as GitHub shows it: the matrix first, then tables, then settings."""
    entries = content.entries
    parts = [f"# {names.markdown(page.title)}"]
    for found in matrix.matrices(entries):
        parts += [f"## {names.markdown(found.dataset)}: accuracy in percent"]
        parts += [names.markdown(sentence) for sentence in found.headline]
        parts += [names.markdown(found.context), matrix.markdown(found)]
        parts += [] if found.own else [names.markdown(matrix.LEGEND) + "."]
    for table in [*matrix.ablations(entries), *_other_tables(entries)]:
        parts += [f"## {names.markdown(table.title)}", tables.markdown(table)]
    for analysis in content.analyses:
        parts += [f"## {names.markdown(analysis.title)}", names.markdown(analysis.summary)]
        parts += [tables.markdown(analysis.table)] if analysis.table else []
    by_class = classes.class_tables(entries)
    parts += ["<details><summary>Accuracy by class</summary>"] if by_class else []
    for table in by_class:
        parts += [f"### {names.markdown(table.title)}", tables.markdown(table)]
    parts += ["</details>"] if by_class else []
    parts += ["## All evaluations"] if entries else []
    for table in tables.accuracy_tables(entries):
        parts += [f"### {names.markdown(table.title)}", tables.markdown(table)]
    settings = [f"- {letter}: {names.markdown(text)}" for letter, text in _footnotes(entries)]
    if settings:
        parts += ["## Settings that are not the papers'", "\n".join(settings)]
    if content.unfinished:
        parts += ["## Under way", tables.markdown(_progress_table(content.unfinished))]
    if content.notes:
        listing = "\n".join(f"- {names.markdown(note)}" for note in content.notes)
        parts += ["## Not in this report", listing]
    parts += [tables.EXPLANATION] if entries else []
    return "\n\n".join([*parts, f"    {names.clean(page.command)}"]) + "\n"


def _footnotes(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return [(letter, text) for text, letter in tables.footnotes(entries).items() if text]


def _other_tables(entries: Sequence[Entry]) -> list[Table]:
    cost = tables.cost_table(entries)
    return [*tables.cross_tables(entries), *([cost] if cost else [])]


def to_html(content: Content, page: Page, folder: Path | None = None) -> str:
    """Return the same as a page with diagrams and pictures, of at most MOST_BYTES.

    Args:
      content: what is reported.
      page: how.
      folder: where the page will lie, for links to files; without it there are none.
    """
    template = _environment().get_template("page.html")
    values = _values(content, page, folder)
    empty = template.render(**values, sets=[], left_out=0)
    wanted = page.pictures_of
    shown = [e for e in content.entries if wanted is None or e.dataset in wanted]
    # A row has about 400 bytes beside its picture.
    rows = sum(figures.MOST_CLASSES for _ in shown)
    budget = MOST_BYTES - len(empty.encode()) - 400 * rows - 10_000
    sets, left_out = pictures.pictured(shown, max(0, budget))
    return template.render(**values, sets=sets, left_out=left_out)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dancejax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # For names with what no encoding takes.
        finalize=lambda value: names.clean(value) if type(value) is str else value,
    )
    environment.filters["pm"] = lambda text: str(text).replace(" +- ", " \u00b1 ")
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.filters["figure"] = tables.figure
    environment.globals |= {"look": charts.look, "over": tables.deviation_over}
    return environment


def _values(content: Content, page: Page, folder: Path | None) -> dict[str, Any]:
    entries = content.entries
    found = matrix.matrices(entries)
    return {
        "page": page,
        "refresh": page.refresh if content.busy else 0,
        "unfinished": _progress_table(content.unfinished) if content.unfinished else None,
        "matrices": [(m, _matrix_chart(m)) for m in found],
        "legend": matrix.LEGEND,
        "cross": tables.cross_tables(entries),
        "ablations": matrix.ablations(entries),
        "analyses": content.analyses,
        "classes": classes.class_tables(entries),
        "cost": tables.cost_table(entries),
        "curves": _training(entries)[:MOST_CHARTS],
        "losses": _losses(entries)[:MOST_CHARTS],
        "all": tables.accuracy_tables(entries),
        "settings": _footnotes(entries),
        "notes": content.notes,
        "uses": [use for m in found if m.own for use in _uses(m, entries, folder)],
        "link": lambda path: _link(path, folder),
        "explanation": tables.EXPLANATION,
        "version": dancejax.__version__,
    }


def _matrix_chart(found: Matrix) -> Chart | None:
    """Accuracy against images per class, where there is more than one point to see."""
    series = matrix.curves(found)
    if len({p.x for s in series for p in s.points}) < 2:
        return None
    return charts.chart(
        f"Test accuracy on {names.short(found.dataset, 40)} against images per class",
        series,
        xlabel="images per class (logarithmic)",
        ylabel="test accuracy (%)",
        log=True,
    )


class Use(NamedTuple):
    """How a condensed set is used: where it is, and links to what lies beside it."""

    title: str
    path: str
    links: tuple[tuple[str, str], ...]

    @property
    def quoted(self) -> str:
        """The path as a shell takes it."""
        return shlex.quote(self.path)


_BESIDE = (
    ("condensed/images.npy", "the images"),
    ("condensed/labels.npy", "their labels"),
    ("condensed/manifest.json", "how they were made"),
    ("condensed/preview.png", "a picture of them"),
    ("pictures/evolution.gif", "how they came about"),
    ("split.json", "which images were for testing"),
)


def _uses(found: Matrix, entries: Sequence[Entry], folder: Path | None) -> list[Use]:
    """The best condensed set of a data set of one's own."""
    own = [e for e in entries if e.dataset == found.dataset and e.method in methods.METHODS]
    own = [e for e in own if e.runs and e.form is None]
    if not own:
        return []
    best = max(own, key=lambda e: e.mean)
    run = best.runs[0]
    links = [
        (href, text)
        for name, text in _BESIDE
        if (run.folder / name).exists() and (href := _link(run.folder / name, folder))
    ]
    title = f"{compare.label(best)}, {best.ipc} per class"
    return [Use(title, str(run.folder / "condensed"), tuple(links))]


def _link(path: Path, folder: Path | None) -> str:
    """The address of a file from a page in a folder; "" where it has none."""
    if folder is None:
        return ""
    try:
        relative = os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:  # another drive
        return ""
    return Path(relative).as_posix().replace("%", "%25").replace("#", "%23").replace("?", "%3F")


def _progress_table(unfinished: Sequence[Unfinished]) -> Table:
    columns = ("run", "of", "state", "step", "steps a second", "time left", "last losses")
    rows = []
    for run in unfinished:
        of = "" if run.steps is None else f" of {run.steps}"
        losses = ", ".join(f"{name} {value:.3g}" for name, value in run.losses.items())
        rate = "" if run.rate is None else f"{run.rate:.3g}"
        rows.append((run.name, run.kind, run.state, f"{run.step}{of}", rate, run.left, losses))
    return Table("Under way", columns, rows, frozenset({"steps a second"}))


def _training(entries: Sequence[Entry]) -> list[Chart]:
    """Test accuracy over epochs."""
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for e in tables.ordered(entries):
        key = (e.dataset, e.ipc, compare.network_name(e.network), tables.evaluation(e))
        groups.setdefault(key, []).append(e)
    found = []
    for (dataset, ipc, network, evaluation), own in groups.items():
        curves = [(compare.label(e), _mean_curve(e)) for e in own if _has_curve(e)]
        series = [
            Series(name, tuple(points), i, markers=False) for i, (name, points) in enumerate(curves)
        ]
        if max((len(s.points) for s in series), default=0) > 1:
            of = "all images" if ipc is None else f"{ipc} per class"
            title = f"Test accuracy: {dataset}, {of}, {network} ({evaluation})"
            found.append(charts.chart(title, series, xlabel="epoch", ylabel="test accuracy (%)"))
    return found


def _losses(entries: Sequence[Entry]) -> list[Chart]:
    """Losses over iterations, of one run for each entry."""
    found: dict[Path, Chart] = {}
    for entry in tables.ordered(entries):
        for run in entry.runs[:1]:
            curves = figures.loss_curves(run.losses)
            series = [
                Series(name, tuple(Point(x, y) for x, y in points if np.isfinite(y)), i)
                for i, (name, points) in enumerate(curves.items())
            ]
            kept = [s._replace(markers=False) for s in series if s.points]
            if kept and run.folder not in found:
                title = f"Losses: {entry.dataset}, {compare.label(entry)}, {entry.ipc} per class"
                made = charts.chart(title, kept, xlabel="iteration", ylabel=figures.LOSS_AXIS)
                found[run.folder] = made
    return list(found.values())


def _has_curve(entry: Entry) -> bool:
    """Whether all evaluations have a curve, at the same epochs."""
    epochs = [(result.get("curve") or {}).get("epochs") for result in entry.results]
    return epochs[0] is not None and all(own == epochs[0] for own in epochs)


def _mean_curve(entry: Entry) -> list[Point]:
    curves = [result["curve"]["accuracy_mean"] for result in entry.results]
    means = np.mean(curves, 0).tolist()
    return [Point(*p) for p in zip(entry.results[0]["curve"]["epochs"], means, strict=True)]
