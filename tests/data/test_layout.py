"""Folders as people have them: split names, wrappers, links, other files, our own work folders."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from dancejax.data import image_sizes, load, memory
from dancejax.errors import UserError
from dancejax.runs import notes

CLASSES = ("cat", "dog", "eel")


@pytest.fixture(autouse=True)
def _forget_what_was_said():
    notes._say.cache_clear()


def _write(path: Path, value=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def _classes(root: Path, count=10, first=0) -> Path:
    for c, name in enumerate(CLASSES):
        for i in range(count):
            _write(root / name / f"{i:02}.png", first + 20 * c + i)
    return root


def _values(part) -> list[int]:
    return part.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("seg_train", "seg_test"),
        ("train", "valid"),
        ("train", "dev"),
        ("training_set", "validation-set"),
        ("train2017", "val2017"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("photos/train", "photos/test"),
    ],
)
def test_split_folders(tmp_path, train, test):
    _classes(tmp_path / train)
    _classes(tmp_path / test, 2, first=100)
    for split, values in (("train", range(10)), ("test", (100, 101))):
        part = load(tmp_path, split=split)
        assert part.classes == CLASSES
        assert _values(part) == [20 * c + v for c in range(3) for v in values]


def test_the_split_that_is_not_used_is_said(tmp_path, capsys):
    for name, first in (("train", 0), ("valid", 100), ("test", 50)):
        _classes(tmp_path / name, 3, first)
    assert min(_values(load(tmp_path, split="test"))) == 50
    assert "valid" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("fold1", "fold2"), ("train", "training"), ("a", "b", "c")])
def test_what_looks_like_splits_is_never_taken_for_classes(tmp_path, names):
    for name in names:
        _classes(tmp_path / name)
    with pytest.raises(UserError, match="split"):
        load(tmp_path)


def test_unlabelled_split_folders_are_no_classes(tmp_path):
    for number in range(9):
        _write(tmp_path / ("seg_train", "seg_test")[number % 2] / f"{number}.png", number)
    with pytest.raises(UserError, match="validation"):
        load(tmp_path)


def test_classes_called_as_splits_are_classes(tmp_path):
    for c, name in enumerate(("train_station", "test_track", "dev_board")):
        for i in range(5):
            _write(tmp_path / name / f"{i}.png", 20 * c + i)
    with pytest.raises(UserError):  # all of them could be splits
        load(tmp_path)
    for i in range(5):
        _write(tmp_path / "plane" / f"{i}.png", 100 + i)
    assert load(tmp_path).num_classes == 4


def test_one_common_folder_in_each_class_is_no_split(tmp_path):
    for c, name in enumerate(CLASSES):
        for i in range(5):
            _write(tmp_path / name / "images" / f"{i}.png", 20 * c + i)
    assert load(tmp_path).classes == CLASSES


def test_a_wrapper_is_entered(tmp_path, capsys):
    _classes(tmp_path / "set" / "photos" / "by class")
    _write(tmp_path / "set" / "__MACOSX" / "photos" / "x.png")
    part = load(tmp_path / "set")
    assert (part.name, part.classes) == ("set", CLASSES)
    assert "by class" in capsys.readouterr().err


def test_links_out_of_the_folder_are_followed(tmp_path):
    _classes(tmp_path / "far", 5)
    _write(tmp_path / "one.png", 99)
    root = tmp_path / "set"
    _classes(root, 5, first=100)
    (root / "fox").symlink_to(tmp_path / "far" / "cat")
    (root / "cat" / "one.png").symlink_to(tmp_path / "one.png")
    (root / "dog" / "more").symlink_to(tmp_path / "far" / "dog")
    found = [v for split in ("train", "test") for v in _values(load(root, split=split))]
    expected = [
        *range(5),
        99,
        *range(20, 25),
        *(100 + 20 * c + i for c in range(3) for i in range(5)),
    ]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", ["./ring", "ring", "ring.npz", "./gone"])
def test_a_link_that_leads_nowhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for link, target in (("ring", "ring"), ("ring.npz", "ring.npz"), ("gone", "nowhere")):
        Path(link).symlink_to(target)
    with pytest.raises(UserError, match="There is no"):
        load(name)


def test_what_systems_leave_is_passed_over(tmp_path):
    _classes(tmp_path)
    for name in ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", ".git"):
        _write(tmp_path / name / "x.png", 99)
        _write(tmp_path / "cat" / name / "x.png", 99)
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "cat" / "._00.png").write_bytes(b"")
    part = load(tmp_path)
    assert part.classes == CLASSES and 99 not in _values(part)


def test_files_that_are_not_read_are_counted(tmp_path, capsys):
    _classes(tmp_path)
    for number in range(3):
        (tmp_path / "cat" / f"{number}.heic").write_bytes(b"x")
    (tmp_path / "dog" / "notes.txt").write_text("x")
    (tmp_path / "dog" / "README").write_text("x")
    _write(tmp_path / "beside.png")
    for split in ("train", "test"):
        load(tmp_path, split=split)
    said = capsys.readouterr().err
    assert "5 file(s)" in said and "3 .heic" in said and ".txt" in said and "1 image(s)" in said
    assert said.count("heic") == 1


def test_a_class_of_files_that_are_not_read(tmp_path):
    _classes(tmp_path)
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "1.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"fox has no images .*\.heic"):
        load(tmp_path)


@pytest.mark.parametrize("extension", ["jfif", "jpe", "ppm", "pgm", "dib", "avif", "jp2", "apng"])
def test_more_types(tmp_path, extension):
    if extension == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if extension == "jp2" and not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    kind = {"jfif": "JPEG", "jpe": "JPEG", "apng": "PNG", "pgm": "PPM"}.get(extension)
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", (8, 8), 100).save(tmp_path / name / f"x.{extension}", kind)
    assert (abs(load(tmp_path).images.astype(int) - 100) < 3).all()


def _run(folder: Path) -> None:
    """What a program leaves behind in its work folder."""
    folder.mkdir(parents=True)
    (folder / ".lock").write_text("process 1\n")
    (folder / "config.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("")
    _write(folder / "losses.png")
    _write(folder / "condensed" / "preview.png")
    _write(folder / "pictures" / "before_after.png")


@pytest.mark.parametrize("where", ["runs/mine", "runs/cifar10/dance", "out", "cat/runs/mine"])
def test_work_folders_are_no_classes(tmp_path, where, capsys):
    _classes(tmp_path)
    before = [load(tmp_path, split=split).fingerprint for split in ("train", "test")]
    _run(tmp_path / where)
    assert [load(tmp_path, split=split).fingerprint for split in ("train", "test")] == before
    assert "dancejax wrote" in capsys.readouterr().err


@pytest.mark.parametrize("left", [[], [".lock"], ["config.json"]])
def test_the_beginning_of_a_work_folder_is_no_class(tmp_path, left):
    _classes(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    for name in left:
        (tmp_path / "runs" / "mine" / name).write_text("")
    if not left:
        (tmp_path / "runs" / "mine").rmdir()
    assert load(tmp_path).classes == CLASSES


def test_a_data_folder_that_is_its_own_work_folder(tmp_path):
    _classes(tmp_path / "set")
    _run(tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name == "condensed":
            (path / "manifest.json").write_text("{}")
        path.rename(tmp_path / "set" / path.name)
    assert load(tmp_path / "set").classes == CLASSES


def test_a_class_with_a_file_named_as_ours_is_a_class(tmp_path):
    _classes(tmp_path)
    (tmp_path / "cat" / "config.json").write_text(json.dumps({}))
    for number in range(5):
        _write(tmp_path / "runs" / f"{number}.png", 100 + number)
    assert load(tmp_path).classes == (*CLASSES, "runs")


def test_one_more_photo_moves_no_other(tmp_path):
    _classes(tmp_path, 18)
    before = {split: set(_values(load(tmp_path, split=split))) for split in ("train", "test")}
    for c, name in enumerate(CLASSES):
        _write(tmp_path / name / "000.png", 200 + c)
    for split, values in before.items():
        assert set(_values(load(tmp_path, split=split))) - {200, 201, 202} == values


def test_digests_of_many_files_are_kept(tmp_path, monkeypatch):
    from dancejax.data import folder

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DANCEJAX_NO_CACHE", raising=False)
    monkeypatch.setattr(folder, "_KEPT", 1)
    root = _classes(tmp_path / "set")
    first = load(root, seed=3).fingerprint
    assert load(root, seed=4).fingerprint != first
    (kept,) = (tmp_path / "cache").rglob("*.bin")
    monkeypatch.setattr(folder, "_digest", lambda path: pytest.fail("hashed again"))
    assert load(root, seed=3).fingerprint == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "_KEPT", 1)
    kept.write_bytes(kept.read_bytes()[::-1])
    assert load(root, seed=3).fingerprint == first


def test_names_that_are_not_utf8(tmp_path):
    _classes(tmp_path)
    for number in range(5):
        folder = os.fsencode(tmp_path) + b"/caf\xe9"
        os.makedirs(folder, exist_ok=True)
        Image.new("L", (4, 4), 90 + number).save(
            Path(os.fsdecode(folder)) / os.fsdecode(b"\xff\n%d.png" % number)
        )
    part = load(tmp_path)
    assert part.classes == ("caf\ufffd", *CLASSES)
    (Path(os.fsdecode(folder)) / os.fsdecode(b"\xff\n9.png")).write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert str(caught.value).isprintable() and str(caught.value).encode()


@pytest.mark.parametrize("size", [100_000, 8_000])
def test_sizes_beyond_the_memory_are_refused_before_anything_is_decoded(
    tmp_path, monkeypatch, size
):
    _classes(tmp_path, 60)
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match="image_size"):
        load(tmp_path, image_size=size)


def test_an_npz_file_beyond_the_memory(tmp_path, monkeypatch):
    images = np.zeros((100, 50, 50), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", images=images, labels=np.arange(100) % 2)
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    with pytest.raises(UserError, match="memory"):
        load(tmp_path / "set.npz")


def test_the_memory_of_this_machine():
    found = memory.available()
    assert found is None or 2**24 < found < 2**50


@pytest.mark.parametrize(
    ("files", "noun"),
    [
        (["train/data-00000-of-00001.arrow"], "hf:"),
        (["a/x.parquet", "b/x.png"], "hf:"),
        (["a/x.npz"], "x.npz"),
        (["photos.zip"], "unpack"),
        (["x_train.npy", "y_train.npy"], "numpy.savez"),
        (["mnist-train.tfrecord-00000-of-00001"], "TensorFlow"),
    ],
)
def test_sets_in_other_formats(tmp_path, files, noun):
    for name in files:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    with pytest.raises(UserError, match=noun):
        load(tmp_path / "set")


def test_a_file_in_another_format(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"x")
    with pytest.raises(UserError, match="unpack"):
        load(tmp_path / "x.zip")


def test_sizes_to_choose_an_image_size_by(tmp_path):
    assert image_sizes(_classes(tmp_path / "set"), most=9) == [(4, 4)] * 8
    assert image_sizes("fashion_mnist_mini") is None


@pytest.mark.parametrize(
    ("name", "flip"),
    [
        ("photos", True),
        ("MNIST", False),
        ("svhn_cropped", False),
        ("kmnist", False),
        ("emnist-letters", False),
        ("mnist_of_shoes", True),
        ("fashion_mnist", True),
    ],
)
def test_digits_are_not_mirrored(tmp_path, name, flip):
    root = _classes(tmp_path / name)
    assert load(root).flip is flip
    assert load(root, flip=not flip).flip is not flip
    assert load(root, flip=not flip).fingerprint == load(root).fingerprint
