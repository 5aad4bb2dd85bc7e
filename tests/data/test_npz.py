""".npz files: what is accepted, value for value, and every refusal."""

import zipfile

import numpy as np
import pytest

from dancejax.data import load
from dancejax.errors import UserError

_RNG = np.random.default_rng(0)
TRAIN = _RNG.integers(0, 256, (12, 6, 6, 3), np.uint8)
TEST = _RNG.integers(0, 256, (6, 6, 6, 3), np.uint8)
Y_TRAIN, Y_TEST = np.arange(12) % 3, np.arange(6) % 3


def _four(**changes):
    arrays = {"x_train": TRAIN, "y_train": Y_TRAIN, "x_test": TEST, "y_test": Y_TEST} | changes
    return {key: value for key, value in arrays.items() if value is not None}


def _save(tmp_path, arrays, name="toy.npz"):
    np.savez(tmp_path / name, **arrays)
    return tmp_path / name


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("column", [False, True])
def test_keras_layout(tmp_path, dtype, column):
    shape = (-1, 1) if column else (-1,)
    labels = {"y_train": Y_TRAIN.astype(dtype).reshape(shape), "y_test": Y_TEST.reshape(shape)}
    path = _save(tmp_path, _four(**labels))
    train, test = load(path), load(str(path), split="test", image_size=6)
    assert train.name == "toy"
    assert (train.images == TRAIN).all()
    assert (test.images == TEST).all()
    assert train.labels.tolist() == Y_TRAIN.tolist()
    assert test.labels.tolist() == Y_TEST.tolist()
    assert train.classes == ("0", "1", "2")
    np.testing.assert_allclose(train.mean, (TRAIN / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(train.std, (TRAIN / 255).std((0, 1, 2)))
    assert (test.mean, test.std) == (train.mean, train.std)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_same_bytes(tmp_path, dtype):
    exact = (TRAIN / 255).astype(dtype)
    assert (load(_save(tmp_path, _four(x_train=exact))).images == TRAIN).all()


def test_floats_are_rounded_not_cut(tmp_path):
    x = np.full((12, 2, 2), 0.6 / 255, np.float32)
    x[0] = 1.0
    loaded = load(_save(tmp_path, _four(x_train=x, x_test=x[:6])))
    assert loaded.image_shape == (2, 2, 1)
    assert loaded.images[0].max() == 255
    assert (loaded.images[1:] == 1).all()


def test_one_split_is_split_by_the_seed(tmp_path):
    images = np.arange(60, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    labels = np.arange(60) // 20
    path = _save(
        tmp_path, {"images": images, "labels": labels, "classes": np.array(["a", "b", "c"])}
    )

    def numbers(split, seed):
        part = load(path, split=split, seed=seed)
        assert part.classes == ("a", "b", "c")
        assert (part.labels == part.images[:, 0, 0, 0] // 20).all()
        return part.images[:, 0, 0, 0].tolist()

    assert sorted(numbers("train", 1) + numbers("test", 1)) == list(range(60))
    assert numbers("test", 1) == numbers("test", 1)
    assert numbers("test", 1) != numbers("test", 2)


def test_known_names_get_the_fields_constants(tmp_path):
    assert load(_save(tmp_path, _four(), "cifar10.npz")).std == (0.2023, 0.1994, 0.2010)


@pytest.mark.parametrize(
    ("arrays", "fragments"),
    [
        (_four(x_train=np.array([{}] * 12)), ["pickled", "numpy.savez"]),
        (_four(classes=np.array(["a", None, "c"], object)), ["pickled"]),
        (_four(y_test=None), ["keys x_test, x_train, y_train;", "images and labels"]),
        ({"images": TRAIN}, ["has the keys images;"]),
        ({}, ["(none)"]),
        (_four(x_train=TRAIN.astype(np.int64)), ["x_train are int64", "uint8"]),
        (_four(x_train=TRAIN.astype(np.float32)), ["[0, 1]", "divide by 255"]),
        (_four(x_train=TRAIN / 255 - 0.1), ["[0, 1]"]),
        (_four(x_train=np.full(TRAIN.shape, np.nan)), ["[0, 1]"]),
        (_four(x_train=TRAIN.transpose(0, 3, 1, 2)), ["[12, 3, 6, 6]", "channels last"]),
        (_four(x_train=TRAIN.reshape(12, -1)), ["[12, 108]"]),
        (_four(x_train=TRAIN[:, :0]), ["no pixels"]),
        (_four(x_train=TRAIN[:0], y_train=Y_TRAIN[:0]), ["empty"]),
        (_four(y_train=Y_TRAIN[:-1]), ["y_train has 11 labels for 12 images"]),
        (_four(y_test=Y_TEST[:-1]), ["y_test has 5 labels for 6 images"]),
        (_four(y_train=Y_TRAIN.astype(float)), ["y_train is float64", "integers"]),
        (_four(y_train=np.eye(3, dtype=int)[Y_TRAIN]), ["int64 [12, 3]"]),
        (_four(y_train=Y_TRAIN + 1), ["label 0", "training images"]),
        (_four(y_train=Y_TRAIN - 1, classes=np.array(list("abc"))), ["labels run from -1"]),
        (_four(y_train=Y_TRAIN.astype(str)), ["labels must be integers", "numpy.unique"]),
        (_four(y_train=np.uint64(2**63) + Y_TRAIN.astype(np.uint64)), ["below 2**63"]),
        (_four(classes=np.array(["a", "b"])), ["2 class names"]),
        (_four(classes=np.array(list("abcd"))), ["class 3", "no training images"]),
        (_four(x_train=np.array(0)), ["shape []"]),
        (_four(x_train=TRAIN.astype([("r", "u1")])), ["structured"]),
        (_four(x_train=TRAIN.astype(complex)), ["complex128"]),
        (_four(y_train=np.array(3)), ["labels must be integers"]),
        (_four(classes=np.array("abc")), ["one string a class"]),
        ({"images": TRAIN, "labels": Y_TRAIN} | _four(), ["and not both"]),
        (_four(classes=np.array(list("aba"))), ["different"]),
        (_four(classes=np.arange(3)), ["one string a class"]),
        ({"images": TRAIN[:3], "labels": Y_TRAIN[:3]}, ["Class '0' has 1 different image"]),
    ],
)
def test_refusals(tmp_path, arrays, fragments):
    with pytest.raises(UserError) as caught:
        load(_save(tmp_path, arrays))
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value


def test_test_labels_without_a_training_class(tmp_path):
    path = _save(tmp_path, _four(y_test=Y_TEST + 1))
    with pytest.raises(UserError, match="label 3"):
        load(path, split="test")


def test_train_and_test_of_different_sizes(tmp_path):
    path = _save(tmp_path, _four(x_test=TEST[:, :4]))
    with pytest.raises(UserError, match=r"\[6, 6, 3\] .* \[4"):
        load(path, split="test")


def test_wrong_image_size(tmp_path):
    with pytest.raises(UserError, match="6x6"):
        load(_save(tmp_path, _four()), image_size=8)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file(tmp_path, keep):
    path = _save(tmp_path, _four())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match="not a complete"):
        load(path)


def test_damaged_file(tmp_path):
    path = _save(tmp_path, _four())
    data = bytearray(path.read_bytes())
    data[500] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a complete"):
        load(path)


def test_other_files_under_the_name(tmp_path):
    np.save(tmp_path / "a.npy", TRAIN)
    (tmp_path / "a.npy").rename(tmp_path / "array.npz")
    with pytest.raises(UserError, match="not a complete"):
        load(tmp_path / "array.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match=r"text\.npz"):
        load(tmp_path / "text.npz")
    with pytest.raises(UserError, match="There is no file"):
        load(tmp_path / "absent.npz")


def test_members_that_other_programs_wrote(tmp_path):
    """Zip files may hold a key twice, or a member that is no array."""
    twice = _save(tmp_path, _four())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("y_test.npy", archive.read("y_test.npy"))
    with pytest.raises(UserError, match="key twice"):
        load(twice)
    other = _save(tmp_path, _four(y_test=None), "other.npz")
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("y_test", b"0 1 2")
    with pytest.raises(UserError, match="y_test is no array"):
        load(other)
