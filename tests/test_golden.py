"""The first 20 iterations of each method against a plain statement of the papers' equations.

golden/*.npz holds what golden/statement.py (PyTorch, float64, class by class) computes from the
same random numbers; golden/make.py makes it.
"""

import functools

import jax
import numpy as np
import pytest

from dancejax import condensation, initialisation, methods

from .golden import make

METHODS = tuple(make.SETTINGS)


@functools.cache
def run(name, train):
    """Our 20 iterations, as golden.make records them."""
    dataset = make.colour_set(train)
    network = make.make_network(dataset)
    method = methods.create(name, network=network, **make.SETTINGS[name])
    pool = make.make_pool(network, dataset.image_shape) if method.needs_experts else None
    paths = make.make_trajectories(network, dataset.image_shape) if method.visits else None
    context = condensation.make_context(dataset, pool, paths)
    start = initialisation.initial_pixels(dataset, make.IPC, method.factor, seed=make.SEED)
    state = method.init(jax.random.key(make.SEED), start, context)
    update = jax.jit(method.update)
    found, history = {"start": start}, []
    for step in range(1, make.STEPS + 1):
        state, metrics = update(state, context)
        history.append(jax.device_get(metrics))
        if step in (1, 5, make.STEPS):
            # What an update leaves, before the clamp of the next iteration.
            free = name not in ("dm", "idm")
            found[f"pixels_{step}"] = state.pixels if free else method.pixels(state, context)
    return found | {m: np.array([line[m] for line in history]) for m in history[0]}


@pytest.mark.parametrize("name", METHODS)
def test_first_iterations_are_those_of_the_plain_statement(name, train):
    ours = run(name, train)
    with np.load(make.FOLDER / f"{name}.npz") as golden:
        assert set(golden.files) == set(ours)
        assert np.abs(golden["pixels_20"] - golden["start"]).max() > 0.02
        for key in golden.files:
            far = ~np.isclose(ours[key], golden[key], rtol=2e-3, atol=2e-4)
            # Adam's steps of pixels whose gradient is next to nothing have the sign of rounding.
            assert far.mean() <= (0.01 if name == "ncfm" and "pixels" in key else 0), key


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_golden_files_are_the_statements(name, train):
    pytest.importorskip("torch")
    made = make.make(name, train)
    with np.load(make.FOLDER / f"{name}.npz") as golden:
        for key in golden.files:
            np.testing.assert_allclose(made[key], golden[key], rtol=1e-4, atol=1e-5, err_msg=key)
