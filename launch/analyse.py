"""Analyses condensed sets as the papers' figures and tables do, each with a plot and a CSV file.

    python -m launch.analyse --dataset=cifar10 --condensed='runs/sweep/*-ipc10-seed0/condensed' \\
        --analyses=moments,discrepancy --workdir=runs/analyses

Each analysis is a folder of the work folder: analysis.json, rows.csv, plot.svg. Analyses that need
trained networks take those of --expert_dir that no set was made with, or train some in
WORKDIR/experts. Analyses can be done side by side (--engine=local --parallel=N, or --engine=slurm;
--status says how far they are). The same command goes on after an interruption; analyses that are
there already are not done again.
"""

from __future__ import annotations

from absl import flags

from dancejax import analysis, choices, registries
from dancejax.applications import analyse, cross
from dancejax.applications.programs import analyse as program

from . import common, flagtypes, jobs, settings

FLAGS = flags.FLAGS


def define_config() -> None:
    """A flag for each setting of the analyses."""
    for name, users in analysis.setting_users().items():
        meanings = [
            f"{owner}: {s.meaning}" + ("" if s.default is None else f" (default: {s.default:g})")
            for owner, s in users.items()
        ]
        kind = next(iter(users.values())).kind
        define = flags.DEFINE_integer if kind is int else flagtypes.define_number
        define(name, None, "; ".join(meanings))


def read(*, shared: bool) -> tuple[analyse.Settings, settings.Work]:
    """What is analysed, and the work folder."""
    work = settings.work(shared=shared)
    given = analyse.Settings(
        cross.find_folders(FLAGS.condensed),
        FLAGS.analyses,
        settings.data(),
        network=settings.network(),
        experts=settings.experts(),
        config={n: FLAGS[n].value for n in analysis.setting_users() if FLAGS[n].present},
        seed=work.seed,
        other_data=FLAGS.other_data,
    )
    return given, work


def main() -> None:
    how = jobs.read()
    given, work = read(shared=how.shared)
    jobs.run(how, work, program.Analyse(given, work.run, common.say))


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    flagtypes.define_paths("condensed", "folders of condensed sets or patterns", required=True)
    flagtypes.define_choices(
        "analyses", None, f"what to measure: {', '.join(registries.ANALYSES)}",
        list(registries.ANALYSES), required=True,
    )  # fmt: skip
    settings.define_training()
    settings.define_expert_dir()
    define_config()
    settings.define_other_data()
    jobs.define(f"moments; {choices.EXPERTS}: the experts, which come first")
    common.run(main, backend=lambda: jobs.read().computes)
