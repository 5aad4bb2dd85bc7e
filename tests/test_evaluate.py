"""Protocols, honest results, and going on after an interruption."""

import dataclasses
import json
import statistics

import jax
import numpy as np
import pytest

from dancejax import coreset, evaluation, keys, runs
from dancejax.errors import UserError
from dancejax.runs import Run, backend, integrity, parallel
from dancejax.training import loop, protocols


def config(**options):
    """With the augmentation that compiles soonest."""
    small = {"epochs": 4, "batch_size": 16, "augmentation": "flip"}
    return protocols.protocol("dance", "fashion_mnist", **{**small, **options})


def run(train, test, network, workdir=None, **options):
    about = Run(workdir, progress=False, placement=options.pop("placement", "device"))
    return evaluation.evaluate(
        train, test, network, options.pop("config", config()),
        **{"repeats": 3, "test_points": 2, "run": about, **options},
    ).to_dict()  # fmt: skip


def test_protocols_are_the_papers():
    dm = protocols.protocol("dm", "cifar10")
    assert (dm.epochs, dm.batch_size, dm.milestones, dm.decay) == (1000, 256, (0.5,), 0.1)
    assert dm.reset_momentum and dm.cutmix == 0 and dm.mode == "single"
    assert dm.augmentation == "color_crop_cutout_flip_scale_rotate"
    dance = protocols.protocol("dance", "cifar10")
    assert (dance.epochs, dance.batch_size, dance.decay, dance.cutmix) == (1500, 64, 0.2, 0.5)
    assert dance.milestones == pytest.approx((2 / 3, 5 / 6)) and dance.mode == "multi"
    assert dance.augmentation == "color_crop_flip_scale_rotate" and not dance.reset_momentum
    for each in (dm, dance):
        assert (each.learning_rate, each.momentum, each.weight_decay) == (0.01, 0.9, 5e-4)
    for name in ("mnist", "svhn_cropped"):
        assert "flip" not in protocols.protocol("dance", name).augmentation
    assert "flip" in protocols.protocol("dm", "fashion_mnist").augmentation
    assert protocols.protocol("dm", "mnist", epochs=3).epochs == 3
    with pytest.raises(UserError, match="unknown protocol 'best'"):
        protocols.protocol("best", "mnist")


@pytest.mark.parametrize(
    ("side", "num_classes", "decoded", "epochs"),
    [(64, 200, 40, 1500), (127, 10, 9, 1500), (128, 10, 1, 3000), (128, 10, 9, 2000),
     (128, 10, 10, 2000), (128, 10, 50, 1500), (128, 10, 90, 1000), (128, 10, 450, 500),
     (128, 10, 501, 300), (224, 100, 90, 666), (128, 100, 9, 1333)],
)  # fmt: skip
def test_dance_protocol_by_size(side, num_classes, decoded, epochs):
    found = protocols.protocol("dance", "x", side=side, num_classes=num_classes, decoded=decoded)
    assert found.epochs == epochs


def test_protocols_know_the_set(train, test):
    """Digits are not mirrored, by name or by the data set's own word; MNIST's tiles not mixed."""
    made = coreset.random(train, 2)
    for flip in (True, False):
        config = protocols.protocol_for("dm", made, dataclasses.replace(test, flip=flip))
        assert ("flip" in config.augmentation) == flip
    assert "flip" in protocols.protocol("dance", "mnist_of_clothes").augmentation
    assert protocols.protocol("dance", "mnist", factor=2).cutmix == 0
    assert protocols.protocol("dance", "mnist", factor=1).cutmix == 0.5
    assert protocols.protocol("dm", "x", side=224).batch_size == 128


@pytest.mark.slow
def test_networks_are_not_the_experts_twins(train, test, network, monkeypatch):
    """Evaluation network n begins elsewhere than expert n, under which the set was made."""
    seen = []
    original = loop.init_team

    def kept(*args):
        team = original(*args)
        seen.append(team.state.variables)
        return team

    monkeypatch.setattr(loop, "init_team", kept)
    run(train, test, network, repeats=1)
    with parallel.use(parallel.NETWORKS, 1) as mesh:
        job = loop.Job("", network, config(), train, 1, 0, keys.EXPERTS, {})
        expert = original(job, [0], mesh).state
    for first, twin in zip(*map(jax.tree.leaves, (seen[0], expert.variables)), strict=True):
        # Norms begin as ones and zeros, everywhere.
        assert not np.array_equal(first, twin) or len(np.unique(first)) == 1


@pytest.mark.slow
def test_the_test_set_may_stay_on_the_host(train, test, network):
    device, host = (run(train, test, network, repeats=1, placement=p) for p in ("device", "host"))
    np.testing.assert_allclose(device["accuracies"], host["accuracies"], atol=100 / 60 + 1e-3)


def test_result_is_the_last_epoch(train, test, network):
    result = run(train, test, network)
    assert result["test_epochs"] == [2, 4] and result["repeats"] == 3
    last = result["accuracies"]
    assert result["accuracy_mean"] == pytest.approx(statistics.fmean(last))
    assert result["accuracy_std"] == pytest.approx(np.std(last, ddof=1))
    assert result["curve"]["accuracy_mean"][-1] == pytest.approx(result["accuracy_mean"])
    assert result["best_over_epochs_mean"] >= result["accuracy_mean"]
    assert len(set(last)) > 1  # three different networks


def test_classes_have_their_own_accuracies(tmp_path, train, test, network):
    """They weigh as many images as each class has; results of earlier versions go without."""
    kept = np.flatnonzero((test.labels > 0) & (np.arange(len(test)) % 5 > 0))
    uneven = dataclasses.replace(test, images=test.images[kept], labels=test.labels[kept])
    chosen = coreset.random(train, 2)
    made = evaluation.evaluate(chosen, uneven, network, config(), repeats=2, run=tmp_path)
    means = made.accuracy_by_class
    assert list(means) == list(test.classes) and means[test.classes[0]] is None
    weighted = [
        means[n] * c for n, c in zip(test.classes[1:], uneven.class_counts[1:], strict=True)
    ]
    assert sum(weighted) / len(uneven) == pytest.approx(made.accuracy_mean, abs=1e-4)
    assert made.to_dict()["accuracy_by_class"] == means and test.classes[1] in made._repr_html_()
    again = evaluation.evaluate(chosen, uneven, network, config(), repeats=2, run=tmp_path)
    assert again == made
    path = tmp_path / "evaluation.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[1]["correct"], lines[1]["manifest_sha256"]
    path.write_text("".join(json.dumps(integrity.seal(line)) + "\n" for line in lines))
    older = evaluation.evaluate(chosen, uneven, network, config(), repeats=2, run=tmp_path)
    assert older.accuracies == made.accuracies and older.accuracy_by_class == {}
    assert "accuracy_by_class" not in older.to_dict()


def test_networks_learn(train, test, network):
    chosen = coreset.random(train, 8)
    result = run(chosen, test, network, config=config(epochs=40), repeats=2)
    assert result["accuracy_mean"] > 60  # chance is 33
    assert result["train"]["method"] == "random" and result["train"]["ipc"] == 8


@pytest.mark.slow
def test_accelerators_train_the_same_networks_side_by_side(monkeypatch, train, test, network):
    """One program for all networks, as on accelerators, gives what one after the other gives."""
    alone = run(train, test, network)
    monkeypatch.setattr(backend, "networks_per_call", lambda count, bytes_each=0: count)
    together = run(train, test, network)
    # One of 60 test images may flip by rounding.
    np.testing.assert_allclose(together["accuracies"], alone["accuracies"], atol=100 / 60 + 1e-3)


@pytest.mark.slow
def test_best_over_checkpoints_is_selected_among_kept_sets(tmp_path, train, test, network):
    """The one with the best epoch of its scout; evaluated by the networks that any set gets."""
    empty = coreset.random(train, 2)
    grey = dataclasses.replace(empty, images=np.full_like(empty.images, 0.5))
    sets = {20: grey, 10: coreset.random(train, 8), 30: grey}
    found = evaluation.over_checkpoints(
        sets, test, network, config(epochs=20), repeats=2, test_points=2,
        run=Run(tmp_path, progress=False),
    )  # fmt: skip
    assert [entry["iteration"] for entry in found["checkpoints"]] == [10, 20, 30]
    assert found["best"]["iteration"] == 10 and found["best"]["repeats"] == 2
    alone = run(sets[10], test, network, config=config(epochs=20), repeats=2)
    assert found["best"]["accuracy_mean"] == pytest.approx(alone["accuracy_mean"])
    assert json.loads((tmp_path / evaluation.BEST).read_text()) == found
    with pytest.raises(UserError, match="keep_every"):
        evaluation.over_checkpoints({}, test, network, config(), repeats=1, run=tmp_path)


def test_finished_networks_are_not_trained_again(tmp_path, monkeypatch, train, test, network):
    workdir = runs.open_workdir(tmp_path)
    whole = run(train, test, network)
    first = run(train, test, network, workdir, repeats=2)
    assert first["accuracies"] == whole["accuracies"][:2]
    path = workdir / "evaluation.jsonl"
    path.write_text(path.read_text() + '{"network": 2, "cur')  # torn by a crash
    trained = []
    original = loop.train

    def counted(job, missing, *rest):
        trained.extend(missing)
        return original(job, missing, *rest)

    monkeypatch.setattr(loop, "train", counted)
    again = run(train, test, network, workdir)
    assert trained == [2] and again["accuracies"] == whole["accuracies"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["network"] for line in lines[1:]] == [0, 1, 2]
    with pytest.raises(UserError, match="seed"):
        run(train, test, network, workdir, seed=1)


def test_what_does_not_fit_is_said(train, test, network):
    with pytest.raises(UserError, match="repeats"):
        run(train, test, network, repeats=0)
    with pytest.raises(UserError, match="points"):
        run(train, test, network, test_points=0)
    import dataclasses

    other = dataclasses.replace(test, classes=("a", "b", "c"))
    with pytest.raises(UserError, match="don't fit together"):
        run(train, other, network)
    with pytest.raises(UserError, match="epochs"):
        config(epochs=0)


@pytest.mark.slow
def test_diverging_training_is_said(train, test, network):
    with pytest.raises(UserError, match="network 0"):
        run(train, test, network, config=config(learning_rate=1e30), repeats=1)


@pytest.mark.slow
def test_settings_by_keyword_change_the_protocol(train, test, network):
    chosen = coreset.random(train, 2)
    result = evaluation.evaluate(chosen, test, network, repeats=1, epochs=3, batch_size=4)
    training = result.record["training"]
    assert (training["epochs"], training["batch_size"], training["decay"]) == (3, 4, 0.2)
    with pytest.raises(UserError, match="setting"):
        evaluation.evaluate(chosen, test, network, repeats=1, epoch=3)
