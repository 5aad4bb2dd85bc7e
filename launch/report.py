"""Writes a report of what runs measured, beside the papers' numbers.

    python -m launch.report --runs=runs/sweep,runs/cross --workdir=runs/report

--runs takes any work folders: of sweeps, cross-architecture evaluations, condensations with their
evaluations below. The report is one page in three forms, report.html (with curves and pictures,
and nothing beside it), report.md and report.csv. The Markdown goes to stdout, too.
"""

from pathlib import Path

from absl import flags

from dancejax import report, runs
from dancejax.errors import UserError

from . import common

FLAGS = flags.FLAGS


def main() -> None:
    folders = [Path(folder).expanduser() for folder in FLAGS.runs if folder]
    if not folders:
        raise UserError("--runs names no folder; give the --workdir of one run or more.")
    entries = report.collect(folders)
    workdir = runs.open_workdir(FLAGS.workdir)
    report.write(
        entries,
        workdir,
        title=FLAGS.title,
        command=common.command(),
        pictures_of=FLAGS.pictures_of,
    )
    print(report.to_markdown(entries, FLAGS.title, common.command()), end="")
    common.say(f"report: {workdir / 'report.html'}")


if __name__ == "__main__":
    flags.DEFINE_list("runs", None, "work folders to report on", required=True)
    flags.DEFINE_string("workdir", None, "folder for the report", required=True)
    flags.DEFINE_list(
        "pictures_of",
        None,
        "data sets whose condensed sets are shown (default: all; empty: none), for images that may "
        "not be passed on",
    )
    flags.DEFINE_string("title", "Dataset condensation: measured and published", "of the report")
    common.run(main)
