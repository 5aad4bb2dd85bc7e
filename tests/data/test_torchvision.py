"""Data sets as torchvision downloads them, in small files of the exact layouts."""

import gzip
import io
import os
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest
from scipy.io import savemat

from dancejax.data import Dataset, image_sizes, load, tfds_source
from dancejax.errors import UserError

RNG = np.random.default_rng(0)
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGITS = tuple("0123456789")


class Python2(pickle._Pickler):
    """Writes as Python 2 did: text without a type, and NumPy under its old name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, text):
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_bytes


def pickled(value):
    buffer = io.BytesIO()
    Python2(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.", b"numpy.core.")


def images(count, shape=(32, 32, 3)):
    return RNG.integers(0, 256, (count, *shape), np.uint8)


def labels(count, classes=10):
    return RNG.permutation(np.arange(count) % classes)


def rows(x):
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def write_cifar10(root, train, test):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(
        pickled({b"label_names": [name.encode() for name in CIFAR10]})
    )
    size = -(-len(train[0]) // 5)
    for i in range(5):
        x, y = (part[i * size : (i + 1) * size] for part in train)
        (folder / f"data_batch_{i + 1}").write_bytes(
            pickled({b"data": rows(x), b"labels": y.tolist(), b"batch_label": b"x"})
        )
    (folder / "test_batch").write_bytes(
        pickled({b"data": rows(test[0]), b"labels": test[1].tolist()})
    )
    return folder


def write_cifar100(root, train, test):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    names = [f"c{i:02d}".encode() for i in range(100)]
    (folder / "meta").write_bytes(
        pickled({b"fine_label_names": names, b"coarse_label_names": [b"x"] * 20})
    )
    for split, (x, y) in (("train", train), ("test", test)):
        (folder / split).write_bytes(
            pickled({b"data": rows(x), b"fine_labels": y.tolist(), b"coarse_labels": [0] * len(x)})
        )
    return folder


def write_idx(folder, train, test, end=""):
    folder.mkdir(parents=True)
    for stem, (x, y) in (("train", train), ("t10k", test)):
        for name, array in (("images-idx3", x[..., 0]), ("labels-idx1", y.astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            data = head + array.tobytes()
            (folder / f"{stem}-{name}-ubyte{end}").write_bytes(gzip.compress(data) if end else data)
    return folder


def write_svhn(root, train, test):
    root.mkdir(parents=True)
    for split, (x, y) in (("train", train), ("test", test)):
        y = np.where(y == 0, 10, y)[:, None].astype(np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": x.transpose(1, 2, 3, 0), "y": y})
    return root


def write_stl10(root, train, test):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for split, (x, y) in (("train", train), ("test", test)):
        (folder / f"{split}_X.bin").write_bytes(x.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{split}_y.bin").write_bytes((y + 1).astype(np.uint8).tobytes())
    return folder


GREY = (28, 28, 1)
KINDS = {
    "cifar10": (write_cifar10, (32, 32, 3), 10, tuple(CIFAR10)),
    "cifar100": (write_cifar100, (32, 32, 3), 100, tuple(f"c{i:02d}" for i in range(100))),
    "mnist": (lambda root, *parts: write_idx(root / "MNIST" / "raw", *parts), GREY, 10, DIGITS),
    "fashion_mnist": (
        lambda root, *parts: write_idx(root / "FashionMNIST" / "raw", *parts, end=".gz"),
        GREY,
        10,
        CLOTHES,
    ),
    "svhn_cropped": (write_svhn, (32, 32, 3), 10, DIGITS),
    "stl10": (
        write_stl10,
        (96, 96, 3),
        10,
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    ),
}


@pytest.mark.parametrize("name", list(KINDS))
def test_the_same_arrays_as_by_tfds(tmp_path, name):
    write, shape, count, classes = KINDS[name]
    train, test = (
        (images(2 * count, shape), labels(2 * count, count)),
        (images(9, shape), labels(9)),
    )
    folder = write(tmp_path / "data", train, test)
    tfds_source.write(tmp_path / "tfds", name, *train, classes)
    prepared = load(name, data_dir=tmp_path / "tfds")
    for path in (tmp_path / "data", folder):
        found = load(path)
        assert found.fingerprint == prepared.fingerprint
        assert (found.name, found.flip) == (prepared.name, prepared.flip)
        assert (found.mean, found.std) == (prepared.mean, prepared.std)
        other = load(path, split="test")
        assert np.array_equal(other.images, test[0]) and np.array_equal(other.labels, test[1])
        assert other.classes == classes and other.mean == found.mean
    small = load(folder, image_size=16)
    assert small.fingerprint == load(name, data_dir=tmp_path / "tfds", image_size=16).fingerprint


def test_newer_pickles_are_read(tmp_path):
    parts = (images(10), labels(10)), (images(4), labels(4))
    folder = write_cifar10(tmp_path, *parts)
    (folder / "test_batch").write_bytes(
        pickle.dumps({"data": rows(parts[1][0]), "labels": parts[1][1].tolist()})
    )
    assert np.array_equal(load(folder, split="test").images, parts[1][0])


class Evil:
    def __init__(self, call, *arguments):
        self._parts = call, arguments

    def __reduce__(self):
        return self._parts


@pytest.mark.parametrize(
    "evil", [Evil(os.mkdir, "made"), Evil(eval, "open('made', 'w')"), Evil(np.load, "made")]
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_code_in_a_pickle_is_run(tmp_path, monkeypatch, evil, protocol):
    monkeypatch.chdir(tmp_path)
    folder = write_cifar10(tmp_path, (images(10), labels(10)), (images(4), labels(4)))
    data = {"data": evil, "labels": [0]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(data, protocol))
    with pytest.raises(UserError, match="code in it could be run"):
        load(folder)
    assert not (tmp_path / "made").exists()


def test_idx_files_in_a_folder_of_another_name(tmp_path, capsys):
    train, test = (images(20, (8, 8, 1)), labels(20, 4)), (images(8, (8, 8, 1)), labels(8, 4))
    found = load(write_idx(tmp_path / "shapes", train, test))
    assert "shapes: idx files of no known data set" in capsys.readouterr().err
    wanted = Dataset.from_arrays(*train, name="shapes")
    assert found.fingerprint == wanted.fingerprint and found.mean == wanted.mean


def test_missing_and_damaged_files_are_named(tmp_path):
    parts = (images(10), labels(10)), (images(4), labels(4))
    cifar, svhn = write_cifar10(tmp_path / "a", *parts), write_svhn(tmp_path / "b", *parts)
    grey = tuple((x[..., :1], y) for x, y in parts)
    idx = write_idx(tmp_path / "MNIST" / "raw", *grey, end=".gz")
    stl = write_stl10(tmp_path / "c", *((images(2, (96, 96, 3)), labels(2)) for _ in parts))
    for path in (cifar / "data_batch_2", svhn / "train_32x32.mat", stl / "train_X.bin",
                 idx / "train-images-idx3-ubyte.gz"):  # fmt: skip
        whole = path.read_bytes()
        for data in (whole[: len(whole) // 2], whole[:-7], b"x"):
            path.write_bytes(data)
            with pytest.raises(UserError, match=f"{path.name} is damaged"):
                load(path.parent)
    good = (cifar / "data_batch_1").read_bytes()
    for file, wrong in (
        ("data_batch_2", ["no dictionary"]),
        ("data_batch_2", {b"data": rows(images(2)), b"labels": [0]}),
        ("data_batch_2", {b"data": rows(images(2)).astype(np.int32), b"labels": [0, 1]}),
        ("batches.meta", {b"label_names": b"no list"}),
    ):
        before = (cifar / file).read_bytes()
        (cifar / "data_batch_2").write_bytes(good)
        (cifar / file).write_bytes(pickled(wrong))
        with pytest.raises(UserError, match=f"{file} is damaged"):
            load(cifar)
        (cifar / file).write_bytes(before)
    (cifar / "data_batch_3").unlink()
    (cifar / "data_batch_2").write_bytes((cifar / "data_batch_1").read_bytes())
    with pytest.raises(UserError, match="data_batch_3 is missing"):
        load(cifar)
    (cifar / "test_batch").write_bytes(pickled({b"data": rows(images(2)), b"labels": [0, 10]}))
    with pytest.raises(UserError, match="label 10"):
        load(cifar, split="test")


def test_several_data_sets_in_one_folder_are_to_be_chosen(tmp_path):
    parts = (images(10), labels(10)), (images(4), labels(4))
    write_cifar10(tmp_path, *parts)
    write_idx(tmp_path / "MNIST" / "raw", *((x[..., :1], y) for x, y in parts))
    with pytest.raises(UserError, match="several data sets"):
        load(tmp_path)


def test_images_of_one_size_leave_nothing_to_choose(tmp_path):
    assert image_sizes(write_svhn(tmp_path / "a", *((images(4), labels(4)) for _ in "ab"))) is None
