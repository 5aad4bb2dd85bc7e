"""The training step against plain SGD."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from dancejax import keys, networks, training
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.runs import backend, parallel

from .conftest import compiling

PLAIN = {"augmentation": "", "cutmix": 0.0}


def stepped(states, keys, data, *, network, config, watch=False):
    """`train_step` of the step that the states are in."""
    number = int(states.step[0])
    batch = training.draw(keys, number, data, config.batch_size)
    common = training.in_common(config, data, number)
    recipe = training.Recipe.of(network, config)
    return training.train_step(states, keys, batch, common, recipe, watch=watch)


def step_alone(state, key, data, **how):
    """`stepped` for one network."""
    found = stepped(jax.tree.map(lambda x: x[None], state), key[None], data, **how)
    return jax.tree.map(lambda x: x[0], found)


def start(train, network, **options):
    config = training.TrainConfig(**{"epochs": 4, "batch_size": 20, **PLAIN, **options})
    data = training.train_data(train)
    recipe = training.Recipe.of(network, config)
    state = training.init_state(jax.random.key(0), recipe, train.image_shape)
    return config, data, state


@pytest.mark.parametrize("reset", [pytest.param(False, marks=pytest.mark.slow), True])
def test_steps_are_plain_sgd(reset, train, network):
    """Momentum, weight decay on every parameter, drops of the rate, and the last, smaller batch."""
    config, data, state = start(
        train, network, milestones=(0.25, 0.5), decay=0.1, reset_momentum=reset
    )
    key = jax.random.key(5)
    k_order, _ = jax.random.split(key)
    params = state.variables["params"]

    @jax.jit
    @jax.value_and_grad
    def loss(p, images, labels):
        logits, _ = network.apply({"params": p}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    buffer = jax.tree.map(jnp.zeros_like, params)
    assert training.steps_per_epoch(72, 20) == 4
    for step in range(10):
        epoch, index = divmod(step, 4)
        taken = sampling.permuted_index(k_order, jnp.full(72, epoch), jnp.arange(72), 72)
        own = taken[20 * index : 20 * index + 20]
        assert len(own) == (12 if index == 3 else 20)
        images = sampling.normalise(data.images[own], data.mean, data.std)
        value, grads = loss(params, images, data.labels[own])
        rate = 0.01 * 0.1 ** ((epoch >= 1) + (epoch >= 2))
        keep = 0.0 if reset and step in (4, 8) else 0.9
        buffer = jax.tree.map(lambda b, g, p, m=keep: m * b + g + 5e-4 * p, buffer, grads, params)
        params = jax.tree.map(lambda p, b, r=rate: p - r * b, params, buffer)
        state, found = step_alone(state, key, data, network=network, config=config)
        np.testing.assert_allclose(found, value, rtol=1e-4)
    for a, b in zip(
        jax.tree.leaves(state.variables["params"]), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_sets_of_any_size_and_schedules_of_any_length_have_one_program(train, network):
    jax.clear_caches()
    with compiling("train_step") as compiled:
        for count, options in [
            (72, {}),
            (50, {"epochs": 9, "milestones": (0.3,), "decay": 0.3}),
            (20, {"learning_rate": 0.1, "reset_momentum": True}),
        ]:
            config, data, state = start(train, network, **options)
            data = data._replace(images=data.images[:count], labels=data.labels[:count])
            step_alone(state, jax.random.key(5), data, network=network, config=config)
    assert len(compiled) == 1


def test_cutmix_mixes_the_losses_of_both_labels(train, network):
    """With a rate of 0 and one batch: the loss is that of the mixed images and labels."""
    from dancejax import augment

    config, data, state = start(train, network, cutmix=1.0, batch_size=72, learning_rate=0.0)
    key = jax.random.key(3)
    k_order, k_step = jax.random.split(key)
    _, k_cutmix = jax.random.split(jax.random.fold_in(k_step, 0))
    taken = sampling.permuted_index(k_order, jnp.zeros(72, int), jnp.arange(72), 72)
    images = sampling.normalise(data.images[taken], data.mean, data.std)
    mixed, partner, lam = jax.jit(augment.cutmix, static_argnums=2)(k_cutmix, images, 1.0)
    logits, _ = jax.jit(network.apply)(state.variables, mixed)
    own, other = (
        optax.softmax_cross_entropy_with_integer_labels(logits, data.labels[i]).mean()
        for i in (taken, taken[partner])
    )
    _, found = step_alone(state, key, data, network=network, config=config)
    assert 0 < float(lam) < 1
    np.testing.assert_allclose(found, lam * own + (1 - lam) * other, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", [True, False])
def test_many_networks_at_once_are_each_alone(cpu, monkeypatch, train, network):
    """One after the other, as on CPU, or in one batch, as on accelerators."""
    monkeypatch.setattr(backend, "is_cpu", lambda: cpu)
    jax.clear_caches()
    config, data, _ = start(train, network, augmentation="color_crop_flip", cutmix=0.5)
    keys = jax.random.split(jax.random.key(1), 2)

    recipe = training.Recipe.of(network, config)

    def fresh():
        return [training.init_state(k, recipe, train.image_shape) for k in keys]

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *fresh())
    for _ in range(3):
        stacked, losses = stepped(stacked, keys, data, network=network, config=config)
    for i, state in enumerate(fresh()):
        for _ in range(3):
            state, loss = step_alone(state, keys[i], data, network=network, config=config)
        np.testing.assert_allclose(losses[i], loss, rtol=1e-3)
        for a, b in zip(jax.tree.leaves(stacked), jax.tree.leaves(state), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-3, atol=1e-4)


def test_prediction_in_blocks_is_prediction(monkeypatch, train, network):
    _, data, state = start(train, network)
    images = sampling.normalise(data.images, data.mean, data.std)
    logits, features = network.apply(state.variables, images)
    for block in (7, 72, 100):
        found = training.predict(state.variables, data, network=network, block=block)
        np.testing.assert_allclose(found[0], logits, atol=1e-5)
        np.testing.assert_allclose(found[1], features, atol=1e-5)
    right = (np.asarray(logits).argmax(-1) == train.labels).mean()
    stacked = jax.tree.map(lambda x: jnp.stack([x, 0 * x]), state.variables)
    correct = training.correct(stacked, data, network=network)
    np.testing.assert_allclose(correct.sum(-1) / len(train), [right, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(correct[1], [len(train) // 3, 0, 0])  # all logits alike: class 0
    confusion = sklearn.metrics.confusion_matrix(train.labels, np.asarray(logits).argmax(-1))
    np.testing.assert_array_equal(correct[0], np.diag(confusion))
    with parallel.use(parallel.NETWORKS, 1) as mesh:
        for held in (data, training.TrainData(*parallel.place(data, mesh))):
            parts = training.correct_in_parts(stacked, held, network=network, mesh=mesh)
            np.testing.assert_array_equal(parts, correct)
            parts = training.accuracy_in_parts(stacked, held, network=network, mesh=mesh)
            np.testing.assert_allclose(parts, [right, 1 / 3])
    monkeypatch.setattr(np, "prod", lambda shape: 2**28)  # parts of 256 images at least
    everywhere = training.predict_all(state.variables, train, network=network)
    np.testing.assert_allclose(everywhere[0], logits, atol=1e-5)
    np.testing.assert_allclose(everywhere[1], features, atol=1e-5)


@pytest.mark.parametrize("cutmix", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_batches_in_blocks_give_the_same_step(cutmix, monkeypatch, train, network):
    """The last batch of an epoch, filled with repeats of weight 0, in blocks that do not divide."""
    results = []
    for size in (20, 7):
        config, data, state = start(train, network, cutmix=cutmix)
        state = state._replace(step=jnp.int32(3))
        monkeypatch.setattr(networks, "images_per_block", lambda *_, size=size: size)
        jax.clear_caches()
        key = jax.random.key(2)
        state, loss = step_alone(state, key, data, network=network, config=config)
        results.append((state.variables, loss))
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-6)
    monkeypatch.undo()
    jax.clear_caches()


def test_blocks_without_an_image_are_left_out():
    rows = jnp.arange(1.0, 11.0)
    sums = jax.jit(lambda n: parallel.sum_over_blocks(lambda x: (x.sum(), 1), 4, rows, filled=n))
    assert [tuple(map(int, sums(n))) for n in (1, 4, 5, 10)] == [
        (10, 1), (10, 1), (36, 2), (55, 3)
    ]  # fmt: skip
    assert tuple(map(int, parallel.sum_over_blocks(lambda x: (x.sum(), 1), 4, rows))) == (55, 3)


def test_every_purpose_seed_and_number_has_a_key_of_its_own():
    purposes = (keys.EXPERTS, keys.EVALUATION, keys.FORGETTING)
    found = {
        tuple(np.asarray(jax.random.key_data(keys.member(seed, purpose, number))).tolist())
        for purpose in purposes for seed in range(2) for number in range(5)
    }  # fmt: skip
    assert len(found) == 30
    # The keys of pools that are there already.
    np.testing.assert_array_equal(
        jax.random.key_data(keys.member(3, keys.EXPERTS, 2)),
        jax.random.key_data(jax.random.fold_in(jax.random.key(3), 2)),
    )


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(60, (40, 50)), (1500, (1000, 1250)), (10, (6, 8)), (3, (2, 2)), (1, (1, 1))],
)
def test_rates_drop_after_whole_epochs_rounded_down(epochs, expected):
    """floor(2E/3) and floor(5E/6); two milestones on one epoch are two drops."""
    assert training.drop_epochs(training.TrainConfig(epochs=epochs)) == expected


def test_two_milestones_on_one_epoch_drop_the_rate_twice(train, network):
    """Three epochs of one batch: after two of them 0.2^2 of the rate is left."""
    config, data, state = start(
        train, network, epochs=3, batch_size=72, momentum=0.0, weight_decay=0.0
    )
    state = state._replace(step=jnp.int32(2))
    key = jax.random.key(1)
    taken, _ = training.batch_indices(key, jnp.int32(2), 72, 72)
    images = sampling.normalise(data.images[taken], data.mean, data.std)

    @jax.jit
    @jax.grad
    def gradient(p):
        logits, _ = network.apply({"params": p}, images)
        entropy = optax.softmax_cross_entropy_with_integer_labels
        return entropy(logits, data.labels[taken]).mean()

    grads = gradient(state.variables["params"])
    after, _ = step_alone(state, key, data, network=network, config=config)
    moved = jax.tree.map(lambda a, b: a - b, state.variables["params"], after.variables["params"])
    chex.assert_trees_all_close(
        moved, jax.tree.map(lambda g: 0.01 * 0.04 * g, grads), rtol=2e-2, atol=1e-7
    )


def test_what_a_step_presents_is_told(train, network):
    """The images of the batch, and whether the network before the step was right about them."""
    config, data, state = start(train, network)
    key = jax.random.key(4)
    state = state._replace(step=jnp.int32(3))  # the last batch, of 12 images and 8 repeats
    *_, presented = step_alone(state, key, data, network=network, config=config, watch=True)
    images, right, real = map(np.asarray, presented)
    expected, weights = training.batch_indices(key, jnp.int32(3), 72, 20)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(real, weights > 0)
    assert real.sum() == 12
    logits, _ = training.predict(state.variables, data, network=network)
    correct = np.asarray(logits).argmax(-1)[images] == train.labels[images]
    np.testing.assert_array_equal(right[real], correct[real])
    assert not right[~real].any()


def test_settings_that_make_no_sense():
    with pytest.raises(UserError, match="epochs"):
        training.TrainConfig(epochs=0)
    with pytest.raises(UserError, match="unknown augmentation"):
        training.TrainConfig(epochs=1, augmentation="jitter")


def test_adamw_decays_apart_from_the_gradient(train, network):
    """Its first step: the rate times the sign of the gradient, and times weight decay."""
    config, data, state = start(
        train, network, batch_size=72, optimizer="adamw", weight_decay=0.1, learning_rate=1e-3
    )
    after, _ = step_alone(state, jax.random.key(1), data, network=network, config=config)
    before, params = state.variables["params"], after.variables["params"]
    moved = jax.tree.map(lambda a, p: (a - p * (1 - 1e-4)) / 1e-3, params, before)
    sizes = np.concatenate([np.abs(np.ravel(leaf)) for leaf in jax.tree.leaves(moved)])
    assert sizes.max() < 1.01 and np.median(sizes) > 0.99
    with pytest.raises(UserError, match="optimizer"):
        training.TrainConfig(epochs=1, optimizer="lion")
