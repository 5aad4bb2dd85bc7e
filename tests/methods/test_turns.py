"""Networks in turns: each goes on as if it were alone, over pixels that are common to all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import condensation, methods, networks, records
from dancejax.errors import UserError
from dancejax.methods import turns
from dancejax.methods.base import ExpertPool
from dancejax.runs import Run, backend
from dancejax.training.experts import Experts

IDM = {"queue_size": 2, "queue_start": 2, "push_every": 2, "train_batch": 4, "train_steps": 1}


@pytest.fixture(scope="module")
def other(train):
    return networks.create("convnet", train, width=4, depth=1, norm="none")


@pytest.fixture(scope="module")
def others(train, other, trained):
    """Experts of the other network: random parameters, as many snapshots as the first ones'."""
    shape = train.image_shape
    make = jax.jit(jax.vmap(lambda key: networks.init(other, key, shape)))
    path = make(jax.random.split(jax.random.key(1), 4))
    path = jax.tree.map(lambda x: np.stack([x, x[::-1]]), path)
    ends = [jax.tree.map(lambda x, t=t: jnp.asarray(x[:, t]), path) for t in (0, -1)]
    about = {**trained.description, "network": networks.identity(other)}
    return Experts(ExpertPool(*ends), other, about, path)


def create(name, *nets, **options):
    return methods.create(name, [*nets], batch_real=4, augmentation="", **options)


@pytest.mark.parametrize("name", ["dm", pytest.param("dance", marks=pytest.mark.slow)])
def test_iterations_alternate_and_share_the_pixels(name, train, network, other, trained, others):
    method = create(name, network, other)
    start = condensation.start(method, train, ipc=1, experts=[trained, others], seed=3)
    state, context = start.state, start.context
    update = jax.jit(method.update)
    alone = [create(name, net) for net in (network, other)]
    taken = [jax.jit(own.update) for own in alone]
    contexts = [turns.own_context(context, number) for number in (0, 1)]
    key, pixels, opt_state = state.key, state.pixels, state.opt_state
    begun = [state._replace(key=turns.own_key(key, n), extra=()) for n in (0, 1)]
    for step in range(4):
        state, _ = update(state, context)
        n = step % 2
        own = begun[n]._replace(pixels=pixels, opt_state=opt_state)
        begun[n], _ = taken[n](own, contexts[n])
        pixels, opt_state = begun[n].pixels, begun[n].opt_state
        assert int(begun[n].step) == step // 2 + 1
    assert int(state.step) == 4
    np.testing.assert_allclose(state.pixels, pixels, atol=1e-4)
    assert float(np.abs(state.pixels - start.state.pixels).max()) > 1e-3


@pytest.mark.parametrize(
    "name", ["dm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dance", "idm", "tgdd"))]
)
def test_a_resumed_run_ends_in_the_same_bytes(
    name, tmp_path, train, network, other, trained, others
):
    method = create(name, network, other, **(IDM if name == "idm" else {}))
    run = functools.partial(condensation.condense, method, train, ipc=1, experts=[trained, others])
    whole = run(steps=5)
    run(steps=3, run=Run(tmp_path, progress=False))  # ends in the first network's turn
    on = run(steps=5, run=Run(tmp_path, progress=False))
    np.testing.assert_array_equal(on.images, whole.images)
    assert [n["norm"] for n in on.settings["networks"]] == ["instance", "none"]
    assert on.settings["network"] == on.settings["networks"][0]
    assert [e["count"] for e in on.settings.get("experts", [])] == [2, 2] * method.needs_experts
    turned = create(name, other, network, **(IDM if name == "idm" else {}))
    with pytest.raises(UserError, match=r"belongs to another run"):
        condensation.condense(
            turned,
            train,
            ipc=1,
            steps=6,
            experts=[others, trained],
            run=Run(tmp_path, progress=False),
        )


@pytest.mark.slow
def test_snapshots_on_the_host_give_the_same(monkeypatch, train, network, other, trained, others):
    method = create("tgdd", network, other)
    run = functools.partial(
        condensation.condense, method, train, ipc=1, steps=4, experts=[trained, others]
    )
    here = run()
    monkeypatch.setattr(backend, "trajectory_budget", lambda: 0)
    np.testing.assert_allclose(run(run=Run(placement="host")).images, here.images, atol=1e-6)


def test_experts_must_be_those_of_the_networks(train, network, other, trained, others):
    method = create("dance", network, other)
    for given, words in (
        (trained, "1 pools of experts are given for 2 networks"),
        ([others, trained], "another network"),
        (None, "needs a pool of experts"),
    ):
        with pytest.raises(UserError, match=words):
            condensation.start(method, train, ipc=1, experts=given)
    assert len(records.each_experts(create("dm", network, other), None)) == 0


def test_mirroring_is_left_out_of_every_turn(network, other):
    method = methods.without_flips(methods.create("dm", [network, other]))
    assert all("flip" not in own.config.augmentation for own in (method, *method.turns))
    assert [own.network for own in method.turns] == [network, other]
