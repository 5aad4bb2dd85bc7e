"""Condenses a data set to a few synthetic images per class.

    python -m launch.condense --dataset=path/to/images --ipc=10

does it all for your own images: chooses settings by the size of the data and the machine and says
which, trains experts, condenses, evaluates the result beside as many random images, and writes
pictures and a report, by our own method unless --method names another. --dry_run shows the plan
with its time and memory, and stops.

    python -m launch.condense --dataset=cifar10 --ipc=10 --workdir=runs/cifar10/ipc10

uses DANCE with its paper's settings, as for all data sets of the papers, and leaves the evaluation
to launch.evaluate. Flags go before either. Experts come from --expert_dir, by default the folder
"experts" in the work folder, where what is missing is trained. The result is the folder "condensed"
in the work folder. The same command goes on after an interruption.
"""

from __future__ import annotations

from absl import flags

from dancejax import choices, registries
from dancejax.applications import assess, own_folder, resolve

from . import common, flagtypes, method_flags, settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_enum(
        "method",
        None,
        list(registries.METHODS),
        "the method (default: dance with the preset paper, dancejax with auto)",
    )
    flags.DEFINE_integer("ipc", None, "stored images per class", lower_bound=1, required=True)
    flags.DEFINE_enum(
        "preset",
        None,
        choices.PRESETS,
        "paper: published settings, the default for the papers' data sets; auto: by the size of "
        "the data and the machine, the default for all others. Flags go before either",
    )
    flags.DEFINE_bool("dry_run", False, "show the plan, its time and memory, and stop")
    flags.DEFINE_bool(
        "evaluate",
        None,
        "evaluate the result beside random images, and report (default: with auto)",
    )
    flagtypes.define_number(
        "minutes",
        None,
        "that everything is to take on this machine, compiling included, with the preset auto: "
        "more minutes are spent on more of everything, up to the papers' amounts",
        above=0,
    )
    flags.DEFINE_integer("steps", None, "iterations (default: the preset's)", lower_bound=1)
    flags.DEFINE_string(
        "init",
        None,
        f"what the stored images start from: {', '.join(choices.INITS)}, or the folder of a "
        "condensed set or coreset (default: the preset's)",
    )
    flags.DEFINE_integer(
        "keep_every", 0, "iterations between whole sets in the folder kept (0: none)", lower_bound=0
    )
    flags.DEFINE_integer("log_every", 10, "iterations between lines of metrics", lower_bound=1)
    flags.DEFINE_integer(
        "picture_every",
        None,
        "iterations between pictures (default: a tenth of all; 0: none)",
        lower_bound=0,
    )


def read() -> tuple[own_folder.Settings, settings.Work, bool]:
    """The settings of the job, its work folder, and whether it is only shown."""
    data = settings.data()
    method = FLAGS.method or resolve.usual_method(data, FLAGS.preset)
    work = settings.work(resolve.default_folder(FLAGS.dataset, method, FLAGS.ipc))
    job = own_folder.Settings(
        data,
        FLAGS.ipc,
        method=FLAGS.method,
        preset=FLAGS.preset,
        steps=FLAGS.steps,
        config=method_flags.read(),
        init=assess.start_of(FLAGS.init),
        seed=FLAGS.seed,
        network=settings.network(),
        experts=settings.experts(),
        evaluation=settings.evaluation(),
        evaluate=FLAGS.evaluate,
        picture_every=FLAGS.picture_every,
        minutes=FLAGS.minutes,
    )
    return job, work, FLAGS.dry_run


def main() -> None:
    given, work, dry_run = read()
    job = own_folder.prepare(given, run=work.run, say=common.say, estimate=dry_run or None)
    if dry_run:
        common.end_dry_run(work.folder)
        return
    common.start(work, job.about(), job.train)
    outcome = own_folder.carry_out(job, say=common.say, command=common.command())
    if outcome.summary:
        common.show(outcome.summary)
    common.say(f"condensed set: {work.path / 'condensed'}")


if __name__ == "__main__":
    settings.define_data()
    settings.define_network(turns=True)
    settings.define_run(named=True)
    settings.define_trackers()
    settings.define_training()
    settings.define_expert_dir()
    method_flags.define()
    define_flags()
    settings.define_evaluation(10, "networks of the evaluation", test_points=5)
    common.run(main)
