"""Networks trained on a condensed set, the best of those kept along a run, or the whole set."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import flax.linen as nn

from dancejax import condensed, evaluation, networks
from dancejax.applications import assess, dd_ranking
from dancejax.applications.settings import (
    DataSettings,
    EvaluationSettings,
    NetworkSettings,
    Say,
    quiet,
)
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.evaluation import Evaluation
from dancejax.runs import Run
from dancejax.text import accuracy
from dancejax.training import protocols
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is evaluated, and how.

    Attributes:
      data: whose test images are classified.
      network: what is trained (not given: what the set records, else the papers').
      evaluation: how (not given: what the set records, else its paper's protocol).
      condensed: folder of the set; None: the whole set.
      kept: work folder of a run that kept sets on its way, which are evaluated instead.
      other_data: whether a set of other data is taken.
      scores: how DD-Ranking's scores are measured; None: they are not.
      seed: of the networks.

    Raises:
      UserError: choices that exclude each other.
    """

    data: DataSettings
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    condensed: Path | None = None
    kept: Path | None = None
    other_data: bool = False
    scores: dd_ranking.Settings | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kept and self.condensed:
            raise UserError("--kept and --condensed exclude each other; give one of them.")
        if self.scores is not None and not self.condensed:
            raise UserError(
                "DD-Ranking scores one condensed set; give --condensed with --dd_ranking."
            )


@dataclasses.dataclass(frozen=True)
class Job:
    """What is checked and loaded.

    Attributes:
      settings: what is to be done.
      tested: the set, the test set and the network; the last of the sets that were kept.
      how: the evaluation, with what the set records.
      kept: sets kept along a run, by iteration; empty: there is one set.
    """

    settings: Settings
    tested: assess.Tested
    how: EvaluationSettings
    kept: Mapping[int, condensed.CondensedSet] = dataclasses.field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """The name of the protocol."""
        size = protocols.size_of(self.tested.train)
        return self.how.training(self.tested.method, self.tested.test, **size)[0]


def prepare(settings: Settings, *, say: Say = quiet) -> Job:
    """Load sets and data, and check everything; nothing is written.

    Args:
      settings: what is evaluated.
      say: takes sentences about choices.

    Raises:
      UserError: parts that do not fit together.
    """
    kept = assess.kept_sets(settings.kept) if settings.kept else {}
    path = settings.kept or settings.condensed
    if path is None:
        data = settings.data.sized(say)
        train, test = data.load("train"), data.load("test")
        tested = assess.Tested(train, test, settings.network.create(test))
        return _checked(Job(settings, tested, settings.evaluation))
    made = kept[max(kept)] if kept else assess.load_set(path)
    data, abouts = assess.check_sources(
        {str(path): made}, settings.data, other_data=settings.other_data
    )
    test, how = data.load("test"), assess.recorded(settings.evaluation, made)
    network = assess.network_of(settings.network, made).create(test)
    tested = assess.Tested(made, test, network, made.method, abouts[str(path)])
    job = _checked(Job(settings, tested, how, kept))
    _say_record(job, made, say)
    return job


def _checked(job: Job) -> Job:
    """The same job; raises UserError for a set that cannot be evaluated, or scored, so."""
    tested = job.tested
    assess.check(tested.train, tested.test, job.how)
    if job.settings.scores is not None:
        dd_ranking.check(tested.train, tested.test, job.settings.scores)
    return job


def _say_record(job: Job, made: condensed.CondensedSet, say: Say) -> None:
    """Say what the set records and no setting overrules."""
    network = _words(job.tested.network)
    if len(turns := made.settings.get("networks", [])) > 1:
        said = " + ".join(about["name"] for about in turns)
        say(f"made on {said} in turns; evaluated on {network} (--network, --width)")
    if "evaluation" in made.settings:
        size = protocols.size_of(made)
        name, config = job.how.training(made.method, job.tested.test, **size)
        say(
            f"as the set records, where no flag says otherwise: {network}, protocol {name}, "
            f"{config.epochs} epochs, {job.how.networks} networks"
        )


def _words(network: nn.Module) -> str:
    """A network as a sentence names it."""
    about = networks.identity(network)
    return f"{about['name']} of width {about['width']}" if "width" in about else about["name"]


def carry_out(job: Job, *, run: Run, say: Say = quiet) -> Json:
    """Train and test the networks; returns what result.json says.

    Args:
      job: of `prepare`.
      run: with a folder, for result.json; the same call goes on after an interruption.
      say: takes the result in a sentence.
    """
    if job.kept:
        return _over_checkpoints(job, run, say)
    found = assess.assess(job.tested, job.how, seed=job.settings.seed, run=run)
    say(_sentence(found.evaluation))
    known = {
        name: mean for name, mean in found.evaluation.accuracy_by_class.items() if mean is not None
    }
    if known:
        low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        say(f"by class from {known[low]:.1f} % ({low}) to {known[high]:.1f} % ({high})")
    return found.to_dict()


def _sentence(result: Evaluation) -> str:
    reached = accuracy(result.accuracy_mean, result.accuracy_std, result.repeats)
    return (
        f"accuracy {reached} (last epoch, {result.repeats} networks); best over epochs, "
        f"chosen on the test set: {result.best_over_epochs_mean:.2f} %"
    )


def _over_checkpoints(job: Job, run: Run, say: Say) -> Json:
    """Test the sets kept along a run, and evaluate the best of them."""
    tested, how = job.tested, job.how
    _, config = how.training(tested.method, tested.test, **protocols.size_of(tested.train))
    result = evaluation.over_checkpoints(
        dict(job.kept),
        tested.test,
        tested.network,
        config,
        repeats=how.networks,
        seed=job.settings.seed,
        test_points=how.test_points,
        run=run,
    )
    best = result["best"]
    reached = accuracy(best["accuracy_mean"], best["accuracy_std"], best["repeats"])
    say(
        f"best over checkpoints, selected on the test set and no result: {reached} after "
        f"{best['iteration']} iterations (last epoch, {best['repeats']} networks)"
    )
    return result


def rank(job: Job, *, run: Run, say: Say = quiet) -> Json | None:
    """Return DD-Ranking's scores of the set, in the run's folder dd_ranking; None if not asked for.

    Args:
      job: of `prepare`.
      run: with a folder.
      say: takes what is done, and the scores in a sentence.
    """
    made, scores, folder = job.tested.train, job.settings.scores, run.folder
    if scores is None or isinstance(made, Dataset) or folder is None:
        return None
    data = job.settings.data.like(made)
    train, test = data.load("train"), data.load("test")
    found = dd_ranking.score(made, train, test, scores, folder=folder / "dd_ranking", say=say)
    say(
        f"DD-Ranking: hard label recovery {found['hard_label_recovery_mean']:.2f}, improvement "
        f"over random {found['improvement_over_random_mean']:.2f}, label-robust score "
        f"{found['label_robust_score_mean']:.2f} %; by accuracies chosen on the test set"
    )
    return found
