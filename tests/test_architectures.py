"""The networks of the cross-architecture tables: published sizes, and PyTorch's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import condensation, evaluation, initialisation, methods, networks
from dancejax.errors import UserError
from dancejax.training import experts, protocols


def shapes(network, shape):
    def run(key):
        variables = networks.init(network, key, shape)
        return variables, networks.forward(network, variables, jnp.zeros((2, *shape)))

    return jax.eval_shape(run, jax.random.key(0))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("name", "norm", "shape", "classes", "parameters", "features"),
    [
        ("alexnet", "none", (32, 32, 3), 10, 1_872_202, 3072),
        ("alexnet", "none", (28, 28, 1), 10, 1_865_802, 3072),
        ("vgg11", "batch", (32, 32, 3), 10, 9_231_114, 512),
        ("vgg11", "instance", (64, 64, 3), 200, 9_635_784, 2048),
        ("resnet10", "batch", (32, 32, 3), 10, 4_903_242, 512),
        ("resnet18", "batch", (32, 32, 3), 10, 11_173_962, 512),
        ("resnet18", "batch", (224, 224, 3), 1000, 11_689_512, 512),
        ("resnetap10", "instance", (32, 32, 3), 10, 4_903_242, 512),
        ("resnetap10", "instance", (224, 224, 3), 10, 4_910_922, 512),
        ("densenet121", "batch", (32, 32, 3), 10, 1_000_618, 384),
        ("densenet121", "instance", (128, 128, 3), 10, 1_003_498, 384),
    ],
)
def test_published_sizes(name, norm, shape, classes, parameters, features):
    network = networks.create(name, classes, shape, norm=norm)
    variables, (logits, found) = shapes(network, shape)
    assert count(variables["params"]) == parameters
    assert found.shape == (2, features) and logits.shape == (2, classes)
    assert found.dtype == logits.dtype == jnp.float32
    assert ("batch_stats" in variables) == (norm == "batch")


@pytest.mark.parametrize(
    "name",
    ["alexnet", "vgg11", "resnet10", "resnetap10",
     pytest.param("densenet121", marks=pytest.mark.slow)],
)  # fmt: skip
def test_norms_and_precision_are_options_of_all(name):
    for norm in ("instance", "batch", "none", "group"):
        network = networks.create(name, 10, (32, 32, 3), norm=norm, width=8, dtype="bfloat16")
        variables, outputs = shapes(network, (32, 32, 3))
        assert all(x.dtype == jnp.float32 for x in outputs)
        assert ("batch_stats" in variables) == (norm == "batch")
        about = networks.identity(network)
        assert about.pop("name") == name
        assert networks.create(name, about.pop("num_classes"), (32, 32, 3), **about) == network


def test_names_differ_by_their_blocks():
    made = [networks.create(n, 10, (32, 32, 3)) for n in ("resnet10", "resnet18", "resnetap10")]
    names = [networks.identity(network)["name"] for network in made]
    assert names == ["resnet10", "resnet18", "resnetap10"]
    with pytest.raises(UserError, match="resnet18 has no option 'blocks'; it has width, norm"):
        networks.create("resnet18", 10, (32, 32, 3), blocks=(1, 1))


@pytest.mark.parametrize(
    ("name", "side", "sentence"),
    [("vgg11", 16, "vgg11 needs images of at least 32 pixels"), ("alexnet", 4, "at least 8")],
)
def test_too_small_images_are_said(name, side, sentence):
    with pytest.raises(UserError, match=sentence):
        networks.create(name, 10, (side, side, 3))


class Torch:
    """The same networks of PyTorch's functions, on parameters [name][leaf] of ours."""

    def __init__(self, params, norm):
        self.torch = pytest.importorskip("torch")
        self.f = self.torch.nn.functional
        self.norm_kind = norm
        self.params = jax.tree.map(lambda x: self.torch.from_numpy(np.array(x)), params)

    def conv(self, x, name, stride=1, padding=None):
        own = self.params[name]
        kernel = own["kernel"].permute(3, 2, 0, 1)
        pad = kernel.shape[-1] // 2 if padding is None else padding
        return self.f.conv2d(x, kernel, own.get("bias"), stride=stride, padding=pad)

    def norm(self, x, name):
        if self.norm_kind == "none":
            return x
        scale = self.params[name]["norm"]
        if self.norm_kind == "instance":
            return self.f.instance_norm(x, weight=scale["scale"], bias=scale["bias"])
        return self.f.batch_norm(x, None, None, scale["scale"], scale["bias"], training=True)

    def dense(self, features):
        own = self.params["Dense_0"]
        return features @ own["kernel"] + own["bias"], features

    def flat(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)

    def alexnet(self, x):
        for i in range(5):
            first = 4 if i == 0 and x.shape[1:] == (1, 28, 28) else None
            x = self.f.relu(self.norm(self.conv(x, f"conv{i}", padding=first), f"norm{i}"))
            x = self.f.max_pool2d(x, 2) if i in (0, 1, 4) else x
        return self.dense(self.flat(x))

    def vgg11(self, x):
        for i in range(8):
            first = 3 if i == 0 and x.shape[1:] == (1, 28, 28) else None
            x = self.f.relu(self.norm(self.conv(x, f"conv{i}", padding=first), f"norm{i}"))
            x = self.f.max_pool2d(x, 2) if i in (0, 1, 3, 5, 7) else x
        return self.dense(self.flat(x))

    def resnet(self, x, blocks, average):
        f, side = self.f, x.shape[-1]

        def conv_norm(x, name, stride):
            x = self.conv(x, f"{name}_conv", stride=1 if average else stride)
            x = f.avg_pool2d(x, 2) if average and stride == 2 else x
            return self.norm(x, f"{name}_norm")

        x = f.relu(conv_norm(x, "stem", 1 if average or side <= 64 else 2))
        if average and side > 64:
            x = f.avg_pool2d(x, 2 if side <= 128 else 4)
        elif side > 64:
            x = f.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(4):
            for block in range(blocks):
                name, stride = f"stage{stage}_{block}", 2 if stage and not block else 1
                short = conv_norm(x, f"{name}_shortcut", stride) if stride == 2 else x
                x = f.relu(conv_norm(x, f"{name}_first", stride))
                x = f.relu(conv_norm(x, f"{name}_second", 1) + short)
        return self.dense(x.mean((2, 3)))

    def densenet121(self, x):
        f = self.f
        x = self.conv(x, "stem")
        for block, layers in enumerate((6, 12, 24, 16)):
            for layer in range(layers):
                name = f"block{block}_{layer}"
                y = self.conv(f.relu(self.norm(x, f"{name}_norm0")), f"{name}_conv0")
                y = self.conv(f.relu(self.norm(y, f"{name}_norm1")), f"{name}_conv1")
                x = self.torch.cat([y, x], 1)
            if block < 3:
                x = f.relu(self.norm(x, f"transition{block}_norm"))
                x = f.avg_pool2d(self.conv(x, f"transition{block}_conv"), 2)
        return self.dense(f.relu(self.norm(x, "last_norm")).mean((2, 3)))

    def run(self, name, images):
        x = self.torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        if name.startswith("resnet"):
            return self.resnet(x, 2 if name == "resnet18" else 1, "ap" in name)
        return getattr(self, name)(x)


@pytest.mark.parametrize(
    ("name", "norm", "shape"),
    [
        ("alexnet", "none", (32, 32, 3)),
        ("alexnet", "instance", (28, 28, 1)),
        ("vgg11", "batch", (32, 32, 3)),
        ("vgg11", "instance", (28, 28, 1)),
        ("resnet18", "batch", (32, 32, 3)),
        ("resnet10", "instance", (96, 96, 3)),
        ("resnetap10", "instance", (32, 32, 3)),
        ("resnetap10", "batch", (128, 128, 3)),
        ("resnetap10", "batch", (160, 160, 3)),
        pytest.param("densenet121", "batch", (32, 32, 3), marks=pytest.mark.slow),
    ],
)
def test_pytorchs_layers_give_the_same(name, norm, shape):
    pytest.importorskip("torch")
    network = networks.create(name, 3, shape, norm=norm, width=4)
    variables = jax.jit(networks.init, static_argnums=(0, 2))(network, jax.random.key(0), shape)
    rng = np.random.default_rng(0)
    # Scales that are not one tell a norm's place apart.
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            rng.uniform(0.5, 1.5, x.shape).astype(np.float32) if path[-1].key == "scale" else x
        ),
        variables["params"],
    )
    images = rng.standard_normal((3, *shape)).astype(np.float32)
    ours = networks.forward(network, {**variables, "params": params}, jnp.asarray(images))
    theirs = Torch(params, norm).run(name, images)
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other.numpy(), rtol=2e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "norm"), [("resnetap10", "batch"), ("alexnet", "none"), ("vgg11", "instance")]
)
def test_networks_condense_and_train(name, norm, train, test, tmp_path):
    """As experts, in DANCE and IDM, and in evaluation."""
    network = networks.create(name, 3, train.image_shape, norm=norm, width=2)
    config = experts.expert_training(28, epochs=2, batch_size=24)
    pool = experts.train_experts(network, train, count=1, config=config, run=tmp_path)
    assert pool.network == network
    idm = {"queue_start": 2, "queue_size": 2, "train_batch": 8, "train_steps": 1}
    for method_name, options in (("dance", {}), ("idm", idm)):
        method = methods.create(method_name, network=network, batch_real=8, **options)
        made = condensation.condense(method, train, ipc=1, steps=2, experts=pool)
        start = initialisation.initial_pixels(train, 1, 2).reshape(made.images.shape)
        moved = np.abs(made.images - np.asarray(start)).max((1, 2, 3))
        assert np.isfinite(moved).all() and (moved > 0).all()
    protocol = protocols.protocol("dance", train.name, epochs=2)
    result = evaluation.evaluate(made, test, network, protocol, repeats=1)
    assert 0 <= result.accuracy_mean <= 100
