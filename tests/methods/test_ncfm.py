"""NCFM: its distance, an optimiser for each class, which real images it sees, and psi."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from dancejax import condensation, methods, mmd
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.methods import ncfm

SMALL = {"batch_real": 8, "factor": 1, "augmentation": "", "frequencies": 32}


def samples(n=6, m=4, k=5, d=3):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m, k))


@pytest.mark.parametrize("amplitude", [0.0, 0.5, 0.9])
def test_characteristic_functions_are_means_of_exponentials(amplitude):
    x, y, t = samples()
    ours, theirs = (np.exp(1j * (f @ t.T).astype(np.float64)).mean(0) for f in (x, y))
    strength, own = np.abs(ours), np.abs(theirs)
    phase = 2 * strength * own * (1 - np.cos(np.angle(ours) - np.angle(theirs)))
    expected = np.sqrt(amplitude * (strength - own) ** 2 + (1 - amplitude) * phase).mean()
    found = mmd.characteristic_discrepancy(x, y, t, amplitude)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    if amplitude == 0.5:
        np.testing.assert_allclose(found, np.abs(ours - theirs).mean() / np.sqrt(2), rtol=1e-4)
    check_grads(
        lambda own: mmd.characteristic_discrepancy(x, own, t, amplitude), (y,), order=1,
        modes=("rev",), rtol=0.02, atol=0.02, eps=1e-2,
    )  # fmt: skip


def test_equal_samples_have_next_to_no_distance_and_finite_gradients():
    x, _, t = samples()
    value, grad = jax.value_and_grad(mmd.characteristic_discrepancy, argnums=1)(x, x[::-1], t)
    assert value < 1e-3 and bool(jnp.isfinite(grad).all())
    batched = mmd.characteristic_discrepancy(x[None], 2 * x[None], t[None])
    np.testing.assert_allclose(batched[0], mmd.characteristic_discrepancy(x, 2 * x, t), rtol=1e-5)


def begin(train, network, trained, **options):
    method = methods.create("ncfm", network, **{**SMALL, **options})
    return condensation.start(method, train, ipc=2, experts=trained.pool, seed=1)


def test_each_class_has_an_optimiser_of_its_own(train, network, trained):
    """Adam's first step is the rate in the direction of the sign, then comes weight decay."""
    method, state, context = begin(
        train, network, trained, calibration=False, learning_rate=0.01, patience=0
    )
    after, _ = jax.jit(method.update)(state, context)
    decayed = state.pixels * (1 - 0.01 * 5e-4)
    moved = np.abs(np.asarray(after.pixels - decayed))
    assert moved.max() <= 0.0101 and np.median(moved) > 0.0099
    chex.assert_tree_shape_prefix(after.opt_state, (3,))
    sgd, state, context = begin(train, network, trained, optimizer="sgd", calibration=False)
    assert "optimizer" not in sgd.settings(2, train.image_shape)
    assert method.settings(2, train.image_shape)["optimizer"] == "ncfm_adamw"


def test_a_rate_halves_where_its_own_class_makes_no_progress():
    own = ncfm._Setup(ncfm.Config(patience=3, learning_rate=1.0), None, methods.OPTIMIZERS["sgd"])
    transformation = ncfm._transformation(own)
    state = jax.vmap(transformation.init)(jnp.zeros((2, 1)))
    step = jax.jit(jax.vmap(lambda g, s, v: transformation.update(g, s, jnp.zeros(1), value=v)))
    scales = []
    for iteration in range(6):
        for part in range(2):  # matching, calibration
            values = jnp.array([1.0 + part, 2.0**-iteration])
            _, state = step(jnp.ones((2, 1)), state, values)
        scales.append(np.asarray(state[1].scale).tolist())
    assert scales[3] == [1.0, 1.0] and scales[4] == [0.5, 1.0] == scales[5]


def test_real_images_are_fresh_or_fixed(train, network):
    sizes, _ = sampling.class_sizes(train)
    drawn = {}
    for real in ncfm.REAL:
        method = methods.create("ncfm", network, real=real, batch_real=8)
        drawn[real] = [
            np.asarray(method.draw(jax.random.key(0), jnp.int32(step), sizes).classes)
            for step in range(3)
        ]
    np.testing.assert_array_equal(drawn["fixed"][0], drawn["fixed"][2])
    np.testing.assert_array_equal(drawn["fixed"][0], drawn["fresh"][0])
    assert not set(drawn["fresh"][0][0]) & set(drawn["fresh"][1][0])


@pytest.mark.parametrize("sampling", ["scaled", pytest.param("network", marks=pytest.mark.slow)])
def test_psi_raises_the_distance(sampling, train, network, trained, monkeypatch):
    """Under the same network, images and noise, pixels standing still.

    Of 512 frequencies: the sampling network normalises over its 1/16 as many rows, and over two
    rows every value is a sign.
    """
    monkeypatch.setattr(ncfm, "_ASCENT", optax.sgd(1e-5))
    method, state, context = begin(
        train,
        network,
        trained,
        sampling=sampling,
        learning_rate=0.0,
        calibration=False,
        frequencies=512,
        augmentation="",
    )
    update = jax.jit(method.update)
    after, metrics = update(state, context)
    _, again = update(state._replace(extra=after.extra), context)
    assert float(again["matching"].sum()) > float(metrics["matching"].sum())
    np.testing.assert_array_equal(after.pixels, state.pixels)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("sampling", "psi"), ("real", "first"), ("amplitude", 1.0), ("patience", -1),
     ("frequencies", 0)],
)  # fmt: skip
def test_settings_that_make_no_sense(setting, value, network):
    with pytest.raises(UserError, match=setting):
        methods.create("ncfm", network, **{setting: value})
    with pytest.raises(UserError, match="multiple"):
        methods.create("ncfm", network, sampling="scaled", frequencies=40)
