"""Trains networks from scratch on a condensed set, a coreset or the whole set, and tests them.

    python -m launch.evaluate --dataset=cifar10 --condensed=runs/cifar10/ipc10/condensed \\
        --workdir=runs/cifar10/ipc10/evaluation

The result is the accuracy after the last epoch, mean and deviation over the networks. Without
--condensed the networks train on the whole set. A set of your own images is evaluated with the
network and settings that it was made for, one of the papers' data sets by the paper's protocol;
flags overrule both. The set must have been made from the data set that is named, as it is now.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from dancejax.applications import dd_ranking, evaluate
from dancejax.errors import UserError

from . import common, flagtypes, settings

if TYPE_CHECKING:
    from dancejax.applications.settings import EvaluationSettings

FLAGS = flags.FLAGS


def read() -> tuple[evaluate.Settings, settings.Work]:
    """What is evaluated, and the work folder."""
    work, how = settings.work(), settings.evaluation()
    if FLAGS.dd_ranking_python and not FLAGS.dd_ranking:
        raise UserError("--dd_ranking_python is for --dd_ranking; give that, too.")
    given = evaluate.Settings(
        settings.data(),
        settings.network(),
        how,
        FLAGS.condensed,
        FLAGS.kept,
        other_data=FLAGS.other_data,
        scores=scores(how, FLAGS.dd_ranking_python) if FLAGS.dd_ranking else None,
        seed=work.seed,
    )
    return given, work


def scores(hand: EvaluationSettings, python: str) -> dd_ranking.Settings:
    """How DD-Ranking's networks are trained: by hand, else as its package has it."""
    asked = {"repeats": hand.repeats, "epochs": hand.epochs, "batch_size": hand.batch_size}
    own = {name: value for name, value in asked.items() if value is not None}
    return dd_ranking.Settings(
        **own, python=str(Path(python).expanduser()) if python.startswith("~") else python
    )


def main() -> None:
    given, work = read()
    job = evaluate.prepare(given, say=common.say)
    common.start(work, {"protocol": job.protocol, **job.tested.about})
    common.show(evaluate.carry_out(job, run=work.run, say=common.say))
    if ranked := evaluate.rank(job, run=work.run, say=common.say):
        common.show(ranked)


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    flagtypes.define_path(
        "condensed",
        None,
        "folder of a condensed set, a coreset or an export (default: networks are trained on all "
        "images of --dataset)",
    )
    flagtypes.define_path(
        "kept",
        None,
        "work folder of a run of condense --keep_every: each kept set is tested by one network "
        "and the best one evaluated; best over checkpoints, as in the papers, is no result",
    )
    settings.define_placement()
    settings.define_evaluation(10, "networks to train", test_points=10)
    settings.define_other_data()
    flags.DEFINE_bool(
        "dd_ranking",
        False,
        "also compute DD-Ranking's label-robust score of --condensed with its package, which "
        "trains networks of its own on the set, on random images and on all, by its own settings "
        "where --repeats, --epochs and --batch_size are not given; CIFAR-10 and CIFAR-100",
    )
    flags.DEFINE_string(
        "dd_ranking_python",
        "",
        "Python that has the package ddranking (default: the one that runs this), since it asks "
        "for an older NumPy than JAX does",
    )
    common.run(main)
