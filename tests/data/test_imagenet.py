"""The ImageNet sets by name, on small JPEG folders in their layouts, and what is kept of them."""

import numpy as np
import pytest
from PIL import Image

from dancejax import data
from dancejax.data import cache, folder, imagenet, pixels
from dancejax.errors import UserError

from .test_tfds_source import _prepare


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DANCEJAX_NO_CACHE", raising=False)
    monkeypatch.setattr(folder, "_KEPT", 1)


def photo(path, label, number, size=(150, 140), mode="RGB"):
    """A JPEG whose mean grey tells class and number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = 20 * label + 5 * number
    colour = value if mode == "L" else (value, value, value)
    Image.new(mode, size, colour).save(path, quality=95)


@pytest.fixture
def ilsvrc(tmp_path):
    """Three of Imagewoof's classes and one of another, in ImageNet's folders."""
    names = [*imagenet.SUBSETS["imagewoof"].classes, "n01440764"]
    for label, name in enumerate(names):
        for number in range(2):
            mode = "L" if number else "RGB"
            path = tmp_path / "data" / "imagenet" / "train" / name / f"{name}_{number}.JPEG"
            photo(path, label, number, mode=mode)
        photo(tmp_path / "data" / "imagenet" / "val" / name / f"val_{name}.JPEG", label, 2)
    return tmp_path / "data"


@pytest.fixture
def tiny(tmp_path):
    root = tmp_path / "data" / "tiny-imagenet-200"
    for label, name in enumerate(("n01443537", "n01629819", "n01641577")):
        for number in range(3):
            photo(
                root / "train" / name / "images" / f"{name}_{number}.JPEG", label, number, (64, 64)
            )
        (root / "train" / name / f"{name}_boxes.txt").write_text("0 0 1 1")
        photo(root / "val" / "images" / f"val_{label}.JPEG", label, 4, (64, 64))
    (root / "val" / "val_annotations.txt").write_text(
        "val_2.JPEG\tn01641577\t0\t0\t1\t1\nval_0.JPEG\tn01443537\t0\t0\t1\t1\n"
        "val_1.JPEG\tn01629819\t0\t0\t1\t1\n"
    )
    photo(root / "test" / "images" / "test_0.JPEG", 0, 0, (64, 64))
    (root / "wnids.txt").write_text("n01443537\n")
    return root


def values(dataset):
    return [round(float(image.mean())) for image in dataset.images]


def test_a_subset_of_ten_in_its_order(ilsvrc):
    train = data.load("imagewoof", data_dir=ilsvrc)
    assert train.images.shape == (20, 128, 128, 3)
    assert train.classes == imagenet.SUBSETS["imagewoof"].classes
    assert values(train) == [20 * label + 5 * number for label in range(10) for number in range(2)]
    assert train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert train.mean == (0.485, 0.456, 0.406)
    test = data.load("imagewoof", data_dir=ilsvrc, split="test", image_size=32)
    assert test.images.shape == (10, 32, 32, 3)
    assert values(test) == [20 * label + 10 for label in range(10)]


def test_all_of_imagenet_is_sorted_at_64(ilsvrc):
    train = data.load("imagenet1k", data_dir=ilsvrc / "imagenet")
    assert train.images.shape == (22, 64, 64, 3)
    assert train.classes == tuple(sorted(train.classes)) and train.num_classes == 11


def test_published_lists():
    sizes = {name: len(s.classes) for name, s in imagenet.SUBSETS.items() if s.classes}
    assert sizes.pop("imagenet100") == 100 and set(sizes.values()) == {10} and len(sizes) == 7
    for subset in imagenet.SUBSETS.values():
        assert subset.classes is None or len(set(subset.classes)) == len(subset.classes)
    assert imagenet.SUBSETS["imagenet100"].classes[:10] == imagenet.SUBSETS["imagenet10"].classes


def test_a_missing_class_and_a_missing_imagenet_are_said(ilsvrc, tmp_path):
    with pytest.raises(UserError, match="n02102040"):
        data.load("imagenette", data_dir=ilsvrc)
    with pytest.raises(UserError, match="data_dir"):
        data.load("imagemeow", data_dir=tmp_path)
    with pytest.raises(UserError, match="TinyImageNet"):
        data.load("tiny_imagenet", data_dir=tmp_path)


@pytest.mark.parametrize("by_name", [True, False])
def test_tiny_imagenet_in_its_own_layout(tiny, by_name):
    where = {"data_dir": tiny.parent} if by_name else {}
    name = "tiny_imagenet" if by_name else str(tiny)
    train = data.load(name, **where)
    assert train.images.shape == (9, 64, 64, 3 if not by_name else train.image_shape[2])
    assert values(train) == [20 * label + 5 * n for label in range(3) for n in range(3)]
    test = data.load(name, split="test", **where)
    assert test.labels.tolist() == [2, 0, 1] and values(test) == [60, 20, 40]
    assert test.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("val_0.JPEG\tn09999999\t0", "each must be a file, a tab and a class"),
        ("../x.JPEG\tn01443537", "each must be a file, a tab and a class"),
        ("val_9.JPEG\tn01443537", "val_9.JPEG is missing"),
        ("", "names no images"),
    ],
)
def test_broken_annotations_are_said(tiny, text, sentence):
    (tiny / "val" / "val_annotations.txt").write_text(text)
    with pytest.raises(UserError, match=sentence):
        data.load(str(tiny))


def test_tfds_imagenet_gives_the_same_subset(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    names = ("n01440764", *reversed(imagenet.SUBSETS["imagewoof"].classes))
    images = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.full(
        (1, 140, 150, 3), 20, np.uint8
    )
    splits = {"train": (images, range(11)), "validation": (images + 5, range(11))}
    feature = tfds.features.Image(shape=(None, None, 3))
    _prepare(tmp_path / "tfds", "imagenet2012", splits, feature, names)
    for split, more in (("train", 0), ("test", 5)):
        found = data.load("imagewoof", data_dir=tmp_path / "tfds", split=split)
        assert found.images.shape == (10, 128, 128, 3)
        assert found.classes == imagenet.SUBSETS["imagewoof"].classes
        # Label i is stored as 10 - i, in a picture of 20 * (10 - i).
        wanted = [20 * (10 - int(label)) + more for label in found.labels]
        assert values(found) == wanted and sorted(found.labels) == list(range(10))
    no_more_decoding(monkeypatch)
    again = data.load("imagewoof", data_dir=tmp_path / "tfds", split="test")
    np.testing.assert_array_equal(again.images, found.images)


def no_more_decoding(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(pixels, "decode", refuse)


def test_the_second_start_does_not_decode(ilsvrc, monkeypatch):
    first = data.load("imagewoof", data_dir=ilsvrc)
    no_more_decoding(monkeypatch)
    second = data.load("imagewoof", data_dir=ilsvrc)
    assert second.fingerprint == first.fingerprint
    assert not second.images.flags.writeable
    with pytest.raises(AssertionError, match="decoded again"):
        data.load("imagewoof", data_dir=ilsvrc, image_size=64)


def test_a_changed_file_is_decoded_again(ilsvrc):
    first = data.load("imagewoof", data_dir=ilsvrc)
    name = imagenet.SUBSETS["imagewoof"].classes[0]
    photo(ilsvrc / "imagenet" / "train" / name / "new.JPEG", 9, 9)
    second = data.load("imagewoof", data_dir=ilsvrc)
    assert (len(first), len(second)) == (20, 21)


def test_damage_is_noticed_and_decoded_again(ilsvrc, tmp_path, capsys):
    first = data.load("imagewoof", data_dir=ilsvrc).fingerprint
    (images,) = (tmp_path / "cache").rglob("images.npy")
    raw = bytearray(images.read_bytes())
    raw[len(raw) // 2] ^= 1
    images.write_bytes(raw)
    second = data.load("imagewoof", data_dir=ilsvrc)
    assert second.fingerprint == first
    assert "damaged and are decoded again" in capsys.readouterr().err


def test_a_full_disk_keeps_nothing_and_says_so(ilsvrc, tmp_path, monkeypatch, capsys):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    assert len(data.load("imagewoof", data_dir=ilsvrc)) == 20
    assert "are not kept" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("images.npy"))


def test_nothing_is_kept_on_request(ilsvrc, tmp_path, monkeypatch):
    monkeypatch.setenv("DANCEJAX_NO_CACHE", "1")
    assert len(data.load("imagewoof", data_dir=ilsvrc)) == 20
    assert not (tmp_path / "cache").exists()
