"""Coresets against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dancejax import coreset, networks, training
from dancejax.errors import UserError
from dancejax.methods.base import ExpertPool
from dancejax.training.experts import Experts, describe, expert_training


def points(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_herding_keeps_the_running_mean_nearest(seed, n, d):
    features = points(seed, n, d)
    order = coreset.herding_order(features, n)
    assert sorted(order) == list(range(n))
    for k in range(n):
        chosen = list(order[:k])
        gaps = {
            i: np.linalg.norm(features[[*chosen, i]].mean(0) - features.mean(0))
            for i in range(n)
            if i not in chosen
        }
        assert gaps[order[k]] <= min(gaps.values()) + 1e-9


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_kcenter_takes_the_farthest_from_all_chosen(seed, n, d):
    features = points(seed, n, d)
    order = coreset.kcenter_order(features, n)
    assert sorted(order) == list(range(n))
    assert order[0] == coreset.herding_order(features, 1)[0]
    for k in range(1, n):
        gaps = {
            i: min(np.linalg.norm(features[i] - c) for c in features[order[:k]])
            for i in range(n)
            if i not in order[:k]
        }
        assert gaps[order[k]] >= max(gaps.values()) - 1e-9


def test_kcenter_of_equal_points_takes_each_once():
    assert sorted(coreset.kcenter_order(np.ones((4, 2)), 4)) == [0, 1, 2, 3]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=8))
def test_forgetting_events_are_right_then_wrong(history):
    """history[e][i]: whether image i was right at its presentation in epoch e."""
    counts = coreset.no_events(4)
    for row in history:
        for half in ([2, 0], [1, 3]):  # batches, in any order
            counts = coreset.count_events(counts, np.array(half), np.array(row)[half])
    for image in range(4):
        own = [row[image] for row in history]
        assert counts.events[image] == sum(a and not b for a, b in itertools.pairwise(own))
        assert counts.learned[image] == any(own)


def test_counting_goes_on_with_what_a_checkpoint_gives_back():
    counts = coreset.Forgetting(*map(jnp.asarray, coreset.no_events(3)))
    counts = coreset.count_events(counts, np.array([0, 2]), np.array([True, True]))
    counts = coreset.count_events(counts, np.array([0, 2]), np.array([True, False]))
    assert counts.events.tolist() == [0, 0, 1]
    assert counts.learned.tolist() == [True, False, True]


def test_most_often_forgotten_come_first_and_never_learned_before_all():
    counts = coreset.Forgetting(
        np.array([1, 0, 1, 1], np.int8), np.array([2, 0, 0, 5]), np.array([True, False, True, True])
    )
    assert coreset.forgetting_order(counts).tolist() == [1, 3, 0, 2]
    assert coreset.forgetting_order(counts, least=True).tolist() == [2, 0, 3, 1]


def test_kmeans_takes_different_samples_near_the_centres():
    rng = np.random.default_rng(0)
    groups = np.concatenate([rng.normal(10 * i, 0.1, (20, 3)) for i in range(3)])
    chosen = coreset.kmeans_order(groups, 3)
    assert sorted(chosen // 20) == [0, 1, 2]
    for index in chosen:
        own = groups[index // 20 * 20 : index // 20 * 20 + 20]
        distances = ((own - own.mean(0)) ** 2).sum(1)
        assert distances[index % 20] <= distances.min() + 1e-6
    assert len(set(coreset.kmeans_order(np.zeros((5, 2)) + np.arange(5)[:, None] * 1e-3, 5))) == 5


def test_random_is_balanced_seeded_and_without_repeats(train):
    chosen = coreset.random_indices(train, 10, seed=4)
    for label, row in enumerate(chosen):
        assert (train.labels[row] == label).all() and len(set(row)) == 10
    np.testing.assert_array_equal(chosen, coreset.random_indices(train, 10, seed=4))
    assert (chosen != coreset.random_indices(train, 10, seed=5)).any()
    everything = coreset.random_indices(train, 30, seed=0)  # more than the 24 there are
    assert all(len(set(row[:24])) == 24 for row in everything)


def test_random_set_holds_the_real_pixels(train):
    made = coreset.random(train, 3, seed=1)
    assert (made.method, made.factor, made.ipc) == ("random", 1, 3)
    index = coreset.random_indices(train, 3, seed=1).reshape(-1)
    np.testing.assert_array_equal(made.images, train.images[index].astype(np.float32) / 255)
    np.testing.assert_array_equal(made.labels, np.repeat([0, 1, 2], 3))


@pytest.mark.parametrize("method", ["herding", "kcenter", "kmeans"])
def test_by_features_orders_each_class_on_its_own(method, train, network):
    variables = networks.init(network, jax.random.key(0), train.image_shape)
    stacked = jax.tree.map(lambda x: x[None], variables)
    about = describe(train, network, expert_training(28), 0, 0)
    means = coreset.Means(experts=Experts(ExpertPool(stacked, stacked), network, about))
    made = coreset.choose(method, train, 4, means=means)
    _, features = training.predict(variables, training.train_data(train), network=network)
    order = getattr(coreset, f"{method}_order")
    for label in range(3):
        own = np.flatnonzero(train.labels == label)
        taken = own[order(np.asarray(features)[own], 4)]
        expected = train.images[taken].astype(np.float32) / 255
        np.testing.assert_array_equal(made.images[made.labels == label], expected)


def test_forgetting_chooses_from_each_class(train, network):
    config = training.TrainConfig(epochs=3, batch_size=16, cutmix=0.0)
    means = coreset.Means(network=network, config=config)
    made = coreset.choose("forgetting", train, 5, means=means)
    again = coreset.choose("forgetting", train, 5, means=means)
    np.testing.assert_array_equal(made.images, again.images)
    np.testing.assert_array_equal(made.labels, np.repeat([0, 1, 2], 5))
    assert len(np.unique(made.images.reshape(15, -1), axis=0)) == 15
    least = coreset.choose("forgetting_least", train, 5, means=means)
    assert (made.method, least.method) == ("forgetting", "forgetting_least")
    assert not np.array_equal(made.images, least.images)


def test_ipc_is_checked(train, network):
    with pytest.raises(UserError, match="ipc"):
        coreset.random(train, 0)
    with pytest.raises(UserError, match="24 images"):
        coreset.random(train, 25)
    with pytest.raises(UserError, match="'best'"):
        coreset.choose("best", train, 1)
    for name in ("herding", "forgetting"):
        with pytest.raises(UserError, match="network"):
            coreset.choose(name, train, 1)


def test_a_new_coreset_is_a_function_and_a_line(train, monkeypatch):
    def last(dataset, ipc, seed, means):
        found = [np.flatnonzero(dataset.labels == c)[-ipc:] for c in range(dataset.num_classes)]
        return coreset.from_indices(dataset, np.stack(found), "last", {"ipc": ipc})

    monkeypatch.setitem(coreset.CORESETS, "last", coreset.Coreset(last))
    made = coreset.choose("last", train, 2)
    own = np.flatnonzero(train.labels == 0)[-2:]
    np.testing.assert_array_equal(made.images[:2], train.images[own].astype(np.float32) / 255)
