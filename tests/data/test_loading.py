"""`load`: names, paths and what it says to anything else."""

import numpy as np
import pytest
from PIL import Image

from dancejax.data import load, name_of
from dancejax.errors import UserError


@pytest.fixture(autouse=True)
def _empty_data_dir(tmp_path, monkeypatch):
    (tmp_path / "tfds").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.chdir(tmp_path)


def _folder(root):
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(np.full((4, 4), 10 * i, np.uint8)).save(root / name / f"{i}.png")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("fashion_mnist_mni",), ["no data set 'fashion_mnist_mni'", "'fashion_mnist_mini'?"]),
        (("CIFAR-10",), ["Did you mean 'cifar10'?", "svhn_cropped", "folder of images", ".npz"]),
        (("zzz",), ["no data set 'zzz'. Give one of fashion_mnist_mini, mnist"]),
        (("",), ["no data set ''"]),
        (("./zzz",), ["There is no folder"]),
        (("zzz.npz",), ["There is no file zzz.npz"]),
        (("cifar10",), ["cifar10 is not prepared under", "download_and_prepare()"]),
    ],
)
def test_unknown_names(arguments, fragments):
    with pytest.raises(UserError) as caught:
        load(*arguments)
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value


@pytest.mark.parametrize("image_size", [0, -3, 2.5, True, "8"])
def test_image_size_must_be_a_positive_whole_number(image_size):
    with pytest.raises(UserError, match="positive whole number"):
        load("fashion_mnist_mini", image_size=image_size)


@pytest.mark.parametrize("split", ["val", "TRAIN", ""])
def test_split_must_be_train_or_test(split):
    with pytest.raises(UserError, match="train"):
        load("fashion_mnist_mini", split=split)


def test_names_are_known_before_anything_is_read(tmp_path):
    """As loading gives them; a set on the hub is not asked for."""
    _folder(tmp_path / "flowers")
    _folder(tmp_path / "a\nb")
    np.savez(
        tmp_path / "toy.npz",
        x_train=np.arange(128, dtype=np.uint8).reshape(8, 4, 4),
        y_train=4 * [0, 1],
    )
    for source in ("fashion_mnist_mini", "flowers", tmp_path / "a\nb", "toy.npz"):
        assert name_of(source) == load(source).name
    assert name_of("hf:somebody/cifar10") == "cifar10"
    with pytest.raises(UserError, match="no data set"):
        name_of("zzz")


def test_relative_folders_and_known_names(tmp_path):
    _folder(tmp_path / "flowers")
    _folder(tmp_path / "mnist")
    assert load("flowers").name == "flowers"
    assert load("flowers").mean == load("./flowers").mean != (0.1307,)
    assert load("./mnist").mean == (0.1307,)
    with pytest.raises(UserError, match="not prepared"):
        load("mnist")
    assert load(tmp_path / "flowers", data_dir=tmp_path / "absent").num_classes == 2
