"""Dataset, its fingerprint, seeded subsets and splits."""

import base64
import dataclasses
import io

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from dancejax.data import load
from dancejax.data.dataset import Dataset, subset
from dancejax.data.splitting import content_split, image_digests
from dancejax.errors import UserError


def _dataset(**changes) -> Dataset:
    rng = np.random.default_rng(0)
    fields = {
        "name": "toy",
        "split_name": "train",
        "images": rng.integers(0, 256, (9, 4, 5, 3), np.uint8),
        "labels": np.array([0, 1, 2, 1, 1, 0, 2, 0, 1], np.int32),
        "classes": ("cat", "dog", "eel"),
        "mean": (0.4, 0.5, 0.6),
        "std": (0.1, 0.2, 0.3),
    }
    return Dataset(**(fields | changes))


def test_properties():
    dataset = _dataset()
    assert len(dataset) == 9
    assert dataset.num_classes == 3
    assert dataset.image_shape == (4, 5, 3)
    assert dataset.class_counts.tolist() == [3, 4, 2]
    assert dataset.mean == (0.4, 0.5, 0.6)


def test_class_counts_include_absent_classes():
    assert _dataset(classes=("a", "b", "c", "d")).class_counts.tolist() == [3, 4, 2, 0]


def test_arrays_are_read_only_and_the_callers_are_not_touched():
    images = np.zeros((9, 4, 5, 3), np.uint8)
    dataset = _dataset(images=images)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"
    images[0] = 1


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"split_name": "val"}, "no split 'val'"),
        ({"images": np.zeros((9, 4, 5, 3), np.float32)}, "float32 [9, 4, 5, 3]"),
        ({"images": np.zeros((9, 3, 4, 5), np.uint8)}, "1 or 3 channels last"),
        ({"images": np.zeros((9, 4, 5), np.uint8)}, "uint8 [9, 4, 5]"),
        ({"images": np.zeros((9, 0, 5, 3), np.uint8)}, "no pixels"),
        ({"labels": np.zeros(9, np.int64)}, "int64 [9]"),
        ({"labels": np.zeros(8, np.int32)}, "int32 [8]; they must be int32 [9]"),
        ({"labels": np.full(9, 3, np.int32)}, "from 3 to 3, but with 3 class names"),
        ({"labels": np.full(9, -1, np.int32)}, "from -1 to -1"),
        ({"classes": ("cat", "cat", "eel")}, "different"),
        ({"classes": ("cat", "", "eel")}, "non-empty"),
        ({"mean": (0.5,)}, "mean has 1 and std 3 numbers for images of 3 channels"),
        ({"std": (0.1, 0.0, 0.1)}, "std positive"),
        ({"mean": (0.1, float("nan"), 0.1)}, "finite"),
    ],
)
def test_validation(changes, fragment):
    with pytest.raises(UserError) as caught:
        _dataset(**changes)
    assert fragment in str(caught.value)


def test_lists_and_words_are_no_arrays_and_no_constants():
    with pytest.raises(UserError, match=r"Dataset\.from_arrays"):
        _dataset(labels=[0, 1, 2, 1, 1, 0, 2, 0, 1])
    for wrong in (("0.4", "half", "0.6"), None):
        with pytest.raises(UserError, match="mean and std must be numbers"):
            _dataset(mean=wrong)


def test_fingerprint_is_of_the_content():
    first = _dataset()
    assert len(first.fingerprint) == 64
    assert _dataset().fingerprint == first.fingerprint
    assert _dataset(images=np.asfortranarray(first.images)).fingerprint == first.fingerprint
    assert _dataset(name="other", std=(1, 1, 1)).fingerprint == first.fingerprint
    assert _dataset(classes=("cat", "dog", "fly")).fingerprint != first.fingerprint
    reshaped = _dataset(images=first.images.reshape(9, 5, 4, 3))
    assert reshaped.fingerprint != first.fingerprint


@hypothesis.given(
    index=st.integers(0, 9 * 4 * 5 * 3 - 1), change=st.integers(1, 255), label=st.integers(0, 8)
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_fingerprint_changes_with_any_pixel_and_any_label(index, change, label):
    first = _dataset()
    images, labels = first.images.copy(), first.labels.copy()
    images.reshape(-1)[index] ^= change
    labels[label] = (labels[label] + 1) % 3
    found = {
        first.fingerprint,
        _dataset(images=images).fingerprint,
        _dataset(labels=labels).fingerprint,
    }
    assert len(found) == 3


def test_subset_is_balanced_seeded_and_in_order():
    labels = np.random.default_rng(1).integers(0, 3, 300).astype(np.int32)
    images = np.zeros((300, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(300) // 256, np.arange(300) % 256
    whole = _dataset(images=images, labels=labels, mean=(0.5,), std=(0.5,))

    def drawn(seed):
        part = subset(whole, 20, seed=seed)
        index = part.images[:, 0, :, 0].astype(int) @ [256, 1]
        assert part.class_counts.tolist() == [20, 20, 20]
        assert (np.diff(index) > 0).all()
        assert (part.labels == labels[index]).all()
        return index.tolist()

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_subset_names_the_class_that_is_too_small():
    with pytest.raises(UserError, match="'eel' has 2 images"):
        subset(_dataset(), 3, seed=0)
    with pytest.raises(UserError, match="per_class"):
        subset(_dataset(), 0, seed=0)
    with pytest.raises(UserError, match="seed"):
        subset(_dataset(), 1, seed=-1)


def _digests(values) -> np.ndarray:
    """Digests of different images, one for each different number."""
    values = np.asarray(values, np.int64)
    images = values[:, None].view(np.uint8).reshape(len(values), 2, 4, 1)
    return image_digests(np.ascontiguousarray(images))


def _sides(values, labels, seed=0) -> dict[int, bool]:
    """Whether each image is for testing."""
    classes = tuple(map(str, range(max(labels) + 1)))
    parts = content_split(_digests(values), np.asarray(labels), classes, seed=seed)
    return {int(v): i in set(parts["test"].tolist()) for i, v in enumerate(values)}


@hypothesis.given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6), seed=st.integers(0, 2**40)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_split_is_disjoint_complete_and_has_every_class_on_both_sides(counts, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    classes = tuple(map(str, range(len(counts))))
    digests = _digests(range(len(labels)))
    parts = content_split(digests, labels, classes, seed=seed)
    assert sorted(np.concatenate([*parts.values()]).tolist()) == list(range(len(labels)))
    for part in parts.values():
        assert (np.diff(part) > 0).all()
        assert set(labels[part].tolist()) == set(range(len(counts)))


def test_a_fifth_is_for_testing():
    labels = np.repeat(np.arange(10), 500)
    parts = content_split(_digests(range(5000)), labels, tuple("abcdefghij"), seed=0)
    assert (abs(np.bincount(labels[parts["test"]]) - 100) < 40).all()


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=100, deadline=None)
def test_one_image_more_leaves_the_others_on_their_sides(data):
    count = data.draw(st.integers(20, 60))
    labels = [0] * count + [1] * count
    values = list(range(2 * count))
    before = _sides(values, labels)
    place = data.draw(st.integers(0, 2 * count))
    more = _sides([*values[:place], 10**6, *values[place:]], [*labels[:place], 0, *labels[place:]])
    del more[10**6]
    # A class that has an image on one side by force alone may change it for the new one.
    assert sum(more[v] != before[v] for v in values) <= (sum(before[v] for v in values[:count]) < 2)
    order = data.draw(st.permutations(range(2 * count)))
    assert _sides([values[i] for i in order], [labels[i] for i in order]) == before


@pytest.mark.parametrize("seed", range(5))
def test_the_same_image_is_on_one_side(seed):
    values, labels = [*range(20), *range(20), *range(10, 30)], [0] * 20 + [0] * 20 + [1] * 20
    parts = content_split(_digests(values), np.array(labels), ("a", "b"), seed=seed)
    sides = [{values[i] for i in part} for part in parts.values()]
    assert not sides[0] & sides[1]


def test_classes_that_share_images_are_split_where_that_can_be_done():
    assert len({*_sides([1, 2, 2, 1], [0, 0, 1, 1]).values()}) == 2
    with pytest.raises(UserError, match="copies"):
        _sides([1, 2, 2, 3, 3, 1], [0, 0, 1, 1, 2, 2])


def test_split_depends_on_the_seed_and_needs_two_different_images_a_class():
    values, labels = range(100), [0] * 50 + [1] * 50
    assert _sides(values, labels, 0) != _sides(values, labels, 1)
    for odd in ([1, 2, 3], [1, 2, 3, 3]):
        with pytest.raises(UserError, match="different image"):
            _sides(odd, [0, 0, 1, 1][: len(odd)])
    with pytest.raises(UserError, match="seed"):
        _sides(values, labels, -1)


@pytest.mark.parametrize("side", ["train", "test"])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.5])
def test_a_part_is_divided_as_a_whole_is(side, share):
    labels = np.repeat(np.arange(10), 500)
    digests, classes = _digests(range(5000)), tuple("abcdefghij")
    part = content_split(digests, labels, classes, seed=0)[side]
    for _ in range(2):  # a part, and a part of a part
        found = content_split(digests[part], labels[part], classes, seed=0, share=share)["test"]
        expected, deviation = share * len(part), np.sqrt(share * (1 - share) * len(part))
        assert abs(len(found) - expected) < 4 * deviation
        part = np.setdiff1d(part, part[found])


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_the_share_is_checked(share):
    with pytest.raises(UserError, match="share"):
        _dataset().split(share)


def _raw(dtype=np.uint8, shape=(60, 4, 5, 3)):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return images if dtype == np.uint8 else (images / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("labels", [np.int64, np.uint8, ">i4", bool])
def test_from_arrays(dtype, labels):
    classes = np.arange(60) % 2
    made = Dataset.from_arrays(_raw(dtype), classes.astype(labels))
    assert (made.images == _raw()).all()
    assert made.labels.tolist() == classes.tolist() and made.labels.dtype == np.int32
    assert (made.name, made.split_name, made.classes) == ("arrays", "train", ("0", "1"))
    np.testing.assert_allclose(made.mean, (_raw() / 255).mean((0, 1, 2)))


def test_from_arrays_takes_other_layouts_and_lists():
    labels = np.arange(60) % 2
    first = Dataset.from_arrays(_raw().transpose(0, 3, 1, 2), labels, channels_first=True)
    assert (first.images == _raw()).all()
    grey = Dataset.from_arrays(_raw(shape=(60, 4, 5)), labels[:, None], name="mnist")
    assert grey.image_shape == (4, 5, 1)
    assert grey.mean == (0.1307,) and not grey.flip
    listed = Dataset.from_arrays((_raw() / 255).tolist(), [*labels], classes=["cat", "dog"])
    assert listed.classes == ("cat", "dog")


def test_from_arrays_names_classes_by_their_labels():
    labels = np.array([7, -1, 300])[np.arange(60) % 3]
    made = Dataset.from_arrays(_raw(), labels)
    assert made.classes == ("-1", "7", "300")
    assert [int(made.classes[c]) for c in made.labels] == labels.tolist()


@pytest.mark.parametrize(
    ("images", "labels", "options", "noun"),
    [
        (_raw(), np.arange(60) % 3, {"classes": ["a", "b"]}, "class names"),
        (_raw(), np.arange(60) % 2, {"classes": "ab"}, "class names"),
        (_raw(), np.arange(60) % 2, {"classes": 3}, "class names"),
        (_raw(), np.arange(60) % 2, {"classes": [["a"], ["b"]]}, "class names"),
        (_raw(), np.zeros(60, int), {}, "class"),
        (_raw()[:0], np.zeros(0, int), {}, "empty"),
        (_raw(), np.arange(60) % 2 / 1, {}, "astype"),
        (_raw(), np.eye(2, dtype=int)[np.arange(60) % 2], {}, "argmax"),
        (_raw(), ["a", "b"] * 30, {}, "numpy.unique"),
        (_raw(), [[1, 2], [3]], {}, "array"),
        (_raw().transpose(0, 3, 1, 2), np.arange(60) % 2, {}, "transpose"),
        (_raw(), np.arange(60) % 2, {"channels_first": True}, "channels first"),
        (_raw(), None, {}, "labels"),
        (None, np.arange(60) % 2, {}, "shape"),
        (_raw(np.float32) * 2, np.arange(60) % 2, {}, "divide"),
        (_raw().astype(np.int64), np.arange(60) % 2, {}, "uint8"),
        (_raw()[:0], [], {}, "empty"),
    ],
)
def test_from_arrays_refuses(images, labels, options, noun):
    with pytest.raises(UserError, match=noun):
        Dataset.from_arrays(images, labels, **options)


def test_split_draws_as_npz_files_are_drawn(tmp_path):
    images, labels = _raw(), np.arange(60) % 3
    whole = dataclasses.replace(Dataset.from_arrays(images, labels), flip=False)
    np.savez(tmp_path / "arrays.npz", images=images, labels=labels)
    for part in whole.split(seed=4):
        same = load(tmp_path / "arrays.npz", split=part.split_name, seed=4)
        assert part.fingerprint == same.fingerprint
        assert (part.mean, part.std, part.flip) == (same.mean, same.std, False)


def test_flip_is_carried_on_and_no_part_of_the_fingerprint():
    kept = _dataset(flip=False)
    assert _dataset().flip and not subset(kept, 1, seed=0).flip
    assert kept.fingerprint == _dataset().fingerprint


def test_names_are_made_printable_and_stay_different():
    odd = _dataset(name="a\nb", classes=("x\ud800", "x\udfff", "x\ufffd"))
    assert odd.name == "a\ufffdb"
    assert odd.classes == ("x\ufffd (2)", "x\ufffd (3)", "x\ufffd")
    assert dataclasses.replace(odd).classes == odd.classes
    long = _dataset(classes=("é" * 300, "é" * 301, "b")).classes
    assert max(len(name.encode()) for name in long) <= 200 and len(set(long)) == 3


def test_a_notebook_shows_the_facts_and_a_picture():
    dataset = _dataset(name="<b>", classes=("a", "b", "c", "absent"))
    assert repr(dataset) == "Dataset('<b>', train: 9 images of 4x5x3, 4 classes)"
    page = dataset._repr_html_()
    assert "9 images of 4x5x3" in page and "&lt;b&gt;" in page and "<b>" not in page
    with Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1].split('"')[0]))) as shown:
        assert shown.size == (3 * 5, 4)
