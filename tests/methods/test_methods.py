"""Each method against a plain statement of its paper, class by class."""

import functools
import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from dancejax import condensation, initialisation, interpolate, methods, mmd, networks
from dancejax.data import sampling
from dancejax.errors import UserError
from dancejax.methods import base, descent, dm, m3d
from dancejax.methods.descent import Descent
from dancejax.methods.optimizers import SGD

IPC, BATCH = 2, 8
IDM = {
    "update_order": "joint",
    "accuracy_window": 0,
    "queue_size": 3,
    "queue_start": 2,
    "push_every": 2,
    "train_batch": 8,
    "train_steps": 2,
}


def make(name, network, **options):
    options = {"batch_real": BATCH, "augmentation": "", **options}
    return methods.create(name, network=network, **options)


def begin(method, train, pool=None, seed=0):
    context = condensation.make_context(train, pool)
    start = initialisation.initial_pixels(train, IPC, method.factor, seed=seed)
    return method.init(jax.random.key(seed), start, context), context


features = jax.jit(networks.features, static_argnums=0)
init = jax.jit(networks.init, static_argnums=(0, 2))


@jax.jit
def real_images(k_real, step, label, context):
    images = sampling.class_batch(k_real, step, context.real, jnp.array([label]), BATCH)[0]
    return sampling.normalise(images, context.mean, context.std)


@functools.partial(jax.jit, static_argnums=1)
def decoded(pixels, factor, context):
    images = pixels
    if factor == 2:  # tiles, then jax's own half-pixel bilinear
        n, h, w, c = pixels.shape
        tiles = [
            pixels[i, y : y + h // 2, x : x + w // 2]
            for i in range(n)
            for y in (0, h // 2)
            for x in (0, w // 2)
        ]
        images = jnp.stack([jax.image.resize(t, (h, w, c), "bilinear") for t in tiles])
    return sampling.normalise(images, context.mean, context.std)


def mean_feature(network, variables, images):
    return features(network, variables, images).mean(0)


def sgd(pixels, buffer, grads, rate, momentum=0.5):
    buffer = momentum * buffer + grads
    return pixels - rate * buffer, buffer


def test_dm_steps_as_its_paper_says(train, network):
    method = make("dm", network)
    state, context = begin(method, train)
    k_real, k_network, _ = jax.random.split(state.key, 3)
    pixels, buffer = np.asarray(state.pixels), np.zeros_like(state.pixels)
    update = jax.jit(method.update)

    @jax.jit
    @jax.value_and_grad
    def distance(own, real, variables):
        return jnp.sum((real - mean_feature(network, variables, own)) ** 2)

    for step in range(3):
        variables = init(network, jax.random.fold_in(k_network, step), train.image_shape)
        grads = []
        for label in range(3):
            real = mean_feature(network, variables, real_images(k_real, step, label, context))
            value, grad = distance(jnp.asarray(pixels[label]), real, variables)
            grads.append(grad)
        pixels, buffer = sgd(pixels, buffer, np.stack(grads), 1.0)
        state, metrics = update(state, context)
        np.testing.assert_allclose(metrics["matching"][2], value, rtol=1e-4)
        np.testing.assert_allclose(state.pixels, pixels, rtol=1e-4, atol=1e-5)


def test_dm_matches_more_moments_by_name(train, network):
    """Its loss is that of the first network's features; one moment is DM to the bit."""
    usual, one, three = (make("dm", network, **m) for m in ({}, {"moments": 1}, {"moments": 3}))
    found = []
    for method in (usual, one, three):
        state, context = begin(method, train)
        after, metrics = jax.jit(method.update)(state, context)
        found.append((np.asarray(after.pixels), np.asarray(metrics["matching"])))
    chex.assert_trees_all_equal(found[0], found[1])
    k_real, k_network, _ = jax.random.split(state.key, 3)
    variables = init(network, jax.random.fold_in(k_network, 0), train.image_shape)
    for label in range(3):
        real, own = (
            np.asarray(features(network, variables, images), np.float64)
            for images in (real_images(k_real, 0, label, context), state.pixels[label])
        )
        total = ((real.mean(0) - own.mean(0)) ** 2).sum()
        for order in (2, 3):
            total += ((scipy.stats.moment(real, order) - scipy.stats.moment(own, order)) ** 2).sum()
        np.testing.assert_allclose(found[2][1][label], total, rtol=1e-4)
    assert np.abs(found[2][0] - found[0][0]).max() > 1e-5
    for moments in (0, 4):
        with pytest.raises(UserError, match="moments"):
            make("dm", network, moments=moments)


def test_dm_keeps_a_network_for_iterations_per_model(train, network):
    """With one network, one batch and a rate of 0 the loss stays; a new network changes it."""
    method = make("dm", network, iterations_per_model=2, learning_rate=0.0, batch_real=24)
    state, context = begin(method, train)
    update = jax.jit(method.update)
    losses = []
    for _ in range(4):
        state, metrics = update(state, context)
        losses.append(np.asarray(metrics["matching"]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[3], rtol=1e-4)
    assert not np.allclose(losses[1], losses[2], rtol=1e-2)


def test_m3d_with_the_linear_kernel_is_dm(train, network):
    """M3D's linear kernel gives DM's loss and gradient."""
    context = condensation.make_context(train)
    pair = []
    for create in (
        lambda: m3d.create(m3d.Config(factor=1, batch_real=BATCH, kernel="linear"), network),
        lambda: dm.matching(
            "dm", m3d.Config(factor=1, batch_real=BATCH), network, mmd.mean_discrepancy, base.UNIT
        ),
    ):
        method = create()
        state, _ = begin(method, train)
        state, metrics = jax.jit(method.update)(state, context)
        pair.append((state.pixels, metrics["matching"]))
    chex.assert_trees_all_close(*pair, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kernel", m3d.KERNELS)
def test_m3d_loss_is_the_mmd_of_the_features(kernel, train, network):
    method = make("m3d", network, kernel=kernel, factor=2)
    state, context = begin(method, train)
    k_real, k_network, _ = jax.random.split(state.key, 3)
    variables = init(network, jax.random.fold_in(k_network, 0), train.image_shape)
    _, metrics = jax.jit(method.update)(state, context)
    for label in range(3):
        x = np.asarray(
            features(network, variables, real_images(k_real, 0, label, context)),
            np.float64,
        )
        y = np.asarray(
            features(network, variables, decoded(state.pixels[label], 2, context)),
            np.float64,
        )
        z = np.concatenate([x, y])
        distances = ((z[:, None] - z[None]) ** 2).sum(-1)
        if kernel == "gaussian":
            band = distances.sum() / (len(z) * (len(z) - 1))
            gram = sum(np.exp(-distances / (m * band)) for m in (0.25, 0.5, 1, 2, 4))
        else:
            gram = z @ z.T if kernel == "linear" else (z @ z.T + 1) ** 2
        n = len(x)
        expected = gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()
        scale = 1e-5 * gram.max()  # cancellation of three large means
        np.testing.assert_allclose(metrics["matching"][label], expected, rtol=1e-3, atol=scale)


def test_m3d_refuses_an_unknown_kernel(network):
    with pytest.raises(UserError, match="rbf"):
        methods.create("m3d", network=network, kernel="rbf")


@pytest.mark.parametrize(
    ("pltda", "calibration"),
    [(True, True), *(pytest.param(*pair, marks=pytest.mark.slow)
                     for pair in ((True, False), (False, True), (False, False)))],
)  # fmt: skip
def test_dance_steps_as_its_paper_says(pltda, calibration, train, smooth, pool):
    method = make("dance", smooth, pltda=pltda, calibration=calibration, learning_rate=0.3,
                  update_order="joint", without_pltda="expert")  # fmt: skip
    state, context = begin(method, train, pool)
    k_real, k_run = jax.random.split(state.key)
    pixels, buffer = np.asarray(state.pixels), np.zeros_like(state.pixels)
    update = jax.jit(method.update)

    @jax.jit
    @jax.value_and_grad
    def align(own, label, step, mid, final):
        real = mean_feature(smooth, mid, real_images(k_real, step, label, context))
        syn = mean_feature(smooth, mid, decoded(own, 2, context))
        return jnp.sum((real - syn) ** 2)

    @jax.jit
    @jax.value_and_grad
    def calibrate(own, label, step, mid, final):
        logits, _ = networks.forward(smooth, final, decoded(own, 2, context))
        return -jnp.mean(jax.nn.log_softmax(logits)[:, label])

    for step in range(3):
        k_expert, k_lambda, *_ = jax.random.split(jax.random.fold_in(k_run, step), 6)
        chosen = int(jax.random.randint(k_expert, (), 0, 2))
        lam = float(jax.random.uniform(k_lambda)) if pltda else 0.0
        first, final = (interpolate.select(tree, chosen) for tree in pool)
        mid = jax.tree.map(lambda a, b, lam=lam: lam * a + (1 - lam) * b, first, final)
        pixels = np.clip(pixels, 0, 1)
        for loss in (align, calibrate) if calibration else (align,):
            pairs = [loss(jnp.asarray(p), c, step, mid, final) for c, p in enumerate(pixels)]
            pixels, buffer = sgd(pixels, buffer, np.stack([g for _, g in pairs]), 0.3)
        state, metrics = update(state, context)
        assert set(metrics) == ({"pltda", "calibration"} if calibration else {"pltda"})
        last = metrics["calibration" if calibration else "pltda"]
        np.testing.assert_allclose(last, [v for v, _ in pairs], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state.pixels, pixels, rtol=1e-4, atol=1e-5)
    stored = method.pixels(state, context)
    assert float(stored.min()) >= 0 and float(stored.max()) <= 1


def test_dance_without_pltda_matches_under_one_random_network(train, smooth, pool):
    """The authors' reading: neither the experts nor the iteration change whose features count."""
    method = make("dance", smooth, pltda=False, calibration=False)
    state, context = begin(method, train, pool)
    other = context._replace(experts=jax.tree.map(lambda x: 2 * x, context.experts))
    update = jax.jit(method.update)
    (after, metrics), (again, _) = update(state, context), update(state, other)
    np.testing.assert_array_equal(after.pixels, again.pixels)
    fixed = init(smooth, jax.random.fold_in(state.key, zlib.crc32(b"fixed network")),
                          train.image_shape)  # fmt: skip
    k_real, _ = jax.random.split(state.key)
    for label in range(3):
        real = mean_feature(smooth, fixed, real_images(k_real, 0, label, context))
        syn = mean_feature(smooth, fixed, decoded(state.pixels[label], 2, context))
        distance = jnp.sum((real - syn) ** 2)
        np.testing.assert_allclose(metrics["pltda"][label], distance, rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_classwise_steps_are_those_of_one_class_after_the_other(momentum):
    """Against the authors' loop: for each class, a step on the whole tensor with its gradient."""
    rate, count = 0.1, 4
    pixels = jax.random.normal(jax.random.key(0), (count, 2, 3, 3, 1))
    optimizer = optax.sgd(rate, momentum)

    def gradients(own, classes):
        return {"first": own[:, 0, 0, 0, 0]}, jnp.cos(own) + 0.3 * own

    ours, state = pixels, optimizer.init(pixels)
    looped, loop_state = pixels, optimizer.init(pixels)
    steps = Descent(SGD, rate, momentum, "classwise")
    theirs, buffer = np.asarray(pixels, np.float64), np.zeros(pixels.shape)
    for _ in range(3):
        ours, state, metrics = descent.descend(steps, ours, state, gradients)
        looped, loop_state, loop_metrics = descent.classwise(
            optimizer, looped, loop_state, gradients
        )
        chex.assert_trees_all_close(
            (looped, loop_state, loop_metrics), (ours, state, metrics), rtol=1e-6, atol=1e-6
        )
        for label in range(count):
            grads = np.zeros_like(buffer)
            grads[label] = np.cos(theirs[label]) + 0.3 * theirs[label]
            theirs, buffer = sgd(theirs, buffer, grads, rate, momentum)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state[0].trace, buffer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("dm", marks=pytest.mark.slow), "dance"])
def test_the_pixel_optimiser_is_given_to_the_method(name, train, smooth, pool):
    """Adam's first step of a tensor is rate * sign(gradient), whatever the gradient's size."""
    rate = 0.01
    options = {"update_order": "joint", "calibration": False} if name == "dance" else {}
    found = []
    for optimizer in (optax.adam(rate), "adam"):
        method = methods.create(
            name, smooth, optimizer=optimizer, batch_real=BATCH, learning_rate=rate, **options
        )
        state, context = begin(method, train, pool)
        after, _ = jax.jit(method.update)(state, context)
        found.append(after.pixels)
        moved = np.abs(np.asarray(after.pixels - state.pixels))
        assert moved.max() <= rate * 1.01 and np.median(moved) > 0.9 * rate
        assert method.settings(IPC, train.image_shape)["optimizer"] == method.optimizer.name
    np.testing.assert_array_equal(*found)
    assert method.optimizer.name == "adam"


def test_records_name_an_optimiser_that_is_not_the_papers(train, network):
    def recorded(optimizer):
        method = methods.create("dm", network, optimizer=optimizer)
        return methods.without_flips(method).settings(IPC, train.image_shape).get("optimizer")

    found = [recorded(optimizer) for optimizer in (None, "sgd", "adamw", optax.sgd(1.0))]
    assert found == [None, None, "adamw", "own"]
    for wrong in ("adagrad", 0.1):
        with pytest.raises(UserError, match="optimizer"):
            methods.create("dm", network, optimizer=wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["idm", "dance"])
def test_classwise_with_any_optimiser_steps_after_each_class(name, train, smooth, pool):
    """SGD by the loop over classes, which any transformation gets, and by its closed form."""
    rate = 0.1
    found = []
    for optimizer in (None, optax.sgd(rate, 0.5)):
        method = methods.create(
            name, smooth, optimizer=optimizer, batch_real=BATCH, learning_rate=rate,
            **({**IDM, "update_order": "classwise"} if name == "idm" else {}),
        )  # fmt: skip
        state, context = begin(method, train, pool)
        update = jax.jit(method.update)
        for _ in range(2):
            state, metrics = update(state, context)
        found.append((state.pixels, metrics))
    chex.assert_trees_all_close(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("idm", marks=pytest.mark.slow), "dance"])
def test_both_orders_of_steps_are_there(name, train, network, pool):
    found = []
    for order in ("joint", "classwise"):
        options = {**(IDM if name == "idm" else {}), "update_order": order}
        method = make(name, network, **options)
        state, context = begin(method, train, pool)
        update = jax.jit(method.update)
        for _ in range(2):
            state, _ = update(state, context)
        found.append(np.asarray(state.pixels))
    assert 1e-6 < np.abs(found[0] - found[1]).max() < 0.2
    with pytest.raises(UserError, match="update_order"):
        make(name, network, update_order="sideways")


@pytest.mark.parametrize(
    ("setting", "value"), [("momentum", 1.5), ("momentum", -0.1), ("learning_rate", -1.0),
                           ("learning_rate", float("nan"))]
)  # fmt: skip
@pytest.mark.parametrize("name", ["dm", "m3d", "idm", "dance"])
def test_settings_that_make_no_sense(name, setting, value, network):
    with pytest.raises(UserError, match=setting):
        methods.create(name, network=network, **{setting: value})


def test_more_settings_that_make_no_sense(network):
    for name, setting, value in (
        ("m3d", "degree", 0), ("idm", "accuracy_window", -1), ("dance", "without_pltda", "none"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=setting):
            methods.create(name, network=network, **{setting: value})


def test_dance_calibrates_every_so_often(train, network, pool):
    method = make("dance", network, calibration_every=2)
    state, context = begin(method, train, pool)
    update = jax.jit(method.update)
    seen = []
    for _ in range(4):
        state, metrics = update(state, context)
        seen.append(float(metrics["calibration"].sum()) > 0)
    assert seen == [True, False, True, False]


def test_dance_has_the_papers_rate_by_default(train, network, pool):
    """0.01 * IPC below 128 pixels: the same step as with that rate given."""
    results = []
    for rate in (None, 0.01 * IPC):
        method = make("dance", network, learning_rate=rate)
        state, context = begin(method, train, pool)
        results.append(jax.jit(method.update)(state, context)[0].pixels)
    np.testing.assert_array_equal(*results)


def test_dance_without_experts_says_so(train, network):
    method = make("dance", network)
    with pytest.raises(UserError, match="pool of experts"):
        begin(method, train)


@pytest.mark.parametrize(
    "name", ["dm", "m3d", pytest.param("idm", marks=pytest.mark.slow), "dance"]
)
def test_each_method_lowers_its_own_objective(name, train, network, pool):
    """Measured as the distance of mean features, before and after, under networks not seen."""
    method = make(name, network, factor=1, **(IDM if name == "idm" else {}))
    state, context = begin(method, train, pool)

    def distance(state):
        units = method.pixels(state, context)
        total = 0.0
        for number in range(5):
            variables = init(network, jax.random.key(100 + number), train.image_shape)
            for label in range(3):
                own = sampling.normalise(units[label], context.mean, context.std)
                real = train.images[train.labels == label]
                real = sampling.normalise(jnp.asarray(real), context.mean, context.std)
                total += float(mmd.mean_discrepancy(
                    features(network, variables, real),
                    features(network, variables, own),
                ))  # fmt: skip
        return total

    before = distance(state)
    update = jax.jit(method.update)
    for _ in range(40):
        state, _ = update(state, context)
    assert distance(state) < 0.8 * before


def test_idm_weighs_cross_entropy_by_accuracy_in_percent(train, network):
    method = make(
        "idm",
        network,
        regularisation=0.5,
        networks_trained=1,
        **{**IDM, "queue_start": 1, "queue_size": 1},
    )
    state, context = begin(method, train)
    queue = state.extra._replace(correct=jnp.array([30.0]), seen=jnp.array([40.0]))
    variables = interpolate.select(queue.variables, 0)
    steps = [jax.jit(method.update)(state._replace(extra=q), context) for q in (state.extra, queue)]
    assert float(steps[0][1]["network_accuracy"]) == 0
    assert float(steps[1][1]["network_accuracy"]) == 75

    def entropy(pixels):
        total = 0.0
        for label in range(3):
            images = base.NORMALISED.units(pixels[label], context)
            logits, _ = networks.forward(network, variables, decoded(images, 2, context))
            total -= jnp.mean(jax.nn.log_softmax(logits)[:, label])
        return total

    expected = -0.2 * 0.5 * 75 * jax.jit(jax.grad(entropy))(state.pixels)
    found = steps[1][0].pixels - steps[0][0].pixels
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_idm_trains_networks_by_plain_sgd(train, network):
    method = make("idm", network, networks_trained=1, **{**IDM, "queue_start": 1, "queue_size": 1})
    state, context = begin(method, train)
    variables = interpolate.select(state.extra.variables, 0)
    params, buffer = variables["params"], jax.tree.map(jnp.zeros_like, variables["params"])
    key = jax.random.split(state.key, 4)[2]  # the key of the training epochs
    update, correct = jax.jit(method.update), 0
    for step in range(2):
        for k in range(2):
            index = sampling.epoch_positions(key, jnp.int32(2 * step + k), 8, 72)
            images = sampling.normalise(context.real.images[index], context.mean, context.std)
            labels = context.real.labels[index]

            def loss(p, images=images, labels=labels):
                logits, _ = network.apply({"params": p}, images)
                losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
                return losses.mean(), logits

            (_, logits), grads = jax.value_and_grad(loss, has_aux=True)(params)
            correct += int((logits.argmax(-1) == labels).sum())
            buffer = jax.tree.map(lambda b, g, p: 0.9 * b + g + 5e-4 * p, buffer, grads, params)
            params = jax.tree.map(lambda p, b: p - 0.01 * b, params, buffer)
        state, _ = update(state, context)
    found = interpolate.select(state.extra.variables, 0)["params"]
    chex.assert_trees_all_close(found, params, rtol=1e-4, atol=1e-6)
    assert float(state.extra.correct[0]) == correct and float(state.extra.seen[0]) == 32
