"""TGDD: which snapshots an iteration sees, its step, and where the trajectories live."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import condensation, methods, networks, runs
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.runs import backend
from dancejax.training import experts

SMALL = {"batch_real": 8, "factor": 1}


def visited(method, count=2, snapshots=5, steps=3000):
    """Which snapshots many iterations use: experts [steps, 2], epochs [steps, 2]."""
    key = jax.random.key(1)
    each = jax.vmap(lambda step: method.visits(key, step, count, snapshots))
    return jax.tree.map(np.asarray, each(jnp.arange(steps)))


@pytest.mark.parametrize(("interval", "reach"), [(1, 0), (2, 1), (7, 4), (0, 4)])
def test_the_later_snapshot_follows_within_the_interval(interval, reach, network):
    found = visited(methods.create("tgdd", network, epoch_interval=interval))
    first, second = found.epochs.T
    np.testing.assert_array_equal(found.experts[:, 0], found.experts[:, 1])
    assert set(found.experts[:, 0]) == {0, 1} and set(first) == set(range(5))
    for t in range(5):
        assert set(second[first == t]) == set(range(t, min(t + reach, 4) + 1))


def test_experts_epochs_and_what_follows_are_uniform(network):
    found = visited(methods.create("tgdd", network, epoch_interval=2), steps=6000)
    shares = [np.bincount(x) / len(x) for x in (found.experts[:, 0], found.epochs[:, 0])]
    np.testing.assert_allclose(shares[0], 1 / 2, atol=0.03)
    np.testing.assert_allclose(shares[1], 1 / 5, atol=0.03)
    first, second = found.epochs.T
    assert np.mean(second[first == 2] == 3) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("alpha", [pytest.param(0.0, marks=pytest.mark.slow), 2.5])
def test_the_step_is_one_of_both_losses(alpha, train, smooth, trained):
    """DM's distance under the earlier snapshot, the later one's cross-entropy, one update."""
    method = methods.create(
        "tgdd", smooth, **SMALL, alpha=alpha, augmentation="", update_order="joint",
        learning_rate=0.3,
    )  # fmt: skip
    method, state, context = condensation.start(method, train, ipc=2, experts=trained, seed=4)
    which = method.visits(state.key, state.step, 2, 4)
    matched, later = (
        jax.tree.map(lambda x, i=i: x[which.experts[i], which.epochs[i]], trained.trajectories)
        for i in (0, 1)
    )
    k_real, _ = jax.random.split(state.key)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(own, label):
        real = sampling.class_batch(k_real, 0, context.real, jnp.array([label]), 8)[0]
        real, syn = (sampling.normalise(x, context.mean, context.std) for x in (real, own))
        means = [networks.features(smooth, matched, images).mean(0) for images in (real, syn)]
        logits, _ = networks.forward(smooth, later, syn)
        entropy = -jnp.mean(jax.nn.log_softmax(logits)[:, label])
        distance = jnp.sum((means[0] - means[1]) ** 2)
        return distance + alpha * entropy, (distance, entropy)

    pairs = [gradient(own, label) for label, own in enumerate(state.pixels)]
    after, metrics = jax.jit(method.update)(state, context)
    grads = jnp.stack([grad for grad, _ in pairs])
    np.testing.assert_allclose(after.pixels, state.pixels - 0.3 * grads, rtol=1e-4, atol=1e-5)
    for name, position in (("matching", 0), ("cross_entropy", 1)):
        expected = [values[position] for _, values in pairs]
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-4, atol=1e-6)


def test_trajectories_on_the_host_give_the_same_bytes(
    monkeypatch, tmp_path, train, network, trained
):
    """Those larger than their share of the device are sent step by step; a stop changes nothing."""

    def condense(steps, **about):
        method = methods.create("tgdd", network, batch_real=8, augmentation="")
        run = runs.Run(progress=False, **about)
        return condensation.condense(method, train, ipc=2, steps=steps, experts=trained, run=run)

    whole = condense(6)
    monkeypatch.setattr(backend, "trajectory_budget", lambda: 0)
    method = methods.create("tgdd", network, batch_real=8)
    _, _, context = condensation.start(method, train, ipc=2, experts=trained)
    assert isinstance(jax.tree.leaves(context.trajectories)[0], np.ndarray)
    condense(3, folder=tmp_path)
    streamed = condense(6, folder=tmp_path)
    np.testing.assert_array_equal(whole.images, streamed.images)


def test_trajectories_are_the_experts_of_every_epoch(train, network, trained, pool_folder):
    leaf = jax.tree.leaves(trained.trajectories)[0]
    assert leaf.shape[:2] == (2, 4)
    for end, place in ((trained.pool.init, 0), (trained.pool.final, -1)):
        own = jax.tree.map(lambda x, place=place: x[:, place], trained.trajectories)
        chex.assert_trees_all_equal(own, end)
    config = experts.expert_training(28, epochs=3, batch_size=16)
    memory = experts.train_experts(network, train, count=2, config=config, trajectories=True)
    chex.assert_trees_all_close(memory.trajectories, trained.trajectories, rtol=1e-4, atol=1e-5)
    second = experts.load_trajectory(pool_folder, 1)
    chex.assert_trees_all_equal(second, jax.tree.map(lambda x: x[1], trained.trajectories))


def test_experts_without_every_epoch_are_refused(tmp_path, train, network, trained):
    method = methods.create("tgdd", network, **SMALL)
    with pytest.raises(UserError, match="every epoch"):
        condensation.start(method, train, ipc=1, experts=trained.pool)
    with pytest.raises(UserError, match="pool of experts"):
        condensation.start(method, train, ipc=1)
    config = experts.expert_training(28, epochs=3, batch_size=16)  # as `trained`
    experts.train_pool(train, network, config, count=1, snapshots=1, run=tmp_path)
    with pytest.raises(UserError, match="keep 1 snapshots"):
        experts.load_pool(tmp_path, trajectories=True)


@pytest.mark.parametrize(("setting", "value"), [("alpha", -1.0), ("epoch_interval", -1)])
def test_settings_that_make_no_sense(setting, value, network):
    with pytest.raises(UserError, match=setting):
        methods.create("tgdd", network, **{setting: value})
