"""The artifact: exact round trip, and every change of its bytes is noticed."""

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, multiformation
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError


def example(**changes) -> CondensedSet:
    rng = np.random.default_rng(0)
    fields = {
        "images": rng.random((6, 8, 8, 3), np.float32),
        "labels": np.array([0, 0, 1, 1, 2, 2], np.int32),
        "classes": ("ape", "bee", "cat"),
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.1),
        "factor": 2,
        "method": "dance",
        "source": {"name": "zoo", "fingerprint": "abc", "split": "train"},
        "settings": {"ipc": 2, "seed": 0, "learning_rate": 0.02},
    }
    return CondensedSet(**{**fields, **changes})


def test_round_trip_is_exact(tmp_path):
    made = example()
    condensed.save(made, tmp_path / "set")
    found = condensed.load(tmp_path / "set")
    for field in dataclasses.fields(CondensedSet):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(made, field.name))
    assert condensed.fingerprint(found) == condensed.fingerprint(made)
    with Image.open(tmp_path / "set" / "preview.png") as picture:
        assert picture.size[0] > 50
    other = dataclasses.replace(made, images=made.images[::-1].copy())
    condensed.save(other, tmp_path / "set")  # replaced whole
    assert condensed.fingerprint(condensed.load(tmp_path / "set")) == condensed.fingerprint(other)


def test_manifest_says_how_to_use_the_set(tmp_path):
    images = example().images * 2 - 0.5
    condensed.save(example(images=images), tmp_path / "set")
    about = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert about["format"] == 1
    assert about["pixel_range"]["min"] == float(images.min()) and not about["pixel_range"]["inside"]
    assert about["normalisation"]["mean"] == [0.5, 0.4, 0.3]
    assert about["decoding"]["factor"] == 2 and about["ipc"] == 2
    assert about["source"]["fingerprint"] == "abc" and about["settings"]["seed"] == 0
    assert {"jax", "flax", "dancejax", "python"} <= set(about["versions"])


def test_decoded_images_and_labels_belong_together():
    made = example()
    images, labels = made.decoded()
    for index in range(6):
        own = images[4 * index : 4 * index + 4]
        expected = multiformation.decode(made.images[index : index + 1], 2)
        np.testing.assert_allclose(own, expected, atol=1e-6)
        assert (labels[4 * index : 4 * index + 4] == made.labels[index]).all()


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json"])
def test_every_flipped_byte_is_noticed(name, tmp_path):
    condensed.save(example(), tmp_path / "set")
    path = tmp_path / "set" / name
    good = path.read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(good), 60):
        bad = bytearray(good)
        bad[position] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(bad))
        try:
            found = condensed.load(tmp_path / "set")
        except UserError:
            continue
        # Harmless: white space of the array's header or of JSON, the content is the same.
        assert condensed.fingerprint(found) == condensed.fingerprint(example())
        assert found.settings == example().settings and found.mean == example().mean


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json"])
def test_cut_and_missing_files_are_noticed(name, tmp_path):
    condensed.save(example(), tmp_path / "set")
    path = tmp_path / "set" / name
    good = path.read_bytes()
    for length in (0, 1, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        if name == "manifest.json" and length == len(good) - 1:
            continue  # the newline at the end
        with pytest.raises(UserError, match=name):
            condensed.load(tmp_path / "set")
    path.unlink()
    with pytest.raises(UserError, match=r"manifest.json|missing"):
        condensed.load(tmp_path / "set")


def test_edited_manifest_and_other_formats_are_refused(tmp_path):
    from dancejax.runs import integrity

    condensed.save(example(), tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    about = json.loads(path.read_text())
    about["decoding"]["factor"] = 1
    path.write_text(json.dumps(about))
    with pytest.raises(UserError, match="damaged or was edited"):
        condensed.load(tmp_path / "set")
    path.write_text(json.dumps(integrity.seal({**about, "format": 99})))
    with pytest.raises(UserError, match="format 99"):
        condensed.load(tmp_path / "set")


def test_pickled_arrays_are_not_read(tmp_path):
    condensed.save(example(), tmp_path / "set")
    np.save(tmp_path / "set" / "labels.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"labels.npy is damaged"):
        condensed.load(tmp_path / "set")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": np.zeros((6, 8, 8, 3))}, "must be float32"),
        ({"labels": np.zeros(5, np.int32)}, r"labels must be int32 \[6\]"),
        ({"labels": np.full(6, 3, np.int32)}, "between 0 and 2"),
        ({"images": np.full((6, 8, 8, 3), np.nan, np.float32)}, "not finite"),
        ({"mean": (0.5,)}, "one value per channel"),
        ({"factor": 0}, "factor must be at least 1"),
        ({"factor": 5}, "tiles of less than 2 pixels"),
    ],
)
def test_sets_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        example(**changes)


def test_methods_save_load_and_show(tmp_path, monkeypatch):
    made = example(classes=("ape", "<bee>", "cat"))
    made.save(tmp_path / "set")
    assert condensed.fingerprint(CondensedSet.load(tmp_path / "set")) == condensed.fingerprint(made)
    assert repr(made).startswith("CondensedSet('zoo' by dance: 2 images of 8x8x3 a class, factor 2")
    page = made._repr_html_()
    assert "data:image/png" in page and "&lt;bee&gt;" in page and len(page) < 2**20
    assert made.show() is not None  # no notebook: the figure itself
    shown = []
    display = SimpleNamespace(display=shown.append, Image=lambda data: data)
    notebook = SimpleNamespace(display=display, get_ipython=lambda: "a shell")
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert made.show() is None and shown[0].startswith(b"\x89PNG")


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("other", ["thesis.txt", "cat/a.png", ".git/config", "images.npy/a"])
def test_saving_replaces_sets_alone(tmp_path, other):
    made, place = example(), tmp_path / "place"
    made.save(place)
    (place / ".DS_Store").write_bytes(b"of a file manager")
    made.save(place)
    assert not (place / ".DS_Store").exists()
    for folder in (place, tmp_path / "else"):
        if other.startswith("images.npy") and folder == place:
            continue
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_text("work of years")
        before = files(folder)
        with pytest.raises(UserError, match=other.split("/")[0]):
            made.save(folder)
        assert files(folder) == before


def test_a_file_is_no_place_for_a_set(tmp_path):
    (tmp_path / "set").write_text("work of years")
    with pytest.raises(UserError, match="file"):
        example().save(tmp_path / "set")
    assert files(tmp_path) == {Path("set"): b"work of years"}


def test_a_page_of_large_images_is_small():
    images = np.random.default_rng(0).random((40, 128, 128, 3), np.float32)
    classes = tuple(f"class {i}" for i in range(20))
    labels = np.repeat(np.arange(20, dtype=np.int32), 2)
    page = example(images=images, labels=labels, classes=classes)._repr_html_()
    assert len(page) < 2**21
