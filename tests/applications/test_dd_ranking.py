"""DD-Ranking's scores: what its package is given, what becomes of its numbers, what is refused."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

import dancejax
from dancejax.applications import dd_ranking
from dancejax.data import Dataset
from dancejax.errors import UserError
from tests import stand_ins


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Stand-ins for PyTorch and ddranking, which are not installed beside JAX."""
    packages = stand_ins.dd_ranking(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    return tmp_path / "scores"


def colours(count: int) -> Dataset:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (10 * count, 8, 8, 3), np.uint8)
    made = Dataset.from_arrays(images, np.arange(10 * count) % 10)
    return dataclasses.replace(made, name="cifar10")


@pytest.fixture(scope="module")
def made():
    random = dancejax.coreset.random(colours(6), 4)
    images, labels = np.asarray(random.images), np.asarray(random.labels)
    return dataclasses.replace(random, images=images[::4], labels=labels[::4], factor=2)


SETTINGS = dd_ranking.Settings(repeats=2, epochs=10, batch_size=16)


def test_the_package_gets_these_images_and_its_numbers_come_back(made, package):
    train, test = colours(6), colours(2)
    dd_ranking.check(made, test, SETTINGS)
    found = dd_ranking.score(made, train, test, SETTINGS, folder=package)
    assert found["hard_label_recovery_mean"] == 15
    assert found["improvement_over_random_mean"] == 25
    assert math.isclose(found["improvement_over_random_std"], math.sqrt(50))
    assert not list(package.glob("*/images.npz")), "the copy of the data goes"
    for log in package.glob("*/repeat_?/log.txt"):
        largest, *counts = log.read_text().split("saw ")[1].split()[:3]
        scaled = (train.images[3] / 255 - train.mean) / train.std
        assert math.isclose(float(largest), np.abs(scaled).max(), rel_tol=1e-5)
        assert counts == ["60", "20"]


def test_only_repeats_that_are_missing_are_computed(made, package):
    train, test = colours(6), colours(2)
    one = dd_ranking.score(made, train, test, SETTINGS._replace(repeats=1), folder=package)
    assert one["repeats"] == 1 and one["hard_label_recovery_mean"] == 20
    (log,) = package.glob("*/repeat_0/log.txt")
    log.unlink()
    two = dd_ranking.score(made, train, test, SETTINGS, folder=package)
    assert two["repeats"] == 2 and two["hard_label_recovery_mean"] == 15
    assert not log.exists(), "the finished repeat is not computed again"
    said = []
    again = dd_ranking.score(made, train, test, SETTINGS, folder=package, say=said.append)
    assert again == two and not said


@pytest.mark.parametrize("changed", ["settings", "set", "test"])
def test_what_was_measured_of_something_else_is_not_taken(made, package, changed):
    train, test = colours(6), colours(2)
    one = SETTINGS._replace(repeats=1)
    dd_ranking.score(made, train, test, one, folder=package)
    if changed == "settings":
        one = one._replace(batch_size=8)
    elif changed == "set":
        made = dataclasses.replace(made, images=made.images[::-1])
    else:
        test = colours(3)
    said = []
    dd_ranking.score(made, train, test, one, folder=package, say=said.append)
    assert len(said) == 1 and len([*package.glob("*/repeat_0/measured.json")]) == 2


def test_the_score_runs_from_0_to_100():
    def score(recovery, improvement):
        return float(dd_ranking.label_robust_score(np.array(recovery), np.array(improvement)))

    lowest, highest = score(100, -100), score(-100, 100)
    assert math.isclose(lowest, 0, abs_tol=1e-9) and math.isclose(highest, 100)
    # As good as random images, which reach what all images do: alpha = 0.
    assert math.isclose(score(0, 0), 100 * (1 - math.exp(-1)) / (math.e - math.exp(-1)))


def test_a_failure_is_one_sentence_with_the_log(made, package):
    (package.parent / "packages/ddranking/metrics/hard_label.py").write_text("raise OSError('no')")
    with pytest.raises(UserError, match="ddranking failed"):
        dd_ranking.score(made, colours(6), colours(2), SETTINGS, folder=package)
    assert not (package / "dd_ranking.json").exists() and not list(package.glob("*/images.npz"))


@pytest.mark.parametrize(
    ("changed", "noun"),
    [
        ({"epochs": 9}, "epochs"),
        ({"python": "/no/such/python"}, "python"),
    ],
)
def test_what_cannot_be_scored_is_refused_before(made, package, changed, noun):
    with pytest.raises(UserError, match=noun):
        dd_ranking.check(made, colours(2), SETTINGS._replace(**changed))


def test_only_sets_of_its_data_sets_have_a_score(made, package):
    with pytest.raises(UserError, match="condensed"):
        dd_ranking.check(colours(6), colours(2), SETTINGS)
    other = dataclasses.replace(made, source={**made.source, "name": "flowers"})
    with pytest.raises(UserError, match="flowers"):
        dd_ranking.check(other, colours(2), SETTINGS)
    with pytest.raises(UserError, match="fruit"):
        dd_ranking.check(made, dataclasses.replace(colours(2), name="fruit"), SETTINGS)


def test_a_python_without_the_package_is_named(made, tmp_path, monkeypatch):
    """A folder of that name, as one for its Python, is no package."""
    (tmp_path / "ddranking").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="ddranking"):
        dd_ranking.check(made, colours(2), SETTINGS)


def test_the_program_says_the_scores(made, tmp_path):
    """launch.evaluate with a Python of its own for the package, as it is meant to be used."""
    train, test = colours(6), colours(2)
    arrays = {"x_train": train.images, "y_train": train.labels}
    np.savez(tmp_path / "cifar10.npz", **arrays, x_test=test.images, y_test=test.labels)
    loaded = dancejax.data.load(tmp_path / "cifar10.npz")
    source = {"name": loaded.name, "fingerprint": loaded.fingerprint}
    dataclasses.replace(made, source=source).save(tmp_path / "set")
    python = tmp_path / "python"
    packages = stand_ins.dd_ranking(tmp_path / "packages")
    python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = [
        "launch.evaluate", f"--dataset={tmp_path / 'cifar10.npz'}",
        f"--condensed={tmp_path / 'set'}", "--network=convnet", "--width=2",
        "--depth=1", "--epochs=10", "--repeats=2",
        "--test_points=1", "--dd_ranking", f"--dd_ranking_python={python}",
        f"--workdir={tmp_path / 'run'}",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "improvement over random 25.00" in done.stderr
    assert "dd_ranking: 2/2" in done.stderr  # the bar
    result = json.loads((tmp_path / "run" / "dd_ranking" / "dd_ranking.json").read_text())
    assert result["hard_label_recovery_mean"] == 15 and result["repeats"] == 2
