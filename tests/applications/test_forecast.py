"""What parts will take: closed forms of their loads, of schedules, and the words."""

from pathlib import Path

import numpy as np
import pytest

from dancejax import coreset, networks
from dancejax.applications import continual, cross, forecast, grid, loads, nas
from dancejax.applications.forecast import Expected, Load, Machine
from dancejax.applications.settings import (
    DataSettings,
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Splits,
)
from dancejax.runs import Run
from dancejax.runs.jobs import Job

SMALL = NetworkSettings("convnet", {"width": 4, "depth": 2})
QUIET = Run("unused", progress=False)


def part(name, seconds, *after):
    return Expected(Job(name, Path(name), ("x",), "row.json", after), seconds)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 15), (2, 10), (3, 9), (None, 9)])
def test_parts_wait_for_what_they_need_and_for_a_place(workers, seconds):
    parts = [part("experts", 4), part("a", 5, "experts"), part("b", 2, "experts"), part("c", 4)]
    assert forecast.elapsed(parts, workers) == seconds


def test_finished_parts_take_no_time_and_no_place():
    parts = [part("experts", 0), part("a", 5, "experts"), part("b", 0), part("c", 3)]
    assert forecast.elapsed(parts, 1) == 8 and forecast.elapsed(parts, 2) == 5
    assert forecast.elapsed([], 2) == 0


def test_operations_are_those_of_convolutions_and_layers(train):
    network = SMALL.create(train)
    passed = forecast.Load(network, train.image_shape, 1).operations
    h, w, channels = train.image_shape
    multiplied = 9 * h * w * channels * 4 + 9 * (h // 2) * (w // 2) * 4 * 4
    assert 2 * multiplied < passed < 6 * multiplied  # norms and pooling of few channels weigh much
    assert Load(network, train.image_shape, 2.5).operations == 2.5 * passed
    assert Machine(2, "cpu", 4 * passed).seconds([Load(network, (h, w, channels), 8)] * 3) == 6


def passes(found):
    return {name: sum(load.passes for load in own) for name, own in found.items()}


def test_loads_of_a_grid(train, test):
    how = EvaluationSettings("dm", epochs=5, batch_size=8, repeats=2, test_points=3)
    settings = grid.Settings(
        Splits(train, test), ["dm", "dance", "random", "herding"], ipcs=[2], steps=7, network=SMALL,
        config={"batch_real": 8, "factor": 2}, evaluation=how,
        experts=ExpertSettings(count=3, epochs=4),
    )  # fmt: skip
    found = passes(loads.of_grid(grid.open_grid(settings, settings.cells(), run=QUIET)))
    classes = train.num_classes

    def evaluated(factor):
        return 2 * (3 * 5 * 2 * factor**2 * classes + 3 * len(test))

    assert found == {
        "experts": 3 * 4 * 3 * len(train),
        "dm-ipc2-seed0": 7 * (8 + 3 * 8) * classes + evaluated(2),
        "dance-ipc2-seed0": 7 * (8 + 6 * 8) * classes + evaluated(2),
        "random-ipc2-seed0": evaluated(1),
        "herding-ipc2-seed0": len(train) + evaluated(1),
    }


def test_loads_of_a_search(train, test):
    how = EvaluationSettings("dm", epochs=2, batch_size=8, repeats=1)
    settings = nas.Settings(
        Splits(train, test), "depth=1 width=2,4", ipc=2, whole_epochs=3, validation=0.25,
        training=how,
    )  # fmt: skip
    job = nas.prepare(settings, run=QUIET)
    found = passes(loads.of_nas(job))
    names = ["convnet-depth=1-width=2", "convnet-depth=1-width=4"]
    assert [*found] == [nas.PROXIES, *names, nas.CHOSEN]
    trained = 3 * 2 * 2 * train.num_classes + 3 * job.early_steps * 8
    assert found[names[0]] == found[names[1]] == trained + 2 * len(job.validation)
    assert found[nas.PROXIES] == 0
    assert found[nas.CHOSEN] == 2 * 3 * 3 * len(job.train)  # two proxies, a network each


def test_loads_of_continual_learning(train, test):
    how = EvaluationSettings("gdumb", epochs=2, batch_size=8, repeats=3)
    settings = continual.Settings(
        Splits(train, test), ["dm", "random"], steps=3, orders=1, ipc=2, iterations=7,
        config={"batch_real": 8}, network=SMALL, training=how, whole_epochs=4,
    )  # fmt: skip
    found = passes(loads.of_continual(continual.prepare(settings, run=QUIET)))
    shares = np.arange(1, 4) / 3
    tested, classes = shares.sum() * len(test), train.num_classes
    condensed = 7 * (8 + 3 * 2) * classes
    stored = 3 * (3 * 2 * 2 * classes * shares.sum() + tested)
    assert found["order-0-random"] == pytest.approx(stored)
    assert found["order-0-dm"] == pytest.approx(condensed + stored)
    whole = 3 * (3 * 4 * len(train) * shares.sum() + tested)
    assert found["order-0-whole"] == pytest.approx(whole)


def test_loads_of_a_table(train, test, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(
        path, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels
    )
    data = DataSettings(str(path))
    own = coreset.random(data.load("train"), 2)
    how = EvaluationSettings("dm", epochs=5, repeats=2, test_points=3)
    texts = ["convnet:width=2:depth=1", "convnet:width=4:depth=1"]
    job = cross.prepare(cross.Settings({"a": own}, texts, data, evaluation=how), run=QUIET)
    found = loads.of_cross(job)
    expected = 2 * (3 * 5 * 2 * train.num_classes + 3 * len(test))
    assert [*passes(found).values()] == [expected] * 2
    first, second = (sum(load.operations for load in own) for own in found.values())
    assert first < second


def test_the_words_have_the_sums():
    found = [part("a", 3600.0), part("b", 7200.0, "a"), part("c", 0.0), part("d|e", 7200.0)]
    machine = Machine(2, "cpu", 1.0)
    text = forecast.table(found, machine, local=False, workers=2)
    assert "| b | 2 h 0 min |" in text and "| c |" not in text and "d\\|e" in text
    assert "4 parts, 1 finished; the rest is 5 h 0 min of 2 x cpu, 10 device hours" in text
    assert "2 at a time, which have 2 x cpu each: 3 h 0 min." in text
    shared = forecast.table(found, machine, local=True, workers=2)
    assert "2 at a time, which share 2 x cpu: 6 h 0 min." in shared
    assert "all that can run at a time" in forecast.table(found, machine, local=False, workers=None)
    many = [part(f"p{n}", 60.0 + n) for n in range(100)]
    text = forecast.table(many, machine, local=True, workers=1)
    assert text.count("\n| p") == forecast.LINES and "| 60 others | " in text and "| p99 |" in text


def test_nothing_is_timed_where_all_is_finished(monkeypatch):
    monkeypatch.setattr(forecast, "measure", lambda *_: pytest.fail("timed"))
    parts = [part("a", 0).job]
    machine, found = forecast.expect(parts, {"a": True}, {"a": []}, None)
    assert machine is None and found == [Expected(parts[0], 0.0)]
    assert forecast.table(found, None, local=True, workers=1) == "1 part, 1 finished"


def test_a_gradient_is_timed_on_as_many_devices_as_a_part_has(train):
    load = Load(networks.create("convnet", 3, train.image_shape, width=2, depth=1),
                train.image_shape, 1)  # fmt: skip
    found = forecast.measure(load, 1)
    assert found.devices == 1 and found.kind == "cpu" and 1e5 < found.speed < 1e13
