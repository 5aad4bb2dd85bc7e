"""The loop: reproducible, resumable bit for bit, and loud when something is wrong."""

import dataclasses
import json
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dancejax import (
    condensation,
    condensed,
    coreset,
    data,
    evaluation,
    methods,
    multiformation,
    networks,
    runs,
)
from dancejax.condensed import CondensedSet, describe_source
from dancejax.errors import UserError
from dancejax.initialisation import initial_pixels
from dancejax.runs import Run, measures
from dancejax.training import experts, protocols

OPTIONS = {
    "dm": {},
    "idm": {"queue_size": 3, "push_every": 2, "train_batch": 8, "train_steps": 1},
    "m3d": {},
    "dance": {},
    "tgdd": {},
    "dancejax": {},
}


def run(name, network, train, pool, steps=6, augmentation="flip", **options):
    """With the augmentation that compiles soonest; None: the method's own."""
    given = (
        OPTIONS[name] if augmentation is None else {**OPTIONS[name], "augmentation": augmentation}
    )
    method = methods.create(name, network=network, batch_real=8, **given)
    about = {"folder": options.pop("workdir", None), "progress": False}
    for option in ("log_every", "picture_every", "keep_every", "class_chunk"):
        about[option] = options.pop(option, {"log_every": 2, "class_chunk": None}.get(option, 0))
    return condensation.condense(
        method, train, experts=pool, **{"ipc": 2, "steps": steps, "run": Run(**about), **options}
    )


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
    [
        "dance",
        "tgdd",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("dm", "idm", "m3d", "dancejax")),
    ],
)
def test_resumed_run_ends_in_the_same_bytes(name, monkeypatch, tmp_path, network, train, trained):
    whole = run(name, network, train, trained, workdir=runs.open_workdir(tmp_path / "whole"))
    workdir = runs.open_workdir(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(runs.Interrupted):
            run(name, network, train, trained, workdir=workdir)
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["step_000000002"]
    resumed = run(name, network, train, trained, workdir=workdir)
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
    with pytest.raises(UserError, match="6 iterations"):
        run("m3d", network, train, pool, steps=4, workdir=workdir)


def test_another_runs_checkpoint_is_refused(tmp_path, network, train, pool):
    workdir = runs.open_workdir(tmp_path)
    run("dm", network, train, pool, steps=2, workdir=workdir)
    with pytest.raises(UserError, match=r"settings\.seed"):
        run("dm", network, train, pool, steps=2, workdir=workdir, seed=5)
    with pytest.raises(UserError, match=r"method is .* there"):
        run("m3d", network, train, pool, steps=2, workdir=workdir)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, network, train):
    method = methods.create("dm", network=network, batch_real=8, learning_rate=float("inf"))
    sentence = r"pixels of class 'T-shirt/top' became not finite in iteration 1; .*lower the"
    with pytest.raises(UserError, match=sentence):
        condensation.condense(
            method, train, ipc=1, steps=20,
            run=Run(tmp_path, progress=False, log_every=4, checkpoint_seconds=0),
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
    start = np.asarray(initial_pixels(train, 2, 2, seed=3))
    assert start.shape == (3, 2, 28, 28, 1)
    tiles = start.reshape(3, 2, 2, 14, 2, 14).transpose(0, 1, 2, 4, 3, 5).reshape(3, 8, -1)
    shrunk = train.images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196) / 255
    for label, own in enumerate(tiles):
        nearest = [int(np.argmin(((shrunk - tile) ** 2).sum(1))) for tile in own]
        assert len(set(nearest)) == 8
        assert (train.labels[nearest] == label).all()
    np.testing.assert_array_equal(start, initial_pixels(train, 2, 2, seed=3))


def test_settings_that_do_not_fit_are_said(network, train, pool):
    for options, sentence in (
        ({"steps": 0}, "steps"),
        ({"ipc": 0}, "ipc"),
        ({"ipc": 25}, "has 24 images, fewer than the 25 per class"),
        ({"init": "zeros"}, "unknown initialisation 'zeros'"),
    ):
        with pytest.raises(UserError, match=sentence):
            run("dm", network, train, pool, **options)
    with pytest.raises(UserError, match="experts"):
        run("dance", network, train, None)
    method = methods.create("m3d", network=network, factor=15)
    with pytest.raises(UserError, match="factor 15"):
        condensation.condense(method, train, ipc=1, steps=1)


@pytest.mark.slow
def test_a_stop_between_lines_of_the_log_loses_nothing(monkeypatch, tmp_path, network, train):
    """The stop is seen in the same iteration, and the log's means are as if it had not been."""
    options = {"log_every": 4, "steps": 7}
    run("dm", network, train, None, workdir=tmp_path / "whole", **options)
    original, seen = measures.Window.add, []

    def stopping(self, metrics):
        original(self, metrics)
        seen.append(1)
        if len(seen) in (2, 3, 6):  # after iterations 2, 3 and 6
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(measures.Window, "add", stopping)
    for stopped in (2, 3, 6):
        with pytest.raises(runs.Interrupted):
            run("dm", network, train, None, workdir=tmp_path / "cut", **options)
        assert max((tmp_path / "cut" / "checkpoints").iterdir()).name == f"step_{stopped:09d}"
    run("dm", network, train, None, workdir=tmp_path / "cut", **options)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [4, 7]


def test_a_stop_in_the_last_iteration_is_a_stop(monkeypatch, tmp_path, network, train):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(runs.Interrupted):
        run("dm", network, train, None, steps=2, workdir=tmp_path)
    made = run("dm", network, train, None, steps=2, workdir=tmp_path)
    assert made.settings["steps"] == 2


def test_another_network_or_pool_does_not_continue_a_run(tmp_path, network, train, pool):
    from dancejax import interpolate, networks

    run("dance", network, train, pool, steps=2, workdir=tmp_path)
    other = networks.create("convnet", 3, (28, 28, 1), width=4, depth=2)
    with pytest.raises(UserError, match=r"network\.width"):
        run("dm", other, train, None, steps=2, workdir=tmp_path)
    extended = interpolate.stack([interpolate.select(pool, n) for n in (0, 1, 1)])
    with pytest.raises(UserError, match="pool"):
        run("dance", network, train, extended, steps=2, workdir=tmp_path)


@pytest.mark.slow
def test_what_belongs_to_the_machine_is_no_part_of_a_run(tmp_path, network, train):
    def chunked(chunk, **options):
        return run("dm", network, train, None, workdir=tmp_path, class_chunk=chunk, **options)

    chunked(None, steps=2)
    chunked(1, steps=4, log_every=3)
    made = chunked(2, steps=4, log_every=1)
    assert made.settings["steps"] == 4


def test_settings_say_the_rate_that_holds(network, train, pool):
    made = run("dance", network, train, pool, steps=1)
    assert made.settings["learning_rate"] == pytest.approx(0.02)


def test_data_that_may_not_be_mirrored_are_not(network, train):
    """By the data set's own word, whatever the method does by default."""
    digits = dataclasses.replace(train, flip=False)
    made = run("dm", network, digits, None, steps=1, augmentation=None)
    assert made.settings["augmentation"] == "color_crop_cutout_scale_rotate"
    assert made.source["flip"] is False
    started = condensation.start(methods.create("dm", network), digits, ipc=1)
    assert started.method.config.augmentation == made.settings["augmentation"]
    mirrored = condensation.start(methods.create("dm", network), train, ipc=1)
    assert mirrored.method.config.augmentation == "color_crop_cutout_flip_scale_rotate"


@pytest.mark.parametrize("init", ["real_mean", "real_nearest", "first_nearest"])
def test_starts_from_real_images(init, train):
    start = np.asarray(initial_pixels(train, 2, 2, init=init, seed=3))
    tiles = start.reshape(3, 2, 2, 14, 2, 14).transpose(0, 1, 2, 4, 3, 5).reshape(3, 8, -1)
    real = train.images[..., 0].astype(np.float32) / 255
    shrunk = real[:, ::2, ::2]
    if init == "real_mean":
        shrunk = real.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    for label, own in enumerate(tiles):
        distances = np.abs(shrunk.reshape(len(real), 1, -1) - own[None]).max(-1)
        nearest = distances.argmin(0)
        assert distances.min(0).max() < 1e-5
        assert (train.labels[nearest] == label).all() and len(set(nearest)) == 8
        if init == "first_nearest":
            assert nearest.tolist() == np.flatnonzero(train.labels == label)[:8].tolist()


def test_starts_from_noise_have_a_key_of_their_own(train):
    start = initial_pixels(train, 1, 1, init="noise", seed=3)
    shared = jax.random.uniform(jax.random.key(3), start.shape)
    assert np.abs(np.asarray(start) - shared).max() > 0.1


def test_starts_from_a_set_of_ones_own(network, train):
    eight, made = coreset.random(train, 8, seed=1), run("m3d", network, train, None, steps=2)
    tiled = initial_pixels(train, 2, 2, init=eight)
    expected = multiformation.encode(jnp.asarray(eight.images), 2).reshape(tiled.shape)
    np.testing.assert_allclose(tiled, expected, atol=1e-6)
    again = initial_pixels(train, 2, 2, init=made)
    np.testing.assert_array_equal(again, made.images.reshape(again.shape))
    whole = run("m3d", network, train, None, steps=2, init=made)
    assert whole.settings["init"]["method"] == "m3d"
    with pytest.raises(UserError, match="images in a class"):
        initial_pixels(train, 3, 2, init=eight)
    other = dataclasses.replace(train, classes=("a", "b", "c"))
    with pytest.raises(UserError, match="classes"):
        initial_pixels(other, 2, 2, init=eight)


def test_whole_sets_are_kept_along_the_way(tmp_path, network, train):
    made = run("dm", network, train, None, steps=5, workdir=tmp_path, keep_every=2)
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert names == ["step_000002", "step_000004"]
    shorter = run("dm", network, train, None, steps=4)
    kept = condensed.load(tmp_path / "kept" / "step_000004")
    np.testing.assert_array_equal(kept.images, shorter.images)
    assert kept.settings["steps"] == 4 and made.settings["steps"] == 5
    run("dm", network, train, None, steps=5, workdir=tmp_path, keep_every=2)
    with pytest.raises(UserError, match="kept"):
        run("dm", network, train, None, steps=5, workdir=tmp_path, keep_every=3)


def test_pictures_and_checkpoints_are_no_part_of_an_iterations_time(
    tmp_path, monkeypatch, network, train
):
    def slow(*args, **options):
        time.sleep(0.5)

    monkeypatch.setattr(condensation, "save_grid", slow)
    run("dm", network, train, None, steps=4, workdir=tmp_path, picture_every=1)
    about = json.loads((tmp_path / "result.json").read_text())
    assert about["seconds_per_iteration"] < 0.4


@pytest.fixture(scope="module")
def learning():
    """Images of ten classes that can be learnt from, experts of them, and how well networks of
    these do on real images that were not trained on, mean of two."""
    train = data.subset(data.load("fashion_mnist_mini"), 100, seed=0)
    test = data.subset(data.load("fashion_mnist_mini", split="test"), 50, seed=0)
    network = networks.create("convnet", 10, (28, 28, 1), width=16)
    config = experts.expert_training(28, epochs=8)
    pool = experts.train_experts(network, train, count=2, config=config, trajectories=True)
    protocol = protocols.protocol("dance", "fashion_mnist", epochs=60)

    def accuracy(made: CondensedSet) -> float:
        result = evaluation.evaluate(made, test, network, protocol, repeats=2, test_points=1)
        return result.accuracy_mean

    images = np.asarray(initial_pixels(train, 1, 1), np.float32).reshape(-1, 28, 28, 1)
    labels, source = np.arange(10, dtype=np.int32), describe_source(train)
    start = CondensedSet(images, labels, train.classes, train.mean, train.std, 1, "", source, {})
    return network, train, pool, accuracy, accuracy(start)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(OPTIONS))
def test_condensed_images_beat_those_they_start_from(name, learning):
    network, train, pool, accuracy, before = learning
    options = {
        "idm": {"queue_size": 4, "train_batch": 32, "push_every": 10},
        "dance": {"learning_rate": 0.1},
        "m3d": {"learning_rate": 0.3},
        "tgdd": {"learning_rate": 0.1},
    }
    method = methods.create(name, network=network, batch_real=32, factor=1, **options.get(name, {}))
    made = condensation.condense(method, train, ipc=1, steps=60, experts=pool)
    assert accuracy(made) > before + 1


@pytest.mark.slow
def test_a_notebook_may_drive_the_loop(network, train, pool):
    """Iteration by iteration, with what it sees of each; the end is that of `condense`."""
    made = methods.create("dance", network, batch_real=8, augmentation="flip")
    method, state, context = condensation.start(made, train, ipc=2, experts=pool)
    update = condensation.compile_step(method, state, context)
    seen = []
    for step in condensation.steps(update, state, context):
        seen.append((step.number, set(step.metrics)))
        if step.number == 3:
            break
    assert seen == [(n, {"pixels", "pltda", "calibration"}) for n in (1, 2, 3)]
    made = run("dance", network, train, pool, steps=3)
    pixels = np.asarray(method.pixels(step.state, context)).reshape(made.images.shape)
    np.testing.assert_allclose(pixels, made.images, atol=1e-5)
