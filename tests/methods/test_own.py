"""The project's own method: its regression, and its iteration as TGDD's with that."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import Ridge

from dancejax import condensation, methods, networks
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.methods import base, descent, own

SMALL = {"batch_real": 8, "factor": 1}
PLAIN = {**SMALL, "augmentation": "", "batch_syn": 200}


def test_the_rate_falls_to_half_and_further():
    rate = own.falling(0.4)
    steps = np.array([0, 50, 150, 1200, 15000])
    expected = 0.4 / np.sqrt(1 + steps / 50)
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-6)
    assert rate(0) == pytest.approx(0.4) and rate(150) == pytest.approx(0.2)


def regressed(real, syn, penalty):
    """The error by scikit-learn, in float64."""
    count, _, d = real.shape
    seen, made = (x.reshape(-1, d).astype(np.float64) for x in (real, syn))
    unit = np.sqrt(seen.var(0).sum())
    inputs, tested = (
        np.column_stack([(x - seen.mean(0)) / unit, np.ones(len(x))]) for x in (made, seen)
    )
    goal, truth = (np.eye(count).repeat(x.shape[1], 0) - 1 / count for x in (syn, real))
    fitted = Ridge(penalty * len(made), fit_intercept=False).fit(inputs, goal)
    return 0.5 * ((fitted.predict(tested) - truth) ** 2).sum(1).mean()


@pytest.mark.parametrize("images", [2, 9], ids=["fewer images than coordinates", "more"])
def test_the_regression_is_scikit_learns(images):
    rng = np.random.default_rng(images)
    centres = rng.normal(size=(3, 1, 12))
    real, syn = (5 + centres + rng.normal(size=(3, n, 12)) for n in (20, images))
    real, syn = real.astype(np.float32), syn.astype(np.float32)
    for penalty in (0.001, 0.1):
        found = own.regression_error(real, syn, penalty)
        np.testing.assert_allclose(found, regressed(real, syn, penalty), rtol=1e-4)
    chex.assert_numerical_grads(
        lambda x: own.regression_error(real, x, 0.1), (syn,), order=1, atol=2e-3, rtol=2e-2
    )


def test_the_error_does_not_depend_on_scale_and_origin_of_the_features():
    rng = np.random.default_rng(0)
    real, syn = (rng.normal(size=(2, n, 5)).astype(np.float32) for n in (9, 4))
    found = [own.regression_error(a * real + b, a * syn + b, 0.1) for a, b in ((1, 0), (30, 7))]
    np.testing.assert_allclose(*found, rtol=1e-3)


def test_the_step_is_one_of_all_three_losses(train, smooth, trained):
    """Means and regression under the earlier snapshot, the later one's cross-entropy."""
    method = methods.create(
        "dancejax", smooth, **PLAIN, alpha=0.7, alpha_few=1.0, ridge=20.0, learning_rate=0.3,
        optimizer="sgd", momentum=0.0,
    )  # fmt: skip
    method, state, context = condensation.start(method, train, ipc=2, experts=trained, seed=4)
    which = method.visits(state.key, state.step, 2, 4)
    matched, later = (
        jax.tree.map(lambda x, i=i: x[which.experts[i], which.epochs[i]], trained.trajectories)
        for i in (0, 1)
    )
    k_real, _ = jax.random.split(state.key)
    labels = jnp.arange(train.num_classes)

    @jax.jit
    @jax.grad
    def gradient(pixels):
        real = sampling.class_batch(k_real, 0, context.real, labels, 8)
        found = []
        for images in (real, pixels):
            normal = sampling.normalise(images, context.mean, context.std)
            flat = normal.reshape(-1, *normal.shape[2:])
            features = networks.features(smooth, matched, flat)
            found.append(features.reshape(*images.shape[:2], -1))
        distance = jnp.sum((found[0].mean(1) - found[1].mean(1)) ** 2)
        logits, _ = networks.forward(smooth, later, flat)
        rows = jnp.repeat(labels, pixels.shape[1])
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, rows).sum() / 2
        error = own.regression_error(*found, method.config.ridge_penalty)
        return distance + 0.7 * entropy + 20 * len(labels) * error

    after, metrics = jax.jit(method.update)(state, context)
    expected = state.pixels - 0.3 * gradient(state.pixels)
    np.testing.assert_allclose(after.pixels, expected, rtol=1e-3, atol=1e-4)
    assert set(metrics) == {"matching", "cross_entropy", "ridge"}
    assert 0 < float(metrics["ridge"]) < 0.5


def test_the_cross_entropy_counts_more_where_images_are_few(train, smooth, trained):
    """max(alpha, alpha_few / IPC), which is what the run says of itself."""
    method = methods.create("dancejax", smooth, alpha=2.0, alpha_few=12.0)
    found = [method.settings(ipc, train.image_shape)["alpha"] for ipc in (1, 4, 6, 50)]
    assert found == [12.0, 3.0, 2.0, 2.0]
    ends = []
    for settings in ({"alpha": 3.0, "alpha_few": 0.0}, {"alpha": 1.0, "alpha_few": 6.0}):
        method = methods.create("dancejax", smooth, **SMALL, **settings)
        method, state, context = condensation.start(method, train, ipc=2, experts=trained)
        ends.append(jax.jit(lambda s, c, m=method: m.update(s, c))(state, context)[0].pixels)
    np.testing.assert_array_equal(*ends)


def test_blocks_of_classes_change_nothing(train, smooth, trained):
    method = methods.create("dancejax", smooth, **PLAIN, optimizer="sgd")
    method, state, context = condensation.start(method, train, ipc=1, experts=trained)
    ends = [
        jax.jit(lambda s, c, n=n: method.update(s, c, class_chunk=n))(state, context)[0].pixels
        for n in (1, train.num_classes)
    ]
    np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-5)


def test_parts_of_classes_change_nothing(train, smooth, trained, monkeypatch):
    """The pass with a gradient takes as many images of a class as the backend likes."""
    method = methods.create("dancejax", smooth, **SMALL, optimizer="sgd")
    method, state, context = condensation.start(method, train, ipc=4, experts=trained)
    ends, metrics = [], []
    for parts in (1, 2, 4):
        monkeypatch.setattr(descent, "image_pieces", lambda *_, parts=parts: parts)
        end, found = jax.jit(lambda s, c: method.update(s, c))(state, context)
        ends.append(end.pixels)
        metrics.append(found)
    assert float(jnp.abs(ends[0] - state.pixels).max()) > 1e-3
    for end, found in zip(ends[1:], metrics[1:], strict=True):
        np.testing.assert_allclose(end, ends[0], rtol=1e-4, atol=1e-5)
        chex.assert_trees_all_close(found, metrics[0], rtol=1e-4)


def test_classes_are_augmented_alike(train, smooth, trained):
    """Else the regression would tell them by the augmentation that they share with real ones."""
    method = methods.create("dancejax", smooth, **SMALL, augmentation="color")
    _, state, context = condensation.start(method, train, ipc=1, experts=trained)
    keys = base.ImageKeys(*jax.random.split(state.key, 3))
    same = jnp.broadcast_to(state.pixels[:1], state.pixels.shape)
    labels = jnp.arange(len(same))
    found = base.synthetic(method.config, base.UNIT, keys, same, labels, context).images
    np.testing.assert_array_equal(found, np.broadcast_to(found[:1], found.shape))
    plain = sampling.normalise(same, context.mean, context.std)
    assert np.abs(found - plain).max() > 0.1


def test_an_iteration_without_regression_is_tgdds(train, smooth, trained):
    """With any later snapshot, one step for all classes, and Adam."""
    made = methods.create("dancejax", smooth, **PLAIN, ridge=0.0, alpha_few=0.0)
    assert (made.name, made.config.epoch_interval, made.config.update_order) == (
        "dancejax", 0, "joint",
    )  # fmt: skip
    same = methods.create(
        "tgdd", smooth, **PLAIN, epoch_interval=0, update_order="joint",
        optimizer=optax.adam(lambda step: 0.03 / (1 + step / 50) ** 0.5),
    )  # fmt: skip
    ends = []
    for method in (made, same):
        method, state, context = condensation.start(method, train, ipc=2, experts=trained, seed=1)
        update = jax.jit(method.update)
        start = state.pixels
        for _ in range(3):
            state, metrics = update(state, context)
        ends.append((state.pixels, metrics))
    chex.assert_trees_all_close(*ends, rtol=1e-4, atol=1e-5)
    assert float(np.abs(np.asarray(ends[0][0] - start)).max()) > 0.03


@pytest.mark.parametrize(
    ("name", "value"),
    [("ridge", -1.0), ("ridge_penalty", 0.0), ("alpha_few", -1.0), ("update_order", "classwise")],
)
def test_settings_that_make_no_sense(name, value, network):
    with pytest.raises(UserError, match=name):
        methods.create("dancejax", network, **{name: value})
