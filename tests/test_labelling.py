"""Soft labels: what they are, that they are stored, and that networks learn from them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from dancejax import condensed, coreset, evaluation, interpolate, labelling, networks, training
from dancejax.errors import UserError
from dancejax.training import experts, protocols


@pytest.fixture(scope="module")
def chosen(train):
    return coreset.random(train, 2)


@pytest.fixture(scope="module")
def soft(chosen, trained):
    return labelling.soften(chosen, trained)


def test_soft_labels_are_the_mean_of_the_experts(chosen, trained, network):
    images, labels = (np.asarray(x) for x in chosen.decoded())
    normalised = (images - np.array(chosen.mean)) / np.array(chosen.std)
    shares = 0
    for number in range(2):
        own = interpolate.select(trained.pool.final, number)
        logits, _ = networks.forward(network, own, jnp.asarray(normalised, jnp.float32))
        shares += scipy.special.softmax(np.asarray(logits, np.float64) / 2, axis=1) / 2
    free = labelling.soften(chosen, trained, temperature=2.0, correct=False)
    np.testing.assert_allclose(free.soft_labels, shares, atol=2e-3)
    right = labelling.soften(chosen, trained, temperature=2.0)
    wrong = shares.argmax(1) != labels
    np.testing.assert_array_equal(right.soft_labels[~wrong], free.soft_labels[~wrong])
    np.testing.assert_array_equal(right.soft_labels[wrong], np.eye(3)[labels[wrong]])
    assert right.settings["soft_labels"]["experts"] == 2


@pytest.fixture(scope="module")
def normed(train, tmp_path_factory):
    """An expert with batch norm."""
    network = networks.create("convnet", train, width=4, depth=2, norm="batch")
    config = experts.expert_training(28, epochs=1, batch_size=16)
    folder = tmp_path_factory.mktemp("normed")
    experts.train_pool(train, network, config, count=1, run=folder)
    return experts.load_pool(folder)


def test_a_label_does_not_depend_on_the_other_images(train, normed):
    made = coreset.random(train, 4)
    whole = labelling.soften(made, normed, correct=False)
    for label in range(made.num_classes):
        own = made.labels == label
        alone = dataclasses.replace(made, images=made.images[own], labels=made.labels[own])
        found = labelling.soften(alone, normed, correct=False)
        np.testing.assert_allclose(found.soft_labels, whole.soft_labels[own], atol=1e-3)


def test_experts_see_images_as_in_their_training(chosen, normed):
    # As a set of another program's comes that is normalised by other numbers.
    other = dataclasses.replace(chosen, mean=(0.5,), std=(0.5,))
    found, wanted = (labelling.soften(x, normed, correct=False) for x in (other, chosen))
    np.testing.assert_array_equal(found.soft_labels, wanted.soft_labels)


def test_they_are_a_part_of_the_set(chosen, soft, tmp_path):
    soft.save(tmp_path / "set")
    back = condensed.load(tmp_path / "set")
    np.testing.assert_array_equal(back.soft_labels, soft.soft_labels)
    assert condensed.fingerprint(back) == condensed.fingerprint(soft)
    assert condensed.fingerprint(soft) != condensed.fingerprint(chosen)
    path = tmp_path / "set" / condensed.SOFT_LABELS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        condensed.load(tmp_path / "set")
    for rows in (soft.soft_labels[:-1], 2 * soft.soft_labels, soft.soft_labels.astype(np.float32)):
        with pytest.raises(UserError, match="soft labels"):
            dataclasses.replace(chosen, soft_labels=rows)


def test_experts_of_other_data_are_refused(chosen, trained, test):
    with pytest.raises(UserError, match="other data"):
        labelling.soften(coreset.random(test, 2), trained)
    with pytest.raises(UserError, match="temperature"):
        labelling.soften(chosen, trained, temperature=0.0)


def step(made, network, labels, key=None):
    """The loss of one step on all images, without augmentation."""
    config = training.TrainConfig(
        epochs=1, batch_size=100, augmentation="", cutmix=0.0, labels=labels
    )
    data = evaluation.training_set(made, config)
    key = jax.random.key(0) if key is None else key
    recipe = training.Recipe.of(network, config)
    state = training.init_state(key, recipe, made.image_shape)
    states = jax.tree.map(lambda x: x[None], state)
    batch, common = training.draw(key[None], 0, data, 100), training.in_common(config, data, 0)
    after, losses = training.train_step(states, key[None], batch, common, recipe)
    return state, after, float(losses[0])


def test_a_step_lowers_the_cross_entropy_with_the_shares(soft, network):
    state, _, loss = step(soft, network, "soft")
    images, _ = soft.decoded()
    images = (images - jnp.array(soft.mean)) / jnp.array(soft.std)
    logits, _ = networks.forward(network, state.variables, images)
    wanted = optax.softmax_cross_entropy(logits, soft.soft_labels.astype(np.float32)).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)


def test_shares_of_one_class_are_hard_labels(chosen, network):
    exact = np.eye(3, dtype=np.float16)[chosen.labels]
    same = dataclasses.replace(chosen, soft_labels=exact)
    (_, hard, loss), (_, own, other) = (step(same, network, kind) for kind in ("hard", "soft"))
    np.testing.assert_allclose(loss, other, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(hard.variables), jax.tree.leaves(own.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_protocols_on_soft_labels_want_a_set_that_has_some(chosen, soft, test, network):
    config = protocols.protocol("dance_soft", test.name, epochs=2)
    usual = protocols.protocol("dance", test.name, epochs=2)
    assert config == dataclasses.replace(usual, labels="soft")
    with pytest.raises(UserError, match="soft labels"):
        evaluation.evaluate(chosen, test, network, config, repeats=1)
    found = evaluation.evaluate(soft, test, network, config, repeats=1)
    assert found.record["training"]["labels"] == "soft"
    with pytest.raises(UserError, match="labels"):
        training.TrainConfig(epochs=1, labels="firm")
    assert experts.expert_training(28).labels == "hard"
