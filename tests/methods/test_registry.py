"""Names, settings and papers; a fifth method is one file and one line."""

import dataclasses
import importlib.util
import sys

import numpy as np
import pytest

from dancejax import condensation, methods
from dancejax.errors import UserError
from dancejax.methods import DatasetFacts

MOMENTS = '''
"""DM with explicit regularisers of the 2nd and 3rd moment (M3D's Table 1)."""

import dataclasses

import jax.numpy as jnp

from dancejax import mmd
from dancejax.methods import base, dm


@dataclasses.dataclass(frozen=True)
class Config(dm.Config):
    second: float = base.setting(0.1, "weight of the second moment")
    third: float = base.setting(0.01, "weight of the third moment")


def paper(dataset, ipc):
    return base.Paper(
        steps=7,
        settings={"second": 0.1 * ipc, "batch_real": int(min(dataset.class_counts, default=8))},
        init="real_mean",
        protocol="dm",
        title="Moments (M3D)",
    )


def create(config, network, optimizer=base.SGD):
    def discrepancy(real, syn):
        total = mmd.mean_discrepancy(real, syn)
        real, syn = (x - x.mean(-2, keepdims=True) for x in (real, syn))
        for weight, power in ((config.second, 2), (config.third, 3)):
            total += weight * jnp.sum(
                (jnp.mean(real**power, -2) - jnp.mean(syn**power, -2)) ** 2, -1
            )
        return total

    return dm.matching("moments", config, network, discrepancy, base.NORMALISED, optimizer)
'''


@pytest.fixture
def moments(monkeypatch, tmp_path):
    """A method that is one file, of which METHODS knows in one line."""
    path = tmp_path / "moments.py"
    path.write_text(MOMENTS)
    spec = importlib.util.spec_from_file_location("moments", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "moments", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setitem(methods.METHODS, "moments", module)
    return module


def test_a_fifth_method_is_one_file_and_one_line(moments, train, network):
    paper = methods.paper("moments", train, 2)
    assert paper.settings == {"second": 0.2, "batch_real": 24} and paper.published
    assert methods.title("moments") == "Moments (M3D)" and methods.protocol_of("moments") == "dm"
    assert not methods.needs_experts("moments") and methods.cpu_settings("moments", 8) == {}
    assert methods.setting_meanings("moments")["third"] == "weight of the third moment"
    small = {"batch_real": 8, "augmentation": ""}
    method = methods.create("moments", network, **{**paper.settings, **small})
    made = condensation.condense(method, train, ipc=2, steps=3, init=paper.init)
    assert made.method == "moments" and made.settings["second"] == 0.2
    plain = methods.create("dm", network, **small)
    other = condensation.condense(plain, train, ipc=2, steps=3, init=paper.init)
    assert np.abs(made.images - other.images).max() > 1e-4


def test_a_method_without_a_paper_runs_by_its_defaults(moments, train, monkeypatch):
    monkeypatch.delattr(moments, "paper")
    digits = dataclasses.replace(train, flip=False)
    paper = methods.paper("moments", digits, 10)
    assert not paper.published and paper.steps == methods.STEPS
    assert paper.settings == {"augmentation": "color_crop_cutout_scale_rotate"}
    assert methods.paper("moments", train, 10).settings == {}
    assert methods.title("moments") == "MOMENTS" and methods.protocol_of("moments") == "dance"


def test_titles_and_protocols_of_any_name():
    assert [methods.title(name) for name in methods.METHODS] == [
        "DM", "IDM", "M3D", "DANCE", "NCFM", "TGDD", "dancejax (own)",
    ]  # fmt: skip
    assert methods.title("kcenter") == "k-center" and methods.title("their\nown") == "their own"
    found = [methods.protocol_of(name) for name in (*methods.METHODS, "herding", "unknown")]
    assert found == ["dm", "dm", "dance", "dance", "ncfm", "dance", "dance", "dance", "dance"]
    needs = {name for name in methods.METHODS if methods.needs_experts(name)}
    assert needs == {"dance", "ncfm", "tgdd", "dancejax"}
    found = [name for name in methods.METHODS if methods.needs_trajectories(name)]
    assert found == ["tgdd", "dancejax"]


def test_every_setting_says_what_it_means():
    for name in methods.METHODS:
        meanings = methods.setting_meanings(name)
        assert meanings.keys() == methods.setting_types(name).keys()
        assert all(meanings.values())
    assert methods.setting_meanings("m3d")["factor"] == methods.setting_meanings("dm")["factor"]


def test_unknown_names_are_said(network):
    with pytest.raises(UserError, match="mtt"):
        methods.create("mtt", network=network)
    with pytest.raises(UserError, match=r"kernel.* m3d"):
        methods.create("dance", network=network, kernel="linear")
    with pytest.raises(UserError, match="batch_real"):
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
        ("ncfm", "cifar10", 32, 10, 20_000, {"batch_real": 1024}),
        ("ncfm", "cifar100", 32, 10, 20_000, {"learning_rate": 0.01}),
        ("tgdd", "cifar10", 32, 50, 10_000, {"factor": 2, "learning_rate": 0.5}),
    ],
)  # fmt: skip
def test_settings_are_the_papers(method, dataset, side, ipc, steps, config, network):
    found = paper(method, dataset, side, ipc)
    assert found.steps == steps and found.published
    assert {name: found.settings[name] for name in config} == pytest.approx(config)
    assert methods.create(method, network, **found.settings).config.momentum == 0.5


def paper(method, dataset, side, ipc, **options):
    return methods.paper(method, DatasetFacts(dataset, (side, side, 3), **options), ipc)


def test_settings_in_the_cases_that_papers_treat_apart(network):
    assert paper("dm", "cifar10", 32, 100).settings["learning_rate"] == 10
    assert paper("dm", "cifar100", 32, 100).settings["learning_rate"] == 1
    counts = np.array([2000, 1000])
    assert paper("idm", "cifar10", 32, 1, class_counts=counts).settings["batch_real"] == 1000
    assert paper("idm", "cifar10", 32, 10, class_counts=counts).settings["batch_real"] == 256
    tiny = paper("idm", "tiny_imagenet", 64, 1)
    assert (tiny.settings["batch_real"], tiny.settings["push_every"]) == (256, 30)
    assert tiny.network == {"depth": 3} and paper("dance", "tiny_imagenet", 64, 1).network == {}
    assert paper("idm", "cifar10", 32, 10).settings["accuracy_window"] == 100
    assert paper("idm", "cifar10", 32, 50).settings["accuracy_window"] == 500
    large = [paper("idm", "imagenet10", 224, ipc).settings for ipc in (10, 50)]
    assert [settings["queue_size"] for settings in large] == [50, 100]
    assert [settings["factor"] for settings in large] == [2, 1]
    starts = {name: paper(name, "cifar10", 32, 10).init for name in methods.METHODS}
    assert starts == {
        "dm": "real", "idm": "real_mean", "m3d": "real", "dance": "first_nearest",
        "ncfm": "first_nearest", "tgdd": "first_nearest", "dancejax": "first_nearest",
    }  # fmt: skip
    assert paper("ncfm", "cifar10", 32, 10, class_counts=counts).settings["batch_real"] == 1000
    used = [
        methods.create("ncfm", network, **paper("ncfm", name, 32, 10).settings).optimizer.name
        for name in ("cifar10", "cifar100")
    ]
    assert used == ["ncfm_adamw", "sgd"]
    assert paper("m3d", "imagenet10", 224, 10).architecture == "resnetap10"
    assert paper("dance", "cifar10", 32, 10).experts == 5


@pytest.mark.parametrize("method", list(methods.METHODS))
def test_papers_do_not_mirror_digits(method, network):
    settings = paper(method, "mnist", 28, 10, flip=False).settings
    made = methods.create(method, network, **settings)
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
