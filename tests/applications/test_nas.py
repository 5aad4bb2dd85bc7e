"""Architecture search in a process."""

import json

import pytest

from dancejax import coreset
from dancejax.applications import nas, trials
from dancejax.applications.nas import Settings
from dancejax.applications.settings import EvaluationSettings, Splits
from dancejax.errors import UserError
from dancejax.runs import QUIET, Run

from ..conftest import compiling


@pytest.fixture(scope="module")
def settings(train, test):
    sets = {"mine": coreset.random(train, 4, seed=5)}
    how = EvaluationSettings("dm", epochs=2, batch_size=8, repeats=1)
    return Settings(
        Splits(train, test), "depth=1 width=2,4", sets, ipc=3, whole_epochs=1, validation=0.25,
        training=how,
    )  # fmt: skip


@pytest.fixture(scope="module")
def searched(settings, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("nas"), progress=False)
    with compiling("train_step") as compiled:
        found = nas.search(settings, run=run)
    return run, found, compiled


@pytest.mark.slow
def test_networks_compile_once_for_proxies_of_any_size_and_once_for_images_as_bytes(searched):
    assert len(searched[2]) == 2 * 2


def test_the_chosen_are_trained_on_the_whole_set_and_no_other(searched, train, test):
    run, found, _ = searched
    assert [proxy.name for proxy in found.proxies] == ["random", "mine", "early_stopping"]
    assert set(found.test) == {found.choice(proxy).network for proxy in found.proxies}
    stored = json.loads((run.folder / "result.json").read_text())
    assert stored["test"] == dict(found.test)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["mine"] for line in lines] == list(found.validation["mine"])


def test_validation_images_are_training_images_that_no_proxy_trains_on(settings, train):
    job = nas.prepare(settings, run=Run("unused", progress=False))
    parts = [{image.tobytes() for image in part.images} for part in (job.train, job.validation)]
    assert parts[0].isdisjoint(parts[1])
    assert parts[0] | parts[1] == {image.tobytes() for image in train.images}
    assert job.early_steps == 2 * 2  # two epochs of 9 images in batches of 8


def test_nothing_is_trained_twice_and_more_may_be_asked_for(searched, settings, monkeypatch):
    run, found, _ = searched
    monkeypatch.setattr(trials.loop, "train", lambda *_: pytest.fail("trained again"))
    assert nas.search(settings, run=run) == found


def test_searches_that_cannot_be_are_refused(settings, train, test):
    source = Splits(train, test)
    for changes, noun in [
        ({"coresets": ()}, "proxy"),
        ({"coresets": ["best"]}, "coreset"),
        ({"share": 2.0}, "share"),
        ({"sets": {"random": settings.sets["mine"]}}, "random"),
    ]:
        with pytest.raises(UserError, match=noun):
            Settings(source, "depth=1", **{"early_stopping": False, **changes})
    with pytest.raises(UserError, match="images"):
        nas.prepare(Settings(source, "depth=1", ipc=999), run=Run("unused"))
    with pytest.raises(UserError, match="folder"):
        nas.prepare(settings, run=QUIET)
