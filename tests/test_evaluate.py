"""Protocols, honest results, and going on after an interruption."""

import json
import statistics

import numpy as np
import pytest

from dancejax import backend, coreset, evaluate, fit, runs
from dancejax.errors import UserError


def config(**options):
    return evaluate.protocol("dance", "fashion_mnist", **{"epochs": 4, "batch_size": 16, **options})


def run(train, test, network, workdir=None, **options):
    return evaluate.evaluate(
        train, test, network, options.pop("config", config()), workdir=workdir,
        **{"repeats": 3, "points": 2, "progress": False, **options},
    )  # fmt: skip


def test_protocols_are_the_papers():
    dm = evaluate.protocol("dm", "cifar10")
    assert (dm.epochs, dm.batch_size, dm.milestones, dm.decay) == (1000, 256, (0.5,), 0.1)
    assert dm.reset_momentum and dm.cutmix == 0 and dm.mode == "single"
    assert dm.augmentation == "color_crop_cutout_flip_scale_rotate"
    dance = evaluate.protocol("dance", "cifar10")
    assert (dance.epochs, dance.batch_size, dance.decay, dance.cutmix) == (1500, 64, 0.2, 0.5)
    assert dance.milestones == pytest.approx((2 / 3, 5 / 6)) and dance.mode == "multi"
    assert dance.augmentation == "color_crop_flip_scale_rotate" and not dance.reset_momentum
    for each in (dm, dance):
        assert (each.learning_rate, each.momentum, each.weight_decay) == (0.01, 0.9, 5e-4)
    for name in ("mnist", "svhn_cropped"):
        assert "flip" not in evaluate.protocol("dance", name).augmentation
    assert "flip" in evaluate.protocol("dm", "fashion_mnist").augmentation
    assert evaluate.protocol("dm", "mnist", epochs=3).epochs == 3
    with pytest.raises(UserError, match="unknown protocol 'best'"):
        evaluate.protocol("best", "mnist")


def test_result_is_the_last_epoch(train, test, network):
    result = run(train, test, network)
    assert result["test_epochs"] == [2, 4] and result["repeats"] == 3
    last = result["accuracies"]
    assert result["accuracy_mean"] == pytest.approx(statistics.fmean(last))
    assert result["accuracy_std"] == pytest.approx(np.std(last, ddof=1))
    assert result["curve"]["accuracy_mean"][-1] == pytest.approx(result["accuracy_mean"])
    assert result["best_over_epochs_mean"] >= result["accuracy_mean"]
    assert len(set(last)) > 1  # three different networks


def test_networks_learn(train, test, network):
    chosen = coreset.random(train, 8)
    result = run(chosen, test, network, config=config(epochs=40), repeats=2)
    assert result["accuracy_mean"] > 60  # chance is 33
    assert result["train"]["method"] == "random" and result["train"]["ipc"] == 8


def test_accelerators_train_the_same_networks_side_by_side(monkeypatch, train, test, network):
    """One program for all networks, as on accelerators, gives what one after the other gives."""
    alone = run(train, test, network)
    monkeypatch.setattr(backend, "networks_per_call", lambda count: count)
    together = run(train, test, network)
    # One of 60 test images may flip by rounding.
    np.testing.assert_allclose(together["accuracies"], alone["accuracies"], atol=100 / 60 + 1e-3)


def test_finished_networks_are_not_trained_again(tmp_path, monkeypatch, train, test, network):
    workdir = runs.open_workdir(tmp_path)
    whole = run(train, test, network)
    first = run(train, test, network, workdir, repeats=2)
    assert first["accuracies"] == whole["accuracies"][:2]
    path = workdir / "evaluation.jsonl"
    path.write_text(path.read_text() + '{"network": 2, "cur')  # torn by a crash
    trained = []
    original = fit.train

    def counted(*args, **options):
        trained.extend(options["members"])
        return original(*args, **options)

    monkeypatch.setattr(fit, "train", counted)
    again = run(train, test, network, workdir)
    assert trained == [2] and again["accuracies"] == whole["accuracies"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["network"] for line in lines[1:]] == [0, 1, 2]
    with pytest.raises(UserError, match=r"another run \(seed is 0 there, 1 here"):
        run(train, test, network, workdir, seed=1)


def test_what_does_not_fit_is_said(train, test, network):
    with pytest.raises(UserError, match="number of networks must be at least 1"):
        run(train, test, network, repeats=0)
    with pytest.raises(UserError, match="test points must be at least 1"):
        run(train, test, network, points=0)
    import dataclasses

    other = dataclasses.replace(test, classes=("a", "b", "c"))
    with pytest.raises(UserError, match="don't fit together"):
        run(train, other, network)
    with pytest.raises(UserError, match="epochs"):
        config(epochs=0)


def test_diverging_training_is_said(train, test, network):
    with pytest.raises(UserError, match="network 0 are not finite after epoch"):
        run(train, test, network, config=config(learning_rate=1e30), repeats=1)
