"""Plans that fill a time."""

import dataclasses

import numpy as np
import pytest

from dancejax.applications import budget
from dancejax.applications.plan import Estimate, Plan
from dancejax.errors import UserError

USUAL = Plan(width=8, batch_real=8, experts=3, expert_epochs=10, steps=300, epochs=100, repeats=3)
TAKES = Estimate(experts=60.0, condensation=90.0, evaluation=30.0, setup=30.0, step_memory_mb=1.0)
MOST = {"expert_epochs": 60, "steps": 10_000, "epochs": 1500}


def fit(seconds, given=(), most=MOST):
    return budget.fit(USUAL, TAKES, seconds, most=most, given=set(given))


def ratio_of(seconds, in_proportion, by_root):
    """The ratio at which costs in proportion to it and to its root take a time; some percent are
    what whole epochs of experts leave to the others."""
    root = np.sqrt(by_root**2 + 4 * in_proportion * seconds) - by_root
    return (root / (2 * in_proportion)) ** 2


def total(found):
    return found.estimate.seconds + found.estimate.evaluation


@pytest.mark.parametrize("seconds", [100, 300, 900])
def test_everything_grows_with_one_ratio(seconds):
    """Of which the evaluation follows by a root, so that a short job, too, trains its networks."""
    found = fit(seconds)
    ratio = ratio_of(0.9 * seconds - 30, 150, 60)
    assert found.plan.steps == pytest.approx(300 * ratio, rel=0.04)
    assert found.plan.expert_epochs == pytest.approx(10 * ratio, abs=1)
    assert found.plan.epochs == pytest.approx(100 * ratio**0.5, rel=0.04)
    assert 0.8 * seconds < total(found) <= 0.9 * seconds + 1e-6
    unchanged = dataclasses.replace(found.plan, steps=300, expert_epochs=10, epochs=100)
    assert unchanged == USUAL


def test_the_time_of_the_usual_plan_leaves_it_as_it_is():
    found = fit((TAKES.seconds + TAKES.evaluation) / budget.PLANNED + 1e-6)
    assert found.plan == USUAL and found.estimate == TAKES


def test_what_reaches_its_most_leaves_its_time_to_the_others():
    found = fit(1500, most={**MOST, "expert_epochs": 20})
    assert found.plan.expert_epochs == 20 and found.estimate.experts == pytest.approx(120)
    ratio = ratio_of(1350 - 30 - 120, 90, 60)
    assert found.plan.steps == pytest.approx(300 * ratio, rel=0.04)
    assert found.plan.epochs == pytest.approx(100 * ratio**0.5, rel=0.04)
    everything = fit(1e7)
    assert (everything.plan.expert_epochs, everything.plan.steps) == (60, 10_000)
    assert everything.plan.epochs == 1500 and total(everything) < 1e7


def test_what_is_given_stays():
    found = fit(300, given=["steps"])
    assert found.plan.steps == 300 and found.estimate.condensation == 90
    ratio = ratio_of(270 - 30 - 90, 60, 60)
    assert found.plan.epochs == pytest.approx(100 * ratio**0.5, rel=0.04)
    assert found.plan.expert_epochs == pytest.approx(10 * ratio, abs=1)


def test_too_few_minutes_leave_the_least():
    found = fit(10)
    assert {name: getattr(found.plan, name) for name in budget.LEAST} == budget.LEAST
    assert total(found) > 10


def test_a_plan_is_kept_for_the_same_job(tmp_path):
    about = {"minutes": 5.0, "dataset": "f"}
    assert budget.read(tmp_path, about) is None
    budget.write(tmp_path, about, USUAL)
    assert budget.read(tmp_path, about) == USUAL
    assert budget.read(tmp_path, {**about, "minutes": 6.0}) is None
    text = (tmp_path / budget.FILE).read_text().replace("300", "301")
    (tmp_path / budget.FILE).write_text(text)
    with pytest.raises(UserError):
        budget.read(tmp_path, about)
