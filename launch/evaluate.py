"""Trains networks from scratch on a condensed set, a coreset or the whole set, and tests them.

    python -m launch.evaluate --dataset=cifar10 --condensed=runs/cifar10/ipc10/condensed \\
        --workdir=runs/cifar10/ipc10/evaluation

The result is the accuracy after the last epoch, mean and deviation over the networks. Without
--condensed the networks train on the whole set. A set of your own images is evaluated with the
network and settings that it was made for, one of the papers' data sets by the paper's protocol;
flags overrule both. The set must have been made from the data set that is named, as it is now.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from dancejax import condensed, evaluation, networks
from dancejax.applications import assess, dd_ranking
from dancejax.errors import UserError
from dancejax.training import protocols

from . import common, flagtypes, settings

if TYPE_CHECKING:
    import flax.linen as nn

    from dancejax.applications.settings import DataSettings, EvaluationSettings, NetworkSettings
    from dancejax.condensed import CondensedSet

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is evaluated, and how; the last five are flags."""

    data: DataSettings
    network: NetworkSettings
    evaluation: EvaluationSettings
    condensed: Path | None
    kept: Path | None
    other_data: bool
    dd_ranking: bool
    dd_ranking_python: str


def read() -> tuple[Settings, settings.Work]:
    work = settings.work()
    if FLAGS.kept and FLAGS.condensed:
        raise UserError("--kept and --condensed exclude each other; give one of them.")
    if FLAGS.dd_ranking and not FLAGS.condensed:
        raise UserError("DD-Ranking scores one condensed set; give --condensed with --dd_ranking.")
    given = Settings(
        settings.data(),
        settings.network(),
        settings.evaluation(),
        FLAGS.condensed,
        FLAGS.kept,
        FLAGS.other_data,
        FLAGS.dd_ranking,
        FLAGS.dd_ranking_python,
    )
    if FLAGS.dd_ranking_python and not FLAGS.dd_ranking:
        raise UserError("--dd_ranking_python is for --dd_ranking; give that, too.")
    return given, work


def select_checkpoint(given: Settings, kept: Path, work: settings.Work) -> None:
    """Test the sets kept along a run, and evaluate the best of them."""
    sets = assess.kept_sets(kept)
    last = sets[max(sets)]
    data, abouts = assess.check_sources({str(kept): last}, given.data, other_data=given.other_data)
    test = data.load("test")
    network = assess.network_of(given.network, last).create(test)
    how = assess.recorded(given.evaluation, last)
    name, config = how.training(last.method, test, **protocols.size_of(last))
    common.start(work, {"protocol": name, **abouts[str(kept)]})
    result = evaluation.over_checkpoints(
        sets,
        test,
        network,
        config,
        repeats=how.networks,
        seed=work.seed,
        test_points=how.test_points,
        run=work.run,
    )
    common.show(result)
    best = result["best"]
    accuracy = common.accuracy(best["accuracy_mean"], best["accuracy_std"], best["repeats"])
    common.say(
        f"best over checkpoints, selected on the test set and no result: {accuracy} after "
        f"{best['iteration']} iterations (last epoch, {best['repeats']} networks)"
    )


def tested_of(given: Settings) -> tuple[assess.Tested, EvaluationSettings]:
    """What networks are trained on and tested on, and how: by hand > what a set records."""
    if given.condensed is None:
        data = given.data.sized(common.say)
        train, test = data.load("train"), data.load("test")
        return assess.Tested(train, test, given.network.create(test)), given.evaluation
    made = assess.load_set(given.condensed)
    path = str(given.condensed)
    data, abouts = assess.check_sources({path: made}, given.data, other_data=given.other_data)
    test, how = data.load("test"), assess.recorded(given.evaluation, made)
    network = assess.network_of(given.network, made).create(test)
    if len(turns := made.settings.get("networks", [])) > 1:
        said = " + ".join(about["name"] for about in turns)
        common.say(f"made on {said} in turns; evaluated on {words(network)} (--network, --width)")
    if "evaluation" in made.settings:
        name, config = how.training(made.method, test, **protocols.size_of(made))
        common.say(
            f"as the set records, where no flag says otherwise: {words(network)}, protocol {name}, "
            f"{config.epochs} epochs, {how.networks} networks"
        )
    return assess.Tested(made, test, network, made.method, abouts[path]), how


def words(network: nn.Module) -> str:
    """A network as a sentence names it."""
    about = networks.identity(network)
    return f"{about['name']} of width {about['width']}" if "width" in about else about["name"]


def scores_of(given: Settings) -> dd_ranking.Settings:
    """How DD-Ranking's networks are trained: by hand, else as its package has it."""
    hand = given.evaluation
    asked = {"repeats": hand.repeats, "epochs": hand.epochs, "batch_size": hand.batch_size}
    python = given.dd_ranking_python
    if python.startswith("~"):
        python = str(Path(python).expanduser())
    return dd_ranking.Settings(
        **{name: value for name, value in asked.items() if value is not None}, python=python
    )


def rank(made: CondensedSet, given: Settings, how: dd_ranking.Settings, folder: Path) -> None:
    """Say DD-Ranking's scores of a set."""
    data = given.data.like(made)
    train, test = data.load("train"), data.load("test")
    found = dd_ranking.score(made, train, test, how, folder=folder, say=common.say)
    common.show(found)
    common.say(
        f"DD-Ranking: hard label recovery {found['hard_label_recovery_mean']:.2f}, improvement "
        f"over random {found['improvement_over_random_mean']:.2f}, label-robust score "
        f"{found['label_robust_score_mean']:.2f} %; by accuracies chosen on the test set"
    )


def main() -> None:
    given, work = read()
    if given.kept:
        select_checkpoint(given, given.kept, work)
        return
    tested, how = tested_of(given)
    assess.check(tested.train, tested.test, how)
    name, _ = how.training(tested.method, tested.test, **protocols.size_of(tested.train))
    scoring = scores_of(given)
    if given.dd_ranking:
        dd_ranking.check(tested.train, tested.test, scoring)
    common.start(work, {"protocol": name})
    found = assess.assess(tested, how, seed=work.seed, run=work.run)
    common.show(found.to_dict())
    result = found.evaluation
    accuracy = common.accuracy(result.accuracy_mean, result.accuracy_std, result.repeats)
    common.say(
        f"accuracy {accuracy} (last epoch, {result.repeats} networks); best over epochs, "
        f"chosen on the test set: {result.best_over_epochs_mean:.2f} %"
    )
    known = {name: mean for name, mean in result.accuracy_by_class.items() if mean is not None}
    if known:
        low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        common.say(f"by class from {known[low]:.1f} % ({low}) to {known[high]:.1f} % ({high})")
    if given.dd_ranking and isinstance(tested.train, condensed.CondensedSet):
        rank(tested.train, given, scoring, work.folder / "dd_ranking")


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    flagtypes.define_path("condensed", None, "folder of a condensed set, a coreset or an export")
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
