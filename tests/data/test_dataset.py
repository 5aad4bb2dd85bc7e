"""ImageDataset, its fingerprint, seeded subsets and splits."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from dancejax.data.dataset import ImageDataset, stratified_split, subset
from dancejax.errors import UserError


def _dataset(**changes) -> ImageDataset:
    rng = np.random.default_rng(0)
    fields = {
        "name": "toy",
        "split": "train",
        "images": rng.integers(0, 256, (9, 4, 5, 3), np.uint8),
        "labels": np.array([0, 1, 2, 1, 1, 0, 2, 0, 1], np.int32),
        "classes": ("cat", "dog", "eel"),
        "mean": (0.4, 0.5, 0.6),
        "std": (0.1, 0.2, 0.3),
    }
    return ImageDataset(**(fields | changes))


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
        ({"split": "val"}, "no split 'val'"),
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
    with pytest.raises(UserError, match="class 'eel' has 2 images in the train split, fewer"):
        subset(_dataset(), 3, seed=0)
    with pytest.raises(UserError, match="per_class is 0"):
        subset(_dataset(), 0, seed=0)
    with pytest.raises(UserError, match="seed is -1"):
        subset(_dataset(), 1, seed=-1)


@hypothesis.given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6), seed=st.integers(0, 2**40)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_split_is_disjoint_complete_and_stratified(counts, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    classes = tuple(map(str, range(len(counts))))
    parts = stratified_split(labels, classes, seed=seed)
    again = stratified_split(labels, classes, seed=seed)
    assert parts["test"].tolist() == again["test"].tolist()
    both = np.concatenate([parts["train"], parts["test"]])
    assert sorted(both.tolist()) == list(range(len(labels)))
    for c, count in enumerate(counts):
        assert (labels[parts["test"]] == c).sum() == max(1, round(count / 5)) < count


def test_split_depends_on_the_seed_and_needs_two_images_a_class():
    labels = np.repeat(np.arange(2), 50)
    first, second = (stratified_split(labels, ("a", "b"), seed=s)["test"] for s in (0, 1))
    assert first.tolist() != second.tolist()
    with pytest.raises(UserError, match=r"Class 'b' has 1 image\(s\)"):
        stratified_split(np.array([0, 0, 1]), ("a", "b"), seed=0)
