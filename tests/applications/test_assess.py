"""What a set records of its evaluation, and how it is evaluated where less is said."""

import dataclasses

import pytest

from dancejax import condensed, coreset
from dancejax.applications import assess
from dancejax.applications.settings import EvaluationSettings, NetworkSettings

GIVEN = EvaluationSettings(
    protocol="dance", epochs=7, batch_size=9, learning_rate=0.02, draw="image", repeats=2
)


@pytest.fixture(scope="module")
def made(train, test, network):
    chosen = coreset.random(train, 2)
    return assess.record(assess.Tested(chosen, test, network), GIVEN)


def test_a_record_is_how_a_set_is_evaluated(made):
    found = assess.recorded(EvaluationSettings(), made)
    assert dataclasses.replace(found, test_points=5) == GIVEN
    assert assess.recorded(EvaluationSettings(epochs=3), made).epochs == 3


def test_a_protocol_on_soft_labels_is_the_same_otherwise(made):
    found = assess.recorded(EvaluationSettings(protocol="dance_soft"), made)
    assert found == dataclasses.replace(GIVEN, protocol="dance_soft")


def test_another_protocol_trains_as_it_says(made, test):
    asked = EvaluationSettings(protocol="ncfm", batch_size=8)
    found = assess.recorded(asked, made)
    assert found == dataclasses.replace(asked, repeats=2)
    assert found.training("", test) == asked.training("", test)


@pytest.mark.parametrize("place", ["", "kept"])
def test_kept_sets_are_evaluated_as_the_runs_set(made, network, tmp_path, place):
    early = dataclasses.replace(made, settings={"ipc": 2})
    condensed.save(early, tmp_path / "kept" / "step_000001")
    assert assess.kept_sets(tmp_path / place)[1].settings == {"ipc": 2}
    condensed.save(made, tmp_path / "condensed")
    (found,) = assess.kept_sets(tmp_path / place).values()
    assert assess.recorded(EvaluationSettings(), found) == GIVEN
    assert assess.network_of(NetworkSettings(), found).create(found) == network
