"""Pools: extended, resumed, checked."""

import json
import os
import signal

import chex
import jax
import numpy as np
import pytest

from dancejax import keys, networks, runs, training
from dancejax.errors import UserError
from dancejax.runs import Run, backend, integrity
from dancejax.training import expert_tests, experts


def config(**options):
    return experts.expert_training(28, **{"epochs": 4, "batch_size": 16, **options})


def train_pool(folder, train, network, count=2, **options):
    options = {"config": config(), "run": Run(folder, progress=False), **options}
    return experts.train_pool(train, network, options.pop("config"), count=count, **options)


def test_experts_learn_and_start_where_they_say(tmp_path, train, test, network):
    train_pool(tmp_path, train, network, config=config(epochs=12))
    told = expert_tests.test_pool(tmp_path, test, network, count=2)
    found = experts.load_pool(tmp_path, dataset=train)
    pool = found.pool
    assert found.network == network
    data = training.train_data(test)
    correct = training.correct(pool.final, data, network=network)
    for n in range(2):
        first = jax.tree.map(lambda x, n=n: x[n], pool.init)
        assert told[n].tolist() == correct[n].tolist()
        assert told[n].sum() / len(test) > 0.6
        key, _ = jax.random.split(keys.member(0, keys.EXPERTS, n))
        expected = networks.init(network, key, train.image_shape)
        chex.assert_trees_all_close(first, expected, atol=1e-7)


def test_what_experts_get_right_is_counted_once_for_each_test_set(tmp_path, monkeypatch, train,
                                                                  test, network):  # fmt: skip
    train_pool(tmp_path, train, network, count=1)
    counted = []
    count = training.correct_in_parts
    monkeypatch.setattr(
        training, "correct_in_parts",
        lambda *args, **kwargs: counted.append(kwargs) or count(*args, **kwargs),
    )  # fmt: skip
    one = expert_tests.test_pool(tmp_path, test, network, count=1)
    np.testing.assert_array_equal(one, expert_tests.test_pool(tmp_path, test, network, count=1))
    assert len(counted) == 1
    _, half = test.split(0.5)
    of_half = expert_tests.test_pool(tmp_path, half, network, count=1)
    final = experts.load_pool(tmp_path).pool.final
    wanted = training.correct(final, training.train_data(half), network=network)
    np.testing.assert_array_equal(of_half, wanted)
    assert len(counted) == 2
    train_pool(tmp_path, train, network, count=2)
    both = expert_tests.test_pool(tmp_path, test, network, count=2)
    assert len(counted) == 3 and both[0].tolist() == one[0].tolist()
    foreign = integrity.seal({"pool": "another", "correct": {test.fingerprint: [[0] * 3] * 2}})
    for bad in ("{", json.dumps(foreign)):
        (tmp_path / "tests.json").write_text(bad)
        again = expert_tests.test_pool(tmp_path, test, network, count=2)
        np.testing.assert_array_equal(both, again)
    assert len(counted) == 5
    with pytest.raises(UserError, match="experts"):
        expert_tests.test_pool(tmp_path, test, network, count=3)


def test_extended_pool_keeps_its_experts(tmp_path, train, network):
    train_pool(tmp_path / "a", train, network, count=1)
    one = experts.load_pool(tmp_path / "a").pool
    train_pool(tmp_path / "a", train, network, count=2)
    train_pool(tmp_path / "b", train, network, count=2)
    two, fresh = (experts.load_pool(tmp_path / name).pool for name in "ab")
    chex.assert_trees_all_equal(two, fresh)
    chex.assert_trees_all_equal(one, jax.tree.map(lambda x: x[:1], two))
    chex.assert_trees_all_equal(one, experts.load_pool(tmp_path / "b", count=1).pool)


def test_interrupted_training_ends_in_the_same_bytes(tmp_path, monkeypatch, train, network):
    train_pool(tmp_path / "whole", train, network, snapshots=1)
    write, seen = runs.MetricsLog.write, []

    def counted(self, *args, **values):
        write(self, *args, **values)
        seen.append(1)
        if len(seen) == 6:  # in the middle of the second expert
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(runs.MetricsLog, "write", counted)
        with pytest.raises(runs.Interrupted):
            train_pool(tmp_path / "cut", train, network, snapshots=1)
    assert sorted(p.name for p in (tmp_path / "cut").glob("expert_*")) == ["expert_00000"]
    train_pool(tmp_path / "cut", train, network, snapshots=1)
    assert not (tmp_path / "cut" / "training").exists()
    for member in (0, 1):
        chex.assert_trees_all_equal(
            *(experts.load_trajectory(tmp_path / name, member) for name in ("whole", "cut"))
        )
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_trajectory_runs_from_the_first_to_the_last(tmp_path, train, network):
    train_pool(tmp_path, train, network, count=1, snapshots=3)
    path = experts.load_trajectory(tmp_path, 0)
    pool = experts.load_pool(tmp_path).pool
    assert jax.tree.leaves(path)[0].shape[0] == 5
    for tree, index in ((pool.init, 0), (pool.final, -1)):
        chex.assert_trees_all_equal(
            jax.tree.map(lambda x: x[0], tree), jax.tree.map(lambda x, i=index: x[i], path)
        )
    flat = np.concatenate([np.asarray(x).reshape(5, -1) for x in jax.tree.leaves(path)], 1)
    moved = np.linalg.norm(flat - flat[0], axis=1)
    assert (np.diff(moved) > 0).all()  # away from the start, epoch by epoch


@pytest.mark.slow
def test_side_by_side_as_on_accelerators_gives_the_same_experts(
    tmp_path, monkeypatch, train, network
):
    train_pool(tmp_path / "alone", train, network, snapshots=1)
    monkeypatch.setattr(backend, "networks_per_call", lambda count, bytes_each=0: count)
    train_pool(tmp_path / "together", train, network, snapshots=1)
    for member in (0, 1):
        chex.assert_trees_all_close(
            *(experts.load_trajectory(tmp_path / n, member) for n in ("alone", "together")),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip


def test_pools_of_other_settings_and_data_are_refused(tmp_path, train, test, network):
    train_pool(tmp_path, train, network, count=1)
    with pytest.raises(UserError, match=r"training.learning_rate"):
        train_pool(tmp_path, train, network, config=config(learning_rate=0.1))
    with pytest.raises(UserError, match="seed is 0 there, 7 here"):
        train_pool(tmp_path, train, network, seed=7)
    with pytest.raises(UserError, match="fashion_mnist_mini"):
        experts.load_pool(tmp_path, dataset=test)
    with pytest.raises(UserError, match="1 finished"):
        experts.load_pool(tmp_path, count=3)
    with pytest.raises(UserError, match=r"there is no .*pool.json"):
        experts.load_pool(tmp_path / "nowhere")
    with pytest.raises(UserError, match="experts"):
        train_pool(tmp_path, train, network, count=0)
    with pytest.raises(UserError, match="snapshots"):
        train_pool(tmp_path / "new", train, network, snapshots=4)


def test_damaged_experts_are_noticed(tmp_path, train, network):
    train_pool(tmp_path, train, network, count=1)
    largest = max((tmp_path / "expert_00000").rglob("*"), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 4
    largest.write_bytes(bytes(data))
    with pytest.raises(UserError, match="is damaged"):
        experts.load_pool(tmp_path)
    about = tmp_path / "pool.json"
    about.write_text(about.read_text().replace('"width": 8', '"width": 9'))
    with pytest.raises(UserError, match=r"pool\.json"):
        experts.load_pool(tmp_path)


def test_diverging_training_is_said(tmp_path, train, network):
    with pytest.raises(UserError, match="network 0"):
        train_pool(tmp_path, train, network, config=config(learning_rate=1e30))


def test_experts_in_memory_are_those_in_a_folder(tmp_path, train, network):
    kept = experts.train_experts(network, train, count=2, config=config(), run=tmp_path / "pool")
    free = experts.train_experts(network, train, count=2, config=config())
    chex.assert_trees_all_equal(kept.pool, free.pool)
    assert kept.description == integrity.plain(free.description) and kept.count == free.count == 2
    with pytest.raises(UserError, match="folder"):
        experts.train_pool(train, network, config(), count=1, run=Run())
