"""The loop: reproducible, resumable bit for bit, and loud when something is wrong."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from dancejax import condense, evaluate, experts, methods, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError

OPTIONS = {
    "dm": {},
    "idm": {"queue_size": 3, "push_every": 2, "train_batch": 8, "train_steps": 1},
    "m3d": {},
    "dance": {},
}


def run(name, network, train, pool, steps=6, **options):
    method = methods.create(name, network=network, batch_real=8, **OPTIONS[name])
    return condense.condense(
        method, train, pool=pool,
        **{"ipc": 2, "steps": steps, "progress": False, "log_every": 2, **options},
    )  # fmt: skip


def interrupt_after(monkeypatch, count):
    """A SIGINT, as a user's, once `count` lines of metrics are written."""
    write, seen = runs.MetricsLog.write, []

    def counted(self, *args, **values):
        write(self, *args, **values)
        seen.append(1)
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(runs.MetricsLog, "write", counted)


@pytest.mark.parametrize(
    "name",
    ["dance", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dm", "idm", "m3d"))],
)
def test_resumed_run_ends_in_the_same_bytes(name, monkeypatch, tmp_path, network, train, pool):
    whole = run(name, network, train, pool, workdir=runs.open_workdir(tmp_path / "whole"))
    workdir = runs.open_workdir(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(runs.Interrupted):
            run(name, network, train, pool, workdir=workdir)
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["step_000000002"]
    resumed = run(name, network, train, pool, workdir=workdir)
    np.testing.assert_array_equal(whole.images, resumed.images)
    logs = [(tmp_path / folder / "metrics.jsonl").read_text() for folder in ("whole", "stopped")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [2, 4, 6]
    about = json.loads((workdir / "result.json").read_text())
    assert about["iterations"] == 6 and about["measured_iterations"] == 4
    assert about["step_memory_mb"] > 0.1


def test_seed_decides_and_only_the_seed(network, train, pool):
    first, again, other = (
        run("dm", network, train, pool, steps=3, seed=seed).images for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_longer_run_goes_on_from_a_finished_one(tmp_path, network, train, pool):
    workdir = runs.open_workdir(tmp_path)
    run("m3d", network, train, pool, steps=4, workdir=workdir)
    longer = run("m3d", network, train, pool, steps=6, workdir=workdir)
    np.testing.assert_array_equal(longer.images, run("m3d", network, train, pool).images)
    with pytest.raises(UserError, match="has done 6 iterations already, more than the 4"):
        run("m3d", network, train, pool, steps=4, workdir=workdir)


def test_another_runs_checkpoint_is_refused(tmp_path, network, train, pool):
    workdir = runs.open_workdir(tmp_path)
    run("dm", network, train, pool, steps=2, workdir=workdir)
    with pytest.raises(UserError, match=r"another run \(settings.seed is 0 there, 5 here\)"):
        run("dm", network, train, pool, steps=2, workdir=workdir, seed=5)
    with pytest.raises(UserError, match=r"method is .* there"):
        run("m3d", network, train, pool, steps=2, workdir=workdir)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, network, train):
    method = methods.create("dm", network=network, batch_real=8, learning_rate=float("inf"))
    sentence = r"pixels of class 'T-shirt/top' became not finite in iteration 1; .*lower the"
    with pytest.raises(UserError, match=sentence):
        condense.condense(
            method, train, ipc=1, steps=20, log_every=4, progress=False,
            workdir=runs.open_workdir(tmp_path), checkpoint_seconds=0,
        )  # fmt: skip
    assert not (tmp_path / "checkpoints").exists()


def test_pictures_are_drawn_along_the_way(tmp_path, network, train, pool):
    run("dm", network, train, pool, workdir=runs.open_workdir(tmp_path), picture_every=3)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["step_000000.png", "step_000003.png", "step_000006.png"]
    with (
        Image.open(tmp_path / "pictures" / names[0]) as first,
        Image.open(tmp_path / "pictures" / names[2]) as last,
    ):
        assert np.abs(np.asarray(first, int) - np.asarray(last, int)).max() > 10


def test_real_start_holds_a_different_real_image_in_each_tile(train):
    start = np.asarray(condense.initial_pixels(train, 2, 2, seed=3))
    assert start.shape == (3, 2, 28, 28, 1)
    tiles = start.reshape(3, 2, 2, 14, 2, 14).transpose(0, 1, 2, 4, 3, 5).reshape(3, 8, -1)
    shrunk = train.images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196) / 255
    for label, own in enumerate(tiles):
        nearest = [int(np.argmin(((shrunk - tile) ** 2).sum(1))) for tile in own]
        assert len(set(nearest)) == 8
        assert (train.labels[nearest] == label).all()
    np.testing.assert_array_equal(start, condense.initial_pixels(train, 2, 2, seed=3))


def test_settings_that_do_not_fit_are_said(network, train, pool):
    for options, sentence in (
        ({"steps": 0}, "steps and log_every must be at least 1"),
        ({"ipc": 0}, "must be at least 1, not 0"),
        ({"ipc": 25}, "has 24 images, fewer than the 25 per class"),
        ({"init": "zeros"}, "unknown initialisation 'zeros'"),
    ):
        with pytest.raises(UserError, match=sentence):
            run("dm", network, train, pool, **options)
    with pytest.raises(UserError, match="dance needs a pool of experts"):
        run("dance", network, train, None)
    method = methods.create("m3d", network=network, factor=15)
    with pytest.raises(UserError, match="factor 15 cuts 28x28 images"):
        condense.condense(method, train, ipc=1, steps=1, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(OPTIONS))
def test_condensed_images_beat_those_they_start_from(name, network, train, test):
    """On real images not trained on, mean of three networks."""
    import dataclasses
    import tempfile
    from pathlib import Path

    from dancejax import data, networks

    train = data.subset(data.load("fashion_mnist_mini"), 200, seed=0)
    test = data.load("fashion_mnist_mini", split="test")
    network = networks.create("convnet", 10, (28, 28, 1), width=16)
    with tempfile.TemporaryDirectory() as folder:
        config = experts.expert_training(28, epochs=8)
        experts.train_pool(Path(folder), train, network, config, count=2, progress=False)
        pool, _, _ = experts.load_pool(Path(folder))
    options = {"queue_size": 8, "train_batch": 64, "push_every": 10} if name == "idm" else {}
    method = methods.create(name, network=network, batch_real=64, factor=2, **options)
    made = condense.condense(method, train, ipc=1, steps=150, pool=pool, progress=False)
    start = condense.initial_pixels(train, 1, 2).reshape(-1, 28, 28, 1)
    before = dataclasses.replace(made, images=np.asarray(start))
    protocol = evaluate.protocol("dance", "fashion_mnist", epochs=100)

    def accuracy(chosen: CondensedSet) -> float:
        result = evaluate.evaluate(
            chosen, test, network, protocol, repeats=3, points=1, progress=False
        )
        return result["accuracy_mean"]

    assert accuracy(made) > accuracy(before) + 1
