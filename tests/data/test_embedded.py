"""The embedded data set, and the script's parts that made it."""

import dataclasses
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

import dancejax
from dancejax.data import embedded, load, subset
from dancejax.errors import UserError


def test_content():
    train, test = (load("fashion_mnist_mini", split=split) for split in ("train", "test"))
    assert train.image_shape == test.image_shape == (28, 28, 1)
    assert train.class_counts.tolist() == [600] * 10
    assert test.class_counts.tolist() == [200] * 10
    assert train.classes == test.classes
    assert train.classes[::3] == ("T-shirt/top", "Dress", "Shirt", "Ankle boot")
    assert (train.mean, train.std) == ((0.2861,), (0.3530,)) == (test.mean, test.std)
    assert (train.split_name, test.split_name) == ("train", "test")
    # Statistics of a fair sample of Fashion-MNIST.
    np.testing.assert_allclose(train.images.mean() / 255, 0.2861, atol=0.005)
    np.testing.assert_allclose(train.images.std() / 255, 0.3530, atol=0.005)


def test_no_image_is_there_twice():
    parts = [load("fashion_mnist_mini", split=split).images for split in ("train", "test")]
    assert len({image.tobytes() for part in parts for image in part}) == 8000


def test_file_is_small_and_its_licence_lies_beside_it():
    folder = Path(embedded.__file__).parent
    assert (folder / "fashion_mnist_mini.npz").stat().st_size <= 5e6
    assert "Copyright (c) 2017 Zalando SE" in (folder / "FASHION_MNIST_LICENSE").read_text()


def test_a_changed_file_is_refused(monkeypatch):
    monkeypatch.setattr(embedded, "SHA256", embedded.SHA256[::-1])
    with pytest.raises(UserError, match="damaged"):
        load("fashion_mnist_mini")


def test_image_size_must_be_28():
    assert len(load("fashion_mnist_mini", split="test", image_size=28)) == 2000
    with pytest.raises(UserError, match="28x28"):
        load("fashion_mnist_mini", image_size=32)


@pytest.fixture(scope="module")
def script():
    path = Path(dancejax.__file__).parents[1] / "scripts/make_fashion_mnist_mini.py"
    if not path.exists():
        pytest.skip("an installed package comes without scripts")
    spec = importlib.util.spec_from_file_location("make_fashion_mnist_mini", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_selection_does_not_depend_on_the_stored_order(script):
    whole = subset(load("fashion_mnist_mini", split="test"), 20, seed=0)
    order = np.random.default_rng(0).permutation(len(whole))
    mixed = dataclasses.replace(whole, images=whole.images[order], labels=whole.labels[order])
    first, second = (script.select(d, 7, seed=5) for d in (whole, mixed))
    assert first.fingerprint == second.fingerprint
    assert first.class_counts.tolist() == [7] * 10
    assert script.select(whole, 7, seed=6).fingerprint != first.fingerprint


def test_npz_bytes_are_reproducible_and_numpy_reads_them(script):
    arrays = {"a": np.arange(6).reshape(2, 3), "classes": np.array(["x", "yz"])}
    data = script.npz_bytes(arrays)
    assert data == script.npz_bytes(arrays)
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        assert file["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file["classes"].tolist() == ["x", "yz"]
