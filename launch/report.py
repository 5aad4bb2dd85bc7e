"""Writes a report of what runs measured, beside the papers' numbers.

    python -m launch.report --runs=runs/sweep,runs/cross --workdir=runs/report

--runs takes any work folders: of sweeps, cross-architecture evaluations, condensations with their
evaluations below. The report is one page in three forms, report.html (with curves and pictures,
and nothing beside it), report.md and report.csv. The Markdown goes to stdout, too. A damaged file
is named in the report and on stderr, and passed over.
"""

import dataclasses
from pathlib import Path

from absl import flags

from dancejax import report, runs

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is reported, where to; all are flags."""

    runs: list[Path]
    title: str
    pictures_of: list[str] | None


def read() -> Settings:
    return Settings(FLAGS.runs, FLAGS.title, FLAGS.pictures_of)


def main() -> None:
    folder, given = settings.folder(), read()
    notes: list[str] = []
    entries = report.collect(given.runs, notes=notes)
    for note in notes:
        common.say(f"report: {note}")
    workdir, title, command = runs.open_workdir(folder), given.title, common.command()
    shown = given.pictures_of
    report.write(entries, workdir, title=title, command=command, pictures_of=shown, notes=notes)
    text = report.to_markdown(entries, title, command, notes)
    common.show(text.rstrip("\n"))
    common.say(f"report: {workdir / 'report.html'}")


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
    common.run(main)
