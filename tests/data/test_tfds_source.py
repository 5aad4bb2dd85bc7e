"""TFDS data sets, prepared here without TensorFlow or network, and read back bit for bit."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dancejax
from dancejax.data import load, subset
from dancejax.errors import UserError

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record.python.array_record_module")

GUARD = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def _prepare(data_dir, set_name, splits, feature, classes, version="1.0.0", **features) -> None:
    """A TFDS data set of splits {name: (images, labels)}; TFDS keeps encoded bytes as they are."""
    import tensorflow_datasets as tfds

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = set_name
        VERSION = tfds.core.Version(version)

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": feature,
                        "label": tfds.features.ClassLabel(names=list(classes)),
                    }
                    | features
                ),
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(*data) for split, data in splits.items()}

        def _generate_examples(self, images, labels):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield i, {"image": _png(image), "label": int(label)} | dict.fromkeys(features, "x")

    Prepared(data_dir=data_dir, file_format="array_record").download_and_prepare()


def _pairs(dataset) -> list[tuple[bytes, int]]:
    """Images with labels in an order of their own: TFDS shuffles when it prepares."""
    return sorted(zip((i.tobytes() for i in dataset.images), dataset.labels.tolist(), strict=True))


@pytest.fixture(scope="module")
def parts():
    return {
        split: subset(load("fashion_mnist_mini", split=split), 12, seed=0)
        for split in ("train", "test")
    }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, parts):
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    grey = tfds.features.Image(shape=(28, 28, 1))
    splits = {split: (part.images, part.labels) for split, part in parts.items()}
    classes = parts["train"].classes
    few = {"train": tuple(a[:5] for a in splits["train"])}
    _prepare(root, "fashion_mnist", few, grey, classes, version="3.0.2")
    _prepare(root, "fashion_mnist", splits, grey, classes, version="3.0.10")
    return root


def _python(code, **environment):
    root = Path(dancejax.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)} | environment
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", GUARD + code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_read_back_bit_equal_from_the_newest_version(data_dir, parts):
    for split, part in parts.items():
        loaded = load("fashion_mnist", data_dir=data_dir, split=split)
        assert _pairs(loaded) == _pairs(part)
        assert loaded.classes == part.classes
        assert (loaded.mean, loaded.std) == ((0.2861,), (0.3530,))
        again = load("fashion_mnist", data_dir=str(data_dir), split=split)
        assert again.fingerprint == loaded.fingerprint
    assert len(load("fashion_mnist:3.0.2", data_dir=data_dir)) == 5


def test_images_can_be_resized(data_dir):
    assert load("fashion_mnist", data_dir=data_dir, image_size=14).image_shape == (14, 14, 1)


def test_neither_tensorflow_nor_jax_nor_the_network(data_dir):
    """Also: the default data_dir is TFDS's own."""
    done = _python(
        """
from dancejax.data import load
dataset = load("fashion_mnist")
loaded = {"tensorflow", "jax", "tensorflow_datasets"} & set(sys.modules)
print(len(dataset), dataset.fingerprint, loaded)
""",
        TFDS_DATA_DIR=str(data_dir),
    )
    expected = load("fashion_mnist", data_dir=data_dir)
    assert done.stdout == f"120 {expected.fingerprint} {{'tensorflow_datasets'}}\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["cifar10", "mnist", "imagenet2012/x", "no_such_set"])
def test_what_is_not_prepared_is_refused_before_tfds_is_even_imported(data_dir, name):
    done = _python(
        f"""
from dancejax.data import load
from dancejax.errors import UserError
for data_dir in ({str(data_dir)!r}, "/absent/data_dir"):
    try:
        load({name!r}, data_dir=data_dir)
    except UserError as error:
        assert data_dir in str(error), error
    else:
        raise AssertionError("not refused")
assert "tensorflow_datasets" not in sys.modules
"""
    )
    assert done.returncode == 0, done.stderr


def test_the_command_to_prepare_names_the_data_set_format_and_folder(data_dir):
    with pytest.raises(UserError) as caught:
        load("cifar10", data_dir=data_dir)
    command = f"tfds.builder('cifar10', data_dir='{data_dir}', file_format='array_record')"
    assert command in str(caught.value)


def test_missing_packages_are_named(data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(UserError, match="array_record"):
        load("fashion_mnist", data_dir=data_dir)


def _folder(root):
    return root / "fashion_mnist/3.0.10"


def _delete_shard(root):
    next(_folder(root).glob("*-train.array_record*")).unlink()


def _truncate_shard(root):
    shard = next(_folder(root).glob("*-train.array_record*"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def _empty_shard(root):
    next(_folder(root).glob("*-train.array_record*")).write_bytes(b"")


def _break_metadata(root):
    (_folder(root) / "dataset_info.json").write_text("{")


def _delete_features(root):
    (_folder(root) / "features.json").unlink()


def _tfrecord(root):
    info = _folder(root) / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))


@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (_delete_shard, ["is incomplete", "train.array_record-00000-of-00001 is missing"]),
        (_truncate_shard, ["cannot be read", "prepare it again"]),
        (_empty_shard, ["cannot be read", "prepare it again"]),
        (_break_metadata, ["cannot be read", "prepare it again"]),
        (_delete_features, ["cannot be read", "prepare it again"]),
        (_tfrecord, ["tfrecord format", "file_format='array_record'", "NEW_DATA_DIR"]),
    ],
)
def test_damaged_or_unsuitable_files(tmp_path, data_dir, spoil, fragments):
    shutil.copytree(data_dir, tmp_path / "copy")
    spoil(tmp_path / "copy")
    with pytest.raises(UserError) as caught:
        load("fashion_mnist", data_dir=tmp_path / "copy")
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value


@pytest.fixture(scope="module")
def odd_dir(tmp_path_factory):
    """Sets that are not like the well-known ones."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(0)
    colour, many = tfds.features.Image(shape=(None, None, 3)), np.arange(10) % 2
    images = rng.integers(0, 256, (10, 6, 6, 3), np.uint8)
    names = ("x", "y")
    unlabelled = {"train": (images, many), "test": (images[:3], [-1] * 3)}
    _prepare(
        root, "hidden_labels", unlabelled | {"validation": (images[:4], many[:4])}, colour, names
    )
    _prepare(root, "no_labels", unlabelled, colour, names)
    some = [*many[:9], -1]
    _prepare(root, "some_labels", {"train": (images, some)}, colour, names)
    _prepare(root, "odd_names", {"train": (images, many)}, colour, ("x\x1b", "x\x7f"))
    _prepare(root, "only_train", {"train": (images, many)}, colour, names)
    _prepare(root, "with_text", {"train": (images, many)}, colour, names, text=tfds.features.Text())
    sizes = [*images[:5], *rng.integers(0, 256, (5, 9, 6, 3), np.uint8)]
    _prepare(root, "sizes", {"train": (sizes, many)}, colour, names)
    grey = [*images[:5, ..., :1], *images[5:]]
    _prepare(root, "grey_among_colour", {"train": (grey, many)}, colour, names)
    return root, images


def test_validation_stands_in_for_a_test_split_without_labels(odd_dir):
    root, images = odd_dir
    test = load("hidden_labels", data_dir=root, split="test")
    assert {i.tobytes() for i in test.images} == {i.tobytes() for i in images[:4]}
    np.testing.assert_allclose(test.mean, (images / 255).mean((0, 1, 2)))
    assert test.classes == ("x", "y")
    for name in ("no_labels", "only_train"):
        with pytest.raises(UserError, match="validation split"):
            load(name, data_dir=root, split="test")


def test_images_without_a_label_are_not_lost_silently(odd_dir):
    with pytest.raises(UserError, match="without a label"):
        load("some_labels", data_dir=odd_dir[0])


def test_odd_class_names_are_made_printable(odd_dir):
    assert load("odd_names", data_dir=odd_dir[0]).classes == ("x\ufffd", "x\ufffd (2)")


def test_odd_images(odd_dir):
    root, images = odd_dir
    assert len(load("with_text", data_dir=root)) == 10
    with pytest.raises(UserError, match="image_size"):
        load("sizes", data_dir=root)
    assert load("sizes", data_dir=root, image_size=6).image_shape == (6, 6, 3)
    loaded = load("grey_among_colour", data_dir=root)
    expected = np.concatenate([images[:5, ..., :1].repeat(3, -1), images[5:]])
    assert {i.tobytes() for i in loaded.images} == {i.tobytes() for i in expected}


def test_configurations(tmp_path, data_dir):
    for config in ("big", "small"):
        shutil.copytree(data_dir / "fashion_mnist", tmp_path / "fm" / config)
    with pytest.raises(UserError, match="fm/small"):
        load("fm", data_dir=tmp_path)
    assert len(load("fm/small", data_dir=tmp_path)) == 120
    shutil.rmtree(tmp_path / "fm/big")
    assert len(load("fm", data_dir=tmp_path)) == 120


def test_what_the_source_states_is_kept(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "tfds")
    silent = load("fashion_mnist", data_dir=data_dir).provenance
    assert silent.licence is None and silent.citation is None
    path = tmp_path / "tfds" / "fashion_mnist" / "3.0.10" / "dataset_info.json"
    info = json.loads(path.read_text())
    info |= {"citation": "@article{x}", "redistributionInfo": {"license": "MIT"}}
    info |= {"location": {"urls": ["https://example.org"]}}
    path.write_text(json.dumps(info))
    found = load("fashion_mnist", data_dir=tmp_path / "tfds", split="test").provenance
    assert found == ("fashion_mnist", "MIT", "@article{x}", "https://example.org")
