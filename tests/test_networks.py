"""ConvNet by closed forms and plain NumPy; the own convolution against XLA's."""

from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dancejax import condensation, condensed, evaluation, methods, networks
from dancejax.errors import UserError
from dancejax.networks import blocks, convolution, layers, winograd
from dancejax.training import experts, protocols


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("norm", ["instance", "none", "batch", "group"])
@pytest.mark.parametrize(("depth", "width", "shape"), [(3, 128, (32, 32, 3)), (2, 8, (28, 28, 1))])
def test_parameter_counts(norm, depth, width, shape):
    network = networks.create("convnet", 10, shape, depth=depth, width=width, norm=norm)
    variables = jax.eval_shape(lambda key: networks.init(network, key, shape), jax.random.key(0))
    side = (32 if shape == (28, 28, 1) else shape[0]) // 2**depth
    convolutions = 9 * shape[-1] * width + width + (depth - 1) * (9 * width**2 + width)
    norms = 0 if norm == "none" else 2 * width * depth
    classifier = (side**2 * width + 1) * 10
    assert size(variables["params"]) == convolutions + norms + classifier
    assert ("batch_stats" in variables) == (norm == "batch")


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_published_feature_size(shape):
    """2048 features of ConvNet-3 at 32x32, and at 28x28 by the wider first padding."""
    network = networks.create("convnet", 10, shape)
    images = jnp.zeros((2, *shape))
    logits, features = jax.eval_shape(
        lambda key: networks.forward(network, networks.init(network, key, shape), images),
        jax.random.key(0),
    )
    assert features.shape == (2, 2048) and logits.shape == (2, 10)
    assert network.depth == 3 and network.width == 128 and network.norm == "instance"


@pytest.mark.parametrize(("side", "depth"), [(28, 3), (32, 3), (64, 4), (128, 5), (224, 6)])
def test_depth_follows_the_image(side, depth):
    assert networks.create("convnet", 10, (side, side, 3)).depth == depth


def plain_convnet(params, x, activation, pooling, padding):
    x = np.asarray(x, np.float64)
    for block in range(2):
        kernel, bias = (
            np.asarray(params[f"conv{block}"][k], np.float64) for k in ("kernel", "bias")
        )
        pad = padding if block == 0 else 1
        p = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        h, w = p.shape[1] - 2, p.shape[2] - 2
        x = (
            sum(p[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))
            + bias
        )
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
        scale = params[f"norm{block}"]["norm"]
        x = x * np.asarray(scale["scale"]) + np.asarray(scale["bias"])
        x = activation(x)
        n, h, w, c = x.shape
        x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
        x = x.mean((2, 4)) if pooling == "avg" else x.max((2, 4))
    features = x.reshape(len(x), -1)
    return features @ np.asarray(params["Dense_0"]["kernel"]) + params["Dense_0"]["bias"], features


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        ("swish", lambda x: x / (1 + np.exp(-x))),
    ],
)
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_convnet_is_what_the_papers_say(name, activation, pooling):
    for shape, padding in (((28, 28, 1), 3), ((10, 10, 3), 1)):
        network = networks.create(
            "convnet", 3, shape, depth=2, width=4, activation=name, pooling=pooling
        )
        variables = networks.init(network, jax.random.key(0), shape)
        params = variables["params"]
        params["norm0"]["norm"]["scale"] = jnp.array([0.5, 1.0, 1.5, 2.0])
        images = jax.random.normal(jax.random.key(1), (2, *shape))
        logits, features = networks.forward(network, variables, images)
        expected = plain_convnet(params, images, activation, pooling, padding)
        np.testing.assert_allclose(features, expected[1], atol=2e-4)
        np.testing.assert_allclose(logits, expected[0], atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "axes"), [("instance", (1, 2)), ("layer", (1, 2, 3)), ("batch", (0, 1, 2))]
)
def test_norms_standardise_over_their_axes(kind, axes):
    x = jax.random.normal(jax.random.key(0), (3, 6, 6, 8)) * 4 + 2
    norm = layers.Norm(kind)
    variables = norm.init(jax.random.key(0), x, True)
    y, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    x = np.asarray(x, np.float64)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    if kind == "batch":
        running = updated["batch_stats"]["norm"]
        np.testing.assert_allclose(running["mean"], 0.1 * x.mean(axes), rtol=1e-4)
        np.testing.assert_allclose(running["var"], 0.9 + 0.1 * x.var(axes), rtol=1e-4)


def test_a_network_of_ones_own_is_not_made_by_name():
    with pytest.raises(UserError, match="own"):
        networks.create(networks.create("convnet", 3, (28, 28, 1)), 3, (28, 28, 1))


def test_channels_that_four_groups_do_not_divide_are_said():
    for name in ("convnet", "resnet10"):
        networks.create(name, 3, (28, 28, 1), norm="group", width=8)
        with pytest.raises(UserError, match="width"):
            networks.create(name, 3, (28, 28, 1), norm="group", width=6)


def test_group_norm_has_four_groups_and_none_does_nothing():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    norm = layers.Norm("group")
    y = norm.apply(norm.init(jax.random.key(0), x, True), x, True)
    grouped = np.asarray(x, np.float64).reshape(2, 4, 4, 4, 2)
    expected = (grouped - grouped.mean((1, 2, 4), keepdims=True)) / np.sqrt(
        grouped.var((1, 2, 4), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(y, expected.reshape(x.shape), atol=1e-4)
    np.testing.assert_array_equal(layers.Norm("none").apply({}, x, True), x)


def test_uniform_initialisation_is_the_published_one():
    network = networks.create("convnet", 10, (32, 32, 3), width=64)
    params = networks.init(network, jax.random.key(0), (32, 32, 3))["params"]
    for name, fan_in in (("conv0", 27), ("conv1", 576), ("Dense_0", 1024)):
        kernel, bias = (np.asarray(params[name][k]) for k in ("kernel", "bias"))
        bound = fan_in**-0.5
        assert np.abs(kernel).max() <= bound and np.abs(bias).max() <= bound
        assert np.abs(bias).max() > 0.5 * bound
        np.testing.assert_allclose(kernel.var(), 1 / (3 * fan_in), rtol=0.1)
    lecun = networks.create("convnet", 10, (32, 32, 3), width=64, initializer="lecun")
    params = networks.init(lecun, jax.random.key(0), (32, 32, 3))["params"]
    np.testing.assert_allclose(params["conv1"]["kernel"].var(), 1 / 576, rtol=0.1)
    np.testing.assert_array_equal(params["conv1"]["bias"], 0)


@pytest.mark.parametrize("channels", [3, 64])
@pytest.mark.parametrize("window", [2, 3])
def test_average_pooling_and_its_gradient_are_xlas_to_the_bit(channels, window):
    """Odd rests too, and what comes before it, which XLA fuses with the gradient."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, 7, 8, channels))
    sizes = (window, window)
    g = jax.random.normal(keys[1], (2, 7 // window, 8 // window, channels))
    found, expected = (
        jax.jit(lambda x, g, f=f: (lambda y, back: (y, *back(g)))(*jax.vjp(f, x)))(x, g)
        for f in (
            lambda x: layers.pool(nn.relu(x), "avg", window),
            lambda x: nn.avg_pool(nn.relu(x), sizes, strides=sizes),
        )
    )
    chex.assert_trees_all_equal(found, expected)


def test_max_pooling_is_xlas():
    x = jax.random.normal(jax.random.key(0), (2, 7, 9, 3))
    for window in (2, 3):
        sizes = (window, window)
        ours, ours_vjp = jax.vjp(lambda x, w=window: layers.pool(x, "max", w), x)
        theirs, theirs_vjp = jax.vjp(lambda x, s=sizes: nn.max_pool(x, s, strides=s), x)
        np.testing.assert_array_equal(ours, theirs)
        seed = jax.random.normal(jax.random.key(1), ours.shape)
        np.testing.assert_array_equal(ours_vjp(seed)[0], theirs_vjp(seed)[0])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "side"),
    [(3, 1, 1, 7), (3, 1, 3, 6), (1, 1, 0, 5), (5, 1, 2, 8), (3, 2, 1, 7), (3, 2, 1, 8),
     (5, 2, 2, 9), (1, 2, 0, 7), (3, 1, 0, 5)],
)  # fmt: skip
def test_own_convolution_has_xlas_gradients(kernel, stride, padding, side):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, side, side, 3))
    k = jax.random.normal(keys[1], (kernel, kernel, 3, 4))
    results = []
    for conv in (convolution.conv_xla, convolution.conv_cpu):
        out, vjp = jax.vjp(lambda a, b, conv=conv: conv(a, b, stride, padding), x, k)
        results.append((out, *vjp(jax.random.normal(keys[2], out.shape))))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [(64, 80), (4, 16)])
def test_convolutions_of_many_channels_are_exact(channels):
    """Beside float64, by Winograd's transforms and without."""
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=(2, 16, 16, c)) for c in channels)
    kernel = rng.normal(size=(3, 3, *channels)) / (9 * channels[0]) ** 0.5
    assert winograd.pays(jnp.asarray(x), jnp.asarray(kernel), 1, 1) == (min(channels) >= 64)

    @jax.jit
    def values(x, kernel, g):
        out, vjp = jax.vjp(lambda a, b: convolution.conv_cpu(a, b, 1, 1), x, kernel)
        return out, *vjp(g)

    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out, dx, dk = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(kernel.shape)
    for i, j in np.ndindex(3, 3):
        seen = padded[:, i : i + 16, j : j + 16]
        out += seen @ kernel[i, j]
        dx[:, i : i + 16, j : j + 16] += g @ kernel[i, j].T
        dk[i, j] = np.einsum("nhwa,nhwb->ab", seen, g)
    expected = out, dx[:, 1:-1, 1:-1], dk
    for ours, exact in zip(values(*map(jnp.float32, (x, kernel, g))), expected, strict=True):
        np.testing.assert_allclose(ours, exact, atol=3e-6 * np.abs(exact).max())


def test_own_convolution_inside_scan_and_vmap():
    x = jax.random.normal(jax.random.key(0), (3, 2, 6, 6, 3))
    k = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))

    def grad(conv):
        return jax.grad(lambda a: jnp.sum(jnp.sin(conv(a, k, 1, 1))))

    expected = jnp.stack([grad(convolution.conv_xla)(a) for a in x])
    np.testing.assert_allclose(lax.map(grad(convolution.conv_cpu), x), expected, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(grad(convolution.conv_cpu))(x), expected, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_is_near_and_means_stay_float32():
    shape = (32, 32, 3)
    full = networks.create("convnet", 10, shape, width=8)
    half = networks.create("convnet", 10, shape, width=8, dtype="bfloat16")
    assert half == networks.create("convnet", 10, shape, width=8, dtype=jnp.bfloat16)
    variables = networks.init(full, jax.random.key(0), shape)
    images = jax.random.normal(jax.random.key(1), (4, *shape))
    a, b = (networks.features(n, variables, images) for n in (full, half))
    assert b.dtype == jnp.float32
    assert 0 < float(jnp.abs(a - b).max()) < 0.1 * float(jnp.abs(a).max())


def test_descriptions_make_the_same_network():
    network = networks.create("convnet", 7, (32, 32, 3), width=16, norm="batch", dtype="bfloat16")
    about = networks.identity(network)
    name, classes = about.pop("name"), about.pop("num_classes")
    assert networks.create(name, classes, (32, 32, 3), **about) == network


def test_activation_bytes_count_the_layers_outputs():
    """Convolutions and norms (seen twice, as module and inner module), logits, both outputs."""
    network = networks.create("convnet", 10, (32, 32, 3), width=8, depth=1)
    outputs = 3 * 32 * 32 * 8 + 10 + (10 + 16 * 16 * 8)
    assert networks.activation_bytes(network, (32, 32, 3)) == (4 * outputs, 4 * 32 * 32 * 8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "resnet"}, "unknown network 'resnet'"),
        ({"breadth": 3}, "convnet has no option 'breadth'; it has depth, width"),
        ({"norm": "l2"}, "unknown norm 'l2'; choose one of instance"),
        ({"activation": "gelu"}, "unknown activation 'gelu'"),
        ({"pooling": "sum"}, "unknown pooling 'sum'"),
        ({"initializer": "zeros"}, "unknown initializer 'zeros'"),
        ({"width": 0}, "width must be a whole number of at least 1, not 0"),
        ({"depth": 6}, "depth 6 needs images of at least 64 pixels"),
    ],
)
def test_what_does_not_exist_is_said(options, sentence):
    with pytest.raises(UserError, match=sentence):
        networks.create(options.pop("name", "convnet"), 10, (32, 32, 3), **options)


def test_a_data_set_says_what_a_network_is_made_for(train):
    made = networks.create("convnet", train, width=4)
    assert made == networks.create("convnet", 3, train.image_shape, width=4)
    with pytest.raises(UserError, match="image_shape"):
        networks.create("convnet", train, train.image_shape)
    with pytest.raises(UserError, match="shape"):
        networks.create("convnet", 3)


class Own(nn.Module):
    """A module that is none of the package's, with batch norm under a name of its own."""

    num_classes: int
    width: int = 4
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(self.width, (3, 3), strides=2)(x)
        x = self.activation(nn.BatchNorm(use_running_average=not train)(x))
        features = x.reshape(len(x), -1)
        return nn.Dense(self.num_classes)(features), features


@pytest.mark.slow
def test_a_module_of_ones_own_works_as_those_with_names_do(train, test, tmp_path):
    network = Own(3)
    config = experts.expert_training(28, epochs=1, batch_size=24)
    experts.train_pool(train, network, config, count=1, run=tmp_path)
    experts.train_pool(train, Own(3), config, count=1, run=tmp_path)  # the same one
    found = experts.load_pool(tmp_path, dataset=train, network=network)
    assert found.network is network
    assert found.description["network"]["name"].endswith("test_networks.Own")
    experts.load_trajectory(tmp_path, 0, network=network)
    for wrong in (None, Own(3, width=5), networks.create("convnet", train, width=4)):
        with pytest.raises(UserError, match="network"):
            experts.load_pool(tmp_path, network=wrong)
    method = methods.create("dance", network=network, batch_real=8)
    made = condensation.condense(method, train, ipc=1, steps=2, experts=found)
    made.save(tmp_path / "set")
    settings = condensed.load(tmp_path / "set").settings
    assert settings["network"] == networks.identity(network)
    protocol = protocols.protocol("dance", train.name, epochs=2)
    result = evaluation.evaluate(made, test, network, protocol, repeats=1)
    assert result.record["network"] == networks.identity(network)


def test_a_pool_of_a_named_network_refuses_another(train, network, pool_folder):
    assert experts.load_pool(pool_folder, network=network).network == network
    with pytest.raises(UserError, match="network"):
        experts.load_pool(pool_folder, network=Own(3))


def test_batch_statistics_are_found_by_what_a_network_holds(train):
    assert networks.uses_batch_statistics(Own(3), train.image_shape)
    assert networks.images_per_block(Own(3), 10**6, train.image_shape) == 10**6
    assert not networks.uses_batch_statistics(networks.create("convnet", train), train.image_shape)
    assert "0x" not in networks.identity(Own(3))["module"]


def test_what_a_gradient_of_blocks_keeps_changes_no_bit_of_it(monkeypatch):
    network = networks.create("convnet", 3, (8, 8, 3), depth=2, width=8)
    variables = networks.init(network, jax.random.key(0), (8, 8, 3))
    images = jax.random.normal(jax.random.key(1), (6, 8, 8, 3))
    monkeypatch.setattr(blocks, "images_per_block", lambda *_: 2)

    def gradient(images):
        def loss(images):
            logits, features = networks.forward_in_blocks(network, variables, images)
            return jnp.sum(logits**2) + jnp.sum(features.mean(0) ** 2)

        return jax.grad(loss)(images)

    found, convolutions = [], []
    for kept in (blocks._KEPT_BYTES, 0):
        monkeypatch.setattr(blocks, "_KEPT_BYTES", kept)
        jax.clear_caches()
        traced = jax.jit(gradient).trace(images)
        convolutions.append(str(traced.jaxpr).count("conv_general_dilated"))
        found.append(traced.lower().compile()(images))
    np.testing.assert_array_equal(*found)
    assert convolutions[0] < convolutions[1]
