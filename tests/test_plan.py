"""What is chosen for a data set, and that estimates are of the run that follows."""

import dataclasses

import numpy as np
import pytest

from dancejax import methods
from dancejax.applications import plan
from dancejax.runs import backend
from dancejax.training import experts, protocols


def sized(dataset, count):
    """The data set with `count` images of each class, repeated."""
    index = np.concatenate(
        [np.resize(np.flatnonzero(dataset.labels == c), count) for c in range(3)]
    )
    return dataclasses.replace(dataset, images=dataset.images[index], labels=dataset.labels[index])


def test_on_cpu_the_work_is_bounded_whatever_the_size(train):
    for count in (20, 500, 5000):
        dataset = sized(train, count)
        for ipc in (1, 10, 50):
            chosen = plan.choose(dataset, ipc, 2)
            assert 3 <= chosen.expert_epochs <= 60 and 20 <= chosen.epochs <= 300
            assert chosen.batch_real == min(64, count)
            seen = chosen.expert_epochs * len(dataset)
            assert seen <= 150_000 or chosen.expert_epochs == 3
    assert plan.choose(sized(train, 20), 1, 2).expert_epochs == 60


def test_accelerators_get_the_papers_settings(train, monkeypatch):
    monkeypatch.setattr(backend, "is_cpu", lambda: False)
    chosen = plan.choose(sized(train, 2000), 10, 2)
    assert (chosen.width, chosen.batch_real, chosen.experts, chosen.steps) == (128, 128, 5, 10_000)
    assert chosen.expert_epochs == 60
    assert plan.image_size([(200, 300), (90, 400), (300, 250)]) == 128
    assert plan.image_size([(70, 80), (80, 70)]) == 64


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(28, 28)] * 5, None),
        ([(64, 48)] * 5, None),
        ([(65, 40)] * 5, 32),
        ([(40, 36), (41, 36)], 32),
    ],
)
def test_image_size_on_cpu(sizes, side):
    assert plan.image_size(sizes) == side


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("cifar10", True),
        ("imagenette", True),
        ("tiny-imagenet-200", True),
        ("photos", False),
        ("images", False),
        ("fashion_mnist_mini", False),
    ],
)
def test_the_papers_data_sets_are_known(name, known):
    assert plan.published(name) is known


@pytest.mark.slow
def test_estimates_count_every_part(train, network):
    method = methods.create("dance", network=network, batch_real=8)
    work = plan.Work(
        method,
        train,
        network,
        ipc=1,
        steps=10,
        expert_training=experts.expert_training(28, epochs=2),
        expert_count=2,
        evaluation=protocols.protocol("dance", train.name, epochs=5),
        repeats=2,
    )
    found = plan.estimate(work)
    assert min(found.experts, found.condensation, found.evaluation, found.step_memory_mb) > 0
    parts = (found.experts, found.condensation, found.evaluation, found.setup)
    assert found.seconds == pytest.approx(sum(parts)) and found.setup > 1
    less = plan.estimate(dataclasses.replace(work, steps=0, expert_count=0, repeats=0))
    assert less.seconds == less.setup


def test_a_plan_is_for_the_settings_that_a_method_has(train):
    chosen = plan.choose(train, 1, 2)
    assert plan.method_settings("dm", chosen) == {"batch_real": 24}
    idm = {"batch_real": 24, "train_batch": 24, "queue_size": 20}
    assert plan.method_settings("idm", chosen) == idm


def test_long_steps_are_foreseen_from_their_arithmetic(train, network, monkeypatch):
    """In proportion to the images of the setting that most of the time goes to."""
    monkeypatch.setattr(backend, "matmul_speed", lambda: 1e9)

    def foreseen(**options):
        method = methods.create("idm", network=network, train_batch=8, **options)
        return plan.step_seconds(method, train, network, 1)

    seconds, flag = foreseen(batch_real=4000)
    twice, _ = foreseen(batch_real=8000)
    assert flag == "batch_real"
    assert twice / seconds == pytest.approx(2, rel=0.1)
    _, flag = foreseen(batch_real=1, train_steps=5000)
    assert flag == "train_batch"
