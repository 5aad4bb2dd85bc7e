"""Blocks of classes, the shared augmentation, and the spaces that pixels live in."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import augment, condensation, data, initialisation, methods, multiformation
from dancejax.data import sampling
from dancejax.methods import base, descent


def toy_loss(pixels, classes, shared):
    weights = shared + classes.astype(jnp.float32)
    losses = weights * jnp.sum(jnp.sin(pixels), axis=(1, 2, 3, 4))
    return losses, {"loss": losses, "doubled": 2 * losses}


@pytest.mark.parametrize("block", [1, 2, 3, 5, 9])
def test_blocks_give_what_all_classes_at_once_give(block):
    pixels = jax.random.normal(jax.random.key(0), (5, 2, 4, 4, 1))
    metrics, grads = descent.class_gradients(toy_loss, pixels, jnp.arange(5), 1.0, block)
    weights = np.arange(1, 6)
    np.testing.assert_allclose(
        metrics["loss"], weights * np.sin(pixels).sum((1, 2, 3, 4)), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["doubled"], 2 * metrics["loss"], rtol=1e-6)
    expected = weights[:, None, None, None, None] * np.cos(pixels)
    np.testing.assert_allclose(grads, expected, rtol=1e-5, atol=1e-6)
    whole = descent.class_gradients(toy_loss, pixels, jnp.arange(5), 1.0, None)
    chex.assert_trees_all_close((metrics, grads), whole, rtol=1e-5)


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_means_over_images_can_be_cut_into_pieces(pieces):
    """Also where each image has a weight of its own."""

    def mean_loss(pixels, each, shared):
        classes, weights = each
        of_images = weights * jnp.mean(jnp.sin(pixels), axis=(2, 3, 4))
        losses = shared * classes * of_images.mean(1)
        return losses, {"loss": losses}

    pixels = jax.random.normal(jax.random.key(0), (4, 6, 4, 4, 1))
    each = (jnp.arange(4), jax.random.uniform(jax.random.key(1), (4, 6)))
    whole = descent.class_gradients(mean_loss, pixels, each, 3.0, None)
    cut = descent.class_gradients(mean_loss, pixels, each, 3.0, 3, pieces=pieces)
    chex.assert_trees_all_close(cut, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dance", "dm", "idm", "m3d"])
def test_class_chunk_does_not_change_a_method(name, train, network, pool):
    """Each of the loss terms is independent from class to class, whatever block they are in."""
    context = condensation.make_context(train, pool)
    results = []
    for chunk in (2, 3):
        options = {"queue_size": 2, "train_batch": 8, "train_steps": 1} if name == "idm" else {}
        method = methods.create(name, network=network, batch_real=8, **options)
        start = initialisation.initial_pixels(train, 2, method.factor)
        state = method.init(jax.random.key(3), start, context)
        update = jax.jit(method.update, static_argnames="class_chunk")
        state, metrics = update(state, context, class_chunk=chunk)
        results.append((state.pixels, metrics))
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-5)


def config(**options):
    fields = {"batch_real": 6, "augmentation": "color_crop_cutout", "mode": "multi"}
    return base.Config(**{**fields, **options})


def same(key):
    return base.ImageKeys(key, key, key)


def test_real_and_synthetic_images_share_the_augmentation(train):
    context = condensation.make_context(train)
    key, classes, step = jax.random.key(1), jnp.array([2, 0]), jnp.int32(4)
    keys = base.ImageKeys(jax.random.key(9), key, key)
    raw = sampling.class_batch(jax.random.key(9), step, context.real, classes, 6)
    real = jax.jit(lambda: base.real_batch(config(), keys, step, classes, context))()
    syn = jax.jit(lambda x: base.synthetic(config(), base.UNIT, keys, x, classes, context))(
        raw / 255
    )
    np.testing.assert_allclose(real.images, syn.images, atol=1e-5)
    assert not np.allclose(real.images, sampling.normalise(raw, context.mean, context.std))


def test_batches_do_not_depend_on_the_block_of_classes(train):
    context = condensation.make_context(train)
    key, step = jax.random.key(1), jnp.int32(0)
    pixels = jax.random.uniform(key, (3, 2, 28, 28, 1))
    few = config(factor=2, batch_syn=3)
    synthetic = jax.jit(lambda *own: base.synthetic(few, base.UNIT, same(key), *own, context))
    drawn = jax.jit(lambda classes: base.real_batch(config(), same(key), step, classes, context))
    together, every = synthetic(pixels, jnp.arange(3)).images, drawn(jnp.arange(3)).images
    assert together.shape == (3, 3, 28, 28, 1)
    for label in range(3):
        own, number = pixels[label : label + 1], jnp.array([label])
        np.testing.assert_allclose(synthetic(own, number).images[0], together[label], atol=1e-6)
        np.testing.assert_allclose(drawn(number).images[0], every[label], atol=1e-6)


def test_subset_of_decoded_images_has_no_repeats(train):
    context = condensation.make_context(train)
    key = jax.random.key(0)
    pixels = jax.random.uniform(key, (1, 6, 28, 28, 1))
    few = config(batch_syn=4, augmentation="")
    taken = base.synthetic(few, base.UNIT, same(key), pixels, jnp.array([0]), context).images[0]
    whole = sampling.normalise(pixels[0], context.mean, context.std)
    found = [int(np.argmin(np.abs(whole - image).sum((1, 2, 3)))) for image in taken]
    assert len(set(found)) == 4
    np.testing.assert_allclose(taken, whole[np.array(found)], atol=1e-6)


def test_decoding_happens_in_unit_space(train):
    """Padding is 0.5 of [0, 1] also for methods whose pixels are normalised."""
    context = condensation.make_context(train)
    units = jax.random.uniform(jax.random.key(0), (1, 1, 7, 7, 1))
    stored = base.NORMALISED.enter(units, context)
    key = jax.random.key(0)
    plain = config(factor=2, augmentation="")
    made = base.synthetic(plain, base.NORMALISED, same(key), stored, jnp.array([0]), context)
    decoded = multiformation.decode(units[0], 2)
    expected = sampling.normalise(decoded, context.mean, context.std)
    np.testing.assert_allclose(made.images[0], expected, atol=1e-5)


@pytest.mark.parametrize("space", [base.UNIT, base.NORMALISED])
def test_spaces_go_back_and_forth(space, train):
    context = condensation.make_context(train)
    pixels = jax.random.uniform(jax.random.key(0), (2, 1, 4, 4, 1))
    np.testing.assert_allclose(
        space.units(space.enter(pixels, context), context), pixels, atol=1e-6
    )


def test_unit_space_is_clamped():
    np.testing.assert_array_equal(base.UNIT.constrain(jnp.array([-1.0, 0.5, 2.0])), [0, 0.5, 1])
    np.testing.assert_array_equal(base.NORMALISED.constrain(jnp.array([-9.0, 9.0])), [-9, 9])


@pytest.mark.slow
def test_batch_norm_sees_all_classes_whatever_the_block(train):
    from dancejax import networks

    network = networks.create("convnet", 3, train.image_shape, width=4, depth=2, norm="batch")
    context = condensation.make_context(train)
    found = []
    for chunk in (1, 3):
        method = methods.create("dm", network, batch_real=8)
        state = method.init(jax.random.key(0), initialisation.initial_pixels(train, 2, 1), context)
        update = jax.jit(method.update, static_argnames="class_chunk")
        found.append(update(state, context, class_chunk=chunk)[0].pixels)
    np.testing.assert_array_equal(*found)


def test_augmentation_names_are_checked(network):
    from dancejax.errors import UserError

    with pytest.raises(UserError, match="blur"):
        methods.create("dm", network=network, augmentation="color_blur")
    assert augment.parse("color_crop") == ("color", "crop")


def test_data_is_the_embedded_set(train):
    assert train.num_classes == 3 and len(train.labels) == 72
    assert data.load("fashion_mnist_mini").classes[:3] == train.classes
