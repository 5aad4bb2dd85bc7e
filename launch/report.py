"""Writes a report of what runs measured, beside the papers' numbers.

    python -m launch.report --runs=runs/sweep,runs/cross --workdir=runs/report
    python -m launch.report --runs=runs/sweep --workdir=runs/report --watch

--runs takes any work folders: of sweeps, cross-architecture evaluations, condensations with their
evaluations below, analyses. The report is one page in three forms, report.html (with diagrams and
pictures, and nothing beside it), report.md and report.csv. The Markdown goes to stdout, too. A
damaged file is named in the report and on stderr, and passed over.

With --watch the report is written again every --seconds, with the runs that are under way: their
rate, the time left, their last losses, and which have stopped. It ends with Ctrl-C, or once all
runs are finished.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from dancejax import report, runs
from dancejax.errors import UserError
from dancejax.text import meant

from . import common, flagtypes, settings

FLAGS = flags.FLAGS
NAME = "report.html"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is reported, where to; all are flags."""

    runs: list[Path]
    title: str
    pictures_of: list[str] | None
    watch: bool
    seconds: int


def read() -> Settings:
    return Settings(FLAGS.runs, FLAGS.title, FLAGS.pictures_of, FLAGS.watch, FLAGS.seconds)


def main() -> None:
    folder, given = settings.folder(), read()
    refresh = given.seconds if given.watch else 0
    page = report.Page(given.title, common.command(), given.pictures_of, refresh)
    found = report.gather(given.runs)
    known = {str(entry.dataset) for entry in found.entries}
    unknown = [name for name in given.pictures_of or [] if name and name not in known]
    if unknown and not given.watch:
        raise UserError(
            f"--pictures_of={unknown[0]} names no data set of these runs, which have "
            f"{', '.join(sorted(known)) or 'none'}.{meant(unknown[0], known)}"
        )
    looks = iter([found])
    if given.watch:
        looks = report.watch(given.runs, given.seconds)
    for content in looks:
        workdir = runs.open_workdir(folder)
        report.write(content, workdir, page)
        common.say(f"report: {content.summary}" if content.busy else f"report: {workdir / NAME}")
    for note in content.notes:
        common.say(f"report: {note}")
    common.show(report.to_markdown(content, page).rstrip("\n"))


if __name__ == "__main__":
    flagtypes.define_paths("runs", "work folders to report on", required=True)
    flagtypes.define_path("workdir", None, "folder for the report", required=True)
    flags.DEFINE_list(
        "pictures_of",
        None,
        "data sets whose condensed sets are shown (default: all; empty: none), for images that may "
        "not be passed on",
    )
    flags.DEFINE_string("title", "Dataset condensation: measured and published", "of the report")
    flags.DEFINE_bool("watch", False, "write the report again and again while runs are under way")
    flags.DEFINE_integer("seconds", 30, "between two reports with --watch", lower_bound=1)
    common.run(main)
