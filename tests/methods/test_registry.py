"""Names, settings and presets; a fifth method is one file and one line."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import condensation, methods, mmd
from dancejax.errors import UserError
from dancejax.methods import base, dm, presets


@dataclasses.dataclass(frozen=True)
class MomentConfig(dm.Config):
    second: float = 0.1
    third: float = 0.01


def moments_create(config, network):
    """DM with explicit regularisers of the 2nd and 3rd moment (M3D's Table 1)."""

    def discrepancy(real, syn):
        total = mmd.mean_discrepancy(real, syn)
        real, syn = (x - x.mean(-2, keepdims=True) for x in (real, syn))
        for weight, power in ((config.second, 2), (config.third, 3)):
            total += weight * jnp.sum(
                (jnp.mean(real**power, -2) - jnp.mean(syn**power, -2)) ** 2, -1
            )
        return total

    return dm.matching("moments", config, network, discrepancy, base.NORMALISED)


def test_a_fifth_method_is_one_file_and_one_line(monkeypatch, train, network):
    module = types.SimpleNamespace(Config=MomentConfig, create=moments_create)
    monkeypatch.setitem(methods.METHODS, "moments", module)
    method = methods.create("moments", network=network, batch_real=8, second=0.5)
    made = condensation.condense(method, train, ipc=2, steps=3)
    assert made.method == "moments" and made.settings["second"] == 0.5
    plain = methods.create("dm", network=network, batch_real=8)
    other = condensation.condense(plain, train, ipc=2, steps=3)
    assert np.abs(made.images - other.images).max() > 1e-4


def test_every_setting_says_what_it_means():
    for name in methods.METHODS:
        meanings = methods.setting_meanings(name)
        assert meanings.keys() == methods.setting_types(name).keys()
        assert all(meanings.values())
    assert methods.setting_meanings("m3d")["factor"] == methods.setting_meanings("dm")["factor"]


def test_unknown_names_are_said(network):
    with pytest.raises(UserError, match="unknown method 'mtt'; choose one of dm, idm, m3d, dance"):
        methods.create("mtt", network=network)
    with pytest.raises(UserError, match="dance has no setting 'kernel'"):
        methods.create("dance", network=network, kernel="linear")
    with pytest.raises(UserError, match="batch_real must be at least 1, not 0"):
        methods.create("dm", network=network, batch_real=0)


@pytest.mark.parametrize(
    ("method", "dataset", "side", "ipc", "steps", "config"),
    [
        ("dm", "cifar10", 32, 1, 20_000, {"learning_rate": 1}),
        ("dm", "cifar10", 32, 100, 20_000, {"learning_rate": 10}),
        ("dm", "cifar10", 32, 1250, 20_000, {"learning_rate": 10}),
        ("dm", "tiny_imagenet", 64, 10, 10_000, {"learning_rate": 1}),
        ("idm", "cifar10", 32, 1, 20_000,
         {"batch_real": 5000, "push_every": 5, "train_steps": 10, "regularisation": 0.5}),
        ("idm", "cifar10", 32, 10, 20_000,
         {"batch_real": 256, "push_every": 30, "train_steps": 10, "regularisation": 0.5}),
        ("idm", "cifar10", 32, 50, 20_000,
         {"batch_real": 256, "push_every": 30, "train_steps": 10, "regularisation": 0.1}),
        ("idm", "cifar100", 32, 10, 20_000,
         {"batch_real": 256, "push_every": 30, "train_steps": 50, "regularisation": 0.1}),
        ("idm", "tiny_imagenet", 64, 50, 20_000,
         {"batch_real": 256, "push_every": 30, "train_steps": 50, "regularisation": 0.8}),
        ("idm", "imagenet10", 224, 10, 20_000,
         {"batch_real": 128, "push_every": 50, "train_steps": 10, "regularisation": 3.0}),
        ("m3d", "cifar10", 32, 10, 10_000, {"factor": 2, "learning_rate": 1}),
        ("m3d", "imagenet10", 224, 10, 1000, {"factor": 3, "learning_rate": 0.1}),
        ("dance", "cifar10", 32, 1, 10_000, {"factor": 2, "learning_rate": 0.01}),
        ("dance", "cifar10", 32, 50, 10_000, {"factor": 2, "learning_rate": 0.5}),
        ("dance", "nette", 128, 10, 10_000, {"factor": 3, "learning_rate": 1.0}),
    ],
)  # fmt: skip
def test_presets_are_the_papers(method, dataset, side, ipc, steps, config, network):
    preset = presets.paper(method, dataset=dataset, image_side=side, ipc=ipc)
    assert preset.steps == steps
    assert {name: preset.config[name] for name in config} == pytest.approx(config)
    made = methods.create(method, network=network, **preset.config).config
    assert made.momentum == 0.5


def paper(method, dataset, side, ipc, **options):
    return presets.paper(method, dataset=dataset, image_side=side, ipc=ipc, **options)


def test_presets_in_the_cases_that_papers_treat_apart():
    assert paper("dm", "cifar10", 32, 100).config["learning_rate"] == 10
    assert paper("dm", "cifar100", 32, 100).config["learning_rate"] == 1
    assert paper("idm", "cifar10", 32, 1, smallest=1000).config["batch_real"] == 1000
    assert paper("idm", "cifar10", 32, 10, smallest=1000).config["batch_real"] == 256
    tiny = paper("idm", "tiny_imagenet", 64, 1)
    assert (tiny.config["batch_real"], tiny.config["push_every"]) == (256, 30)
    assert tiny.network == {"depth": 3} and paper("dance", "tiny_imagenet", 64, 1).network == {}
    assert paper("idm", "cifar10", 32, 10).config["accuracy_window"] == 100
    assert paper("idm", "cifar10", 32, 50).config["accuracy_window"] == 500
    large = [paper("idm", "imagenet10", 224, ipc).config for ipc in (10, 50)]
    assert [config["queue_size"] for config in large] == [50, 100]
    assert [config["factor"] for config in large] == [2, 1]
    starts = {name: paper(name, "cifar10", 32, 10).init for name in methods.METHODS}
    assert starts == {
        "dm": "real", "idm": "real_mean", "m3d": "real", "dance": "first_nearest",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["dm", "idm", "m3d", "dance"])
def test_presets_do_not_mirror_digits(method, network):
    config = paper(method, "mnist", 28, 10, flip=False).config
    made = methods.create(method, network=network, **config)
    assert "flip" not in made.config.augmentation
    assert methods.without_flips(made) is made or made.config.augmentation == ""


def test_defaults_are_the_papers(network):
    dance = methods.create("dance", network=network).config
    assert (dance.batch_real, dance.batch_syn, dance.calibration_every) == (128, 200, 1)
    assert (dance.augmentation, dance.mode) == ("color_crop_cutout", "multi")
    idm = methods.create("idm", network=network).config
    assert (idm.learning_rate, idm.factor, idm.queue_size, idm.networks_trained) == (0.2, 2, 100, 2)
    m3d = methods.create("m3d", network=network).config
    assert (m3d.kernel, m3d.iterations_per_model) == ("gaussian", 5)
    assert methods.create("dm", network=network).config.batch_real == 256
    assert presets.PROTOCOLS == {"dm": "dm", "idm": "dm", "m3d": "dance", "dance": "dance"}
