"""The library as a notebook calls it: wrong arguments are said in a sentence, not by JAX."""

import flax.linen as nn
import numpy as np
import pytest

from dancejax import condensation, coreset, data, evaluation, methods, networks
from dancejax.data import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run
from dancejax.training import experts, protocols

MACHINE = ("log_every", "keep_every", "devices")
WRONG_COUNTS = ["1", None, -1, 1.5, True, [1]]
CONFIG = protocols.protocol("dance", "mine", epochs=1)


class Mine(nn.Module):
    """A network of somebody's own; the fields say what is wrong with it."""

    classes: int = 3
    maps: bool = False
    logits_alone: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        pooled = x.mean((1, 2))
        logits = nn.Dense(self.classes)(pooled)
        return logits if self.logits_alone else (logits, x if self.maps else pooled)


class WithoutMode(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.mean((1, 2))), x.mean((1, 2))


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(0.5, deterministic=not train)(x.mean((1, 2)))
        return nn.Dense(3)(x), x


@pytest.mark.parametrize("value", WRONG_COUNTS)
@pytest.mark.parametrize("name", ["ipc", "steps", "seed", "log_every", "keep_every", "devices"])
def test_counts_of_condense(name, value, train, network):
    if (name, value) == ("devices", None):
        return
    method = methods.create("dm", network=network, batch_real=4)
    arguments = {"ipc": 1, "steps": 1, name: value}
    with pytest.raises(UserError, match=name):
        about = {key: arguments.pop(key) for key in MACHINE if key in arguments}
        condensation.condense(method, train, **arguments, run=Run(progress=False, **about))


@pytest.mark.parametrize("value", WRONG_COUNTS)
def test_counts_of_others(value, train, test, network, tmp_path, pool_folder):
    config = experts.expert_training(28, epochs=1)
    for name in ("repeats", "seed", "test_points"):
        with pytest.raises(UserError, match=name):
            evaluation.evaluate(train, test, network, CONFIG, **{"repeats": 1, name: value})
    for name in ("count", "seed", "snapshots"):
        with pytest.raises(UserError, match=name):
            arguments = {"count": 1, "run": tmp_path / "p", name: value}
            experts.train_pool(train, network, config, **arguments)
    assert not (tmp_path / "p").exists()
    for call in (
        lambda: coreset.random(train, value),
        lambda: coreset.random(train, 1, seed=value),
        lambda: data.subset(train, value, seed=0),
        lambda: data.subset(train, 1, seed=value),
        lambda: train.split(seed=value),
        lambda: networks.create("convnet", value, (28, 28, 1)),
        lambda: networks.create("convnet", 3, (28, value, 1)),
        lambda: networks.create("convnet", 3, (28, 28, 1), width=value),
    ):
        with pytest.raises(UserError, match="whole number"):
            call()
    if value is not None:
        with pytest.raises(UserError, match="count"):
            experts.load_pool(pool_folder, count=value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: Dataset.from_arrays(x, y, name=None),
        lambda x, y: Dataset.from_arrays(x, y, flip="no"),
        lambda x, y: Dataset.from_arrays(x, y, classes={"a", "b"}),
        lambda x, y: Dataset.from_arrays(x, y).split("0.2"),
        lambda x, y: data.load(None),
        lambda x, y: data.load("cifar10", data_dir=3),
        lambda x, y: networks.create("convnet", 2, 12),
        lambda x, y: networks.create("convnet", 2, (12, 12)),
        lambda x, y: networks.create("convnet", 2, (12, 12, 1), dtype="float8"),
        lambda x, y: networks.create("convnet", 2, (12, 12, 1), dtype="int32"),
        lambda x, y: protocols.protocol("dance", "mine", epochs="3"),
        lambda x, y: protocols.protocol("dance", "mine", nonsense=3),
        lambda x, y: protocols.protocol("dance", "mine", mode="x"),
        lambda x, y: experts.expert_training(28, nonsense=3),
        lambda x, y: coreset.random(x, 1),
        lambda x, y: methods.create("dm", network="convnet"),
        lambda x, y: methods.create("dm", network=networks.ConvNet),
    ],
)
def test_other_arguments(call):
    images, labels = np.zeros((8, 12, 12), np.uint8), np.arange(8) % 2
    with pytest.raises(UserError):
        call(images, labels)


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("dm", "batch_real", "8"), ("dm", "batch_real", None), ("dm", "batch_real", 1.5),
        ("dm", "learning_rate", "0.1"), ("dm", "learning_rate", None), ("dm", "factor", 1.5),
        ("dm", "augmentation", None), ("dm", "momentum", "x"),
        ("dance", "pltda", "no"), ("dance", "batch_syn", "3"), ("idm", "networks_trained", "3"),
    ],
)  # fmt: skip
def test_settings_of_methods(method, name, value, network):
    with pytest.raises(UserError, match=name):
        methods.create(method, network=network, **{name: value})


def test_numpys_numbers_are_numbers(train, network):
    made = networks.create("convnet", np.int64(3), (28, 28, 1), width=np.int64(4))
    assert networks.identity(made)["width"] == 4
    assert coreset.random(train, np.int32(2)).settings["ipc"] == 2
    methods.create("dm", network=network, batch_real=np.int64(4), learning_rate=np.float32(1))


@pytest.mark.parametrize("wrong", [
    Mine(maps=True), Mine(logits_alone=True), Mine(classes=2), WithoutMode(), Dropping(),
])  # fmt: skip
def test_a_network_of_ones_own_that_does_not_fit(wrong, train, test):
    with pytest.raises(UserError, match="network"):
        evaluation.evaluate(train, test, wrong, CONFIG, repeats=1)
    method = methods.create("dm", network=wrong, batch_real=4)
    with pytest.raises(UserError, match="network"):
        condensation.condense(method, train, ipc=1, steps=1)


def test_experts_of_another_network(train, pool, network):
    other = networks.create("convnet", 3, train.image_shape, width=4, depth=2)
    method = methods.create("dance", network=other, batch_real=4)
    with pytest.raises(UserError, match="experts"):
        condensation.condense(method, train, ipc=1, steps=1, experts=pool)
    with pytest.raises(UserError, match="pool"):
        condensation.condense(
            methods.create("dance", network=network), train, ipc=1, steps=1, experts=(pool, 1, 2),
        )  # fmt: skip


@pytest.mark.parametrize("run", [3, ("a",), {"folder": "a"}])
def test_what_is_no_run(run, train, test, network):
    with pytest.raises(UserError, match="run"):
        evaluation.evaluate(train, test, network, CONFIG, repeats=1, run=run)


def test_devices_that_are_not_there(train, test, network):
    """Whichever verb is asked for them, with a folder or in memory."""
    many = Run(progress=False, devices=999)
    config = experts.expert_training(28, epochs=1)
    means = coreset.Means(network=network, config=config, run=many)
    for call in (
        lambda: evaluation.evaluate(train, test, network, CONFIG, repeats=1, run=many),
        lambda: experts.train_experts(network, train, count=1, config=config, run=many),
        lambda: coreset.choose("forgetting", train, 1, means=means),
    ):
        with pytest.raises(UserError, match="devices"):
            call()
