"""Networks trained on one set and tested on several."""

import dataclasses

import numpy as np
import pytest

from dancejax import coreset, evaluation
from dancejax.applications import incremental, trials
from dancejax.applications.trials import Trial
from dancejax.errors import UserError
from dancejax.runs import QUIET, Run
from dancejax.training import TrainConfig

CONFIG = TrainConfig(epochs=4, batch_size=4, cutmix=0.0)


@pytest.fixture(scope="module")
def small(train):
    return coreset.random(train, 2)


def test_accuracy_is_that_of_an_evaluation(small, test, network):
    parts = tuple(
        incremental.of_classes(test, np.array(labels), renumbered=False) for labels in ([1], [2, 0])
    )
    found = trials.measure(Trial(small, parts, network, CONFIG, networks=2, seed=3), run=QUIET)
    wanted = evaluation.evaluate(small, test, network, CONFIG, repeats=2, seed=3)
    joined = np.average(found.accuracies, axis=1, weights=[len(part) for part in parts])
    np.testing.assert_allclose(joined, wanted.accuracies, rtol=1e-6)
    assert found.seconds > 0


def test_finished_networks_are_kept_and_more_may_follow(small, test, network, tmp_path):
    trial = Trial(small, (test,), network, CONFIG, networks=3)
    run = Run(tmp_path, progress=False)
    first = trials.measure(trial._replace(networks=1), run=run)
    assert trials.finished(tmp_path) == 1
    both = trials.measure(trial, run=run)
    assert both.accuracies[0] == first.accuracies[0] and trials.finished(tmp_path) == 3
    before = (tmp_path / "accuracies.json").read_bytes()
    assert trials.measure(trial, run=run) == both
    assert (tmp_path / "accuracies.json").read_bytes() == before
    with pytest.raises(UserError, match="epochs"):
        longer = dataclasses.replace(CONFIG, epochs=5)
        trials.measure(trial._replace(config=longer), run=run)


def test_a_limit_is_the_same_training_stopped(small, test, network):
    """6 images in batches of 4: two steps an epoch. The rate drops after 2 and 3 of 4 epochs."""
    trial = Trial(small, (test,), network, CONFIG)
    two = dataclasses.replace(CONFIG, epochs=2, milestones=())
    stopped = trials.measure(trial._replace(limit=4), run=QUIET)
    assert stopped.accuracies == trials.measure(trial._replace(config=two), run=QUIET).accuracies
    whole = trials.measure(trial, run=QUIET)
    assert trials.measure(trial._replace(limit=99), run=QUIET).accuracies == whole.accuracies
