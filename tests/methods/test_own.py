"""The project's own method: TGDD's iteration under its own settings and optimiser."""

import chex
import jax
import numpy as np
import optax
import pytest

from dancejax import condensation, methods
from dancejax.methods import own

SMALL = {"batch_real": 8, "factor": 1}


def test_the_rate_falls_to_half_and_further():
    rate = own.falling(0.4)
    steps = np.array([0, 50, 150, 1200, 15000])
    expected = 0.4 / np.sqrt(1 + steps / 50)
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-6)
    assert rate(0) == pytest.approx(0.4) and rate(150) == pytest.approx(0.2)


def test_an_iteration_is_tgdds(train, smooth, trained):
    """With any later snapshot, one step for all classes, and Adam."""
    settings = {**SMALL, "augmentation": "", "batch_syn": 200}
    made = methods.create("dancejax", smooth, **settings)
    assert (made.name, made.config.epoch_interval, made.config.update_order) == (
        "dancejax", 0, "joint",
    )  # fmt: skip
    same = methods.create(
        "tgdd", smooth, **settings, epoch_interval=0, update_order="joint",
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
