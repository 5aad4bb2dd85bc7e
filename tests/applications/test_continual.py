"""Class-incremental learning in a process: parts by themselves, and what goes on."""

import json

import pytest

from dancejax.applications import continual, trials
from dancejax.applications.continual import Part, Settings
from dancejax.applications.settings import EvaluationSettings, NetworkSettings, Splits
from dancejax.errors import UserError
from dancejax.runs import Run
from dancejax.training import protocols


@pytest.fixture(scope="module")
def settings(train, test):
    training = EvaluationSettings("gdumb", epochs=2, repeats=1)
    network = NetworkSettings(options={"width": 4, "depth": 2})
    source = Splits(train, test)
    return Settings(source, ["random"], 2, 1, ipc=2, network=network, training=training)


@pytest.fixture(scope="module")
def learnt(settings, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("continual"), progress=False)
    return run, continual.learn(settings, run=run)


@pytest.mark.slow
def test_nothing_is_trained_twice(learnt, settings, monkeypatch):
    run, result = learnt
    monkeypatch.setattr(trials.loop, "train", lambda *_: pytest.fail("trained again"))
    assert continual.learn(settings, run=run) == result
    assert json.loads((run.folder / "result.json").read_text())["steps"] == 2


def test_a_part_by_itself_is_that_of_the_whole(learnt, settings, tmp_path):
    _, result = learnt
    job = continual.prepare(settings, run=Run(tmp_path, progress=False))
    assert continual.carry_out(job, Part("random", 0)) == result.courses[0]
    assert [path.name for path in tmp_path.iterdir()] == ["order-0"]
    assert result.courses[0].images == (4, 6) and result.courses[0].tests == (40, 20)


def test_a_memory_made_otherwise_is_refused(learnt, train, test, settings):
    run, _ = learnt
    other = Settings(
        settings.source, ["random"], 2, 1, ipc=3, network=settings.network,
        training=settings.training,
    )  # fmt: skip
    with pytest.raises(UserError, match="ipc"):
        continual.prepare(other, run=run)


def test_unknown_methods_are_refused(train, test):
    with pytest.raises(UserError, match="method"):
        Settings(Splits(train, test), ["best"])


def test_gdumb_trains_as_dm_in_batches_of_256_at_any_size():
    assert protocols.protocol("gdumb", "cifar100") == protocols.protocol("dm", "cifar100")
    large = protocols.protocol("gdumb", "imagenette", side=128)
    assert (large.epochs, large.batch_size, large.learning_rate) == (1000, 256, 0.01)
