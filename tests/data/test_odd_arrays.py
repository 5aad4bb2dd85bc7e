"""Generated arrays and files of them against the loaders: the right images or a sentence, no loss.

What goes in is drawn by Hypothesis: arrays of any type and shape, files with any members. What
comes out is compared with a reading of its own. Where nothing is wrong with a set, it must not be
refused. `python -m pytest -m slow` draws many.
"""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dancejax.data import Dataset, load

from .odd import both, check, content, loaded

_GOOD_TYPES = ["u1", "f2", "f4", "f8", ">f4", "g"]
_ODD_TYPES = ["?", "i1", "i4", "i8", "u8", "c8", "U3", "S2", "M8[s]", "V3", "O", "u1,f4"]
_LABEL_TYPES = ["u1", "i2", "i4", "i8", "u8", ">i8", "?"]


def _fill(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """An array of any type; images differ from one another."""
    bytes_ = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if dtype.kind == "f":
        return (bytes_ / 255).astype(dtype)
    if dtype.kind == "V" and dtype.names is None:
        return np.zeros(shape, dtype)
    if dtype.names:
        result = np.zeros(shape, dtype)
        result[dtype.names[0]] = bytes_
        return result
    return bytes_.astype(dtype)


@st.composite
def _images(
    draw: st.DrawFn, count: int, shape: tuple[int, ...], odd: bool
) -> tuple[np.ndarray, bool]:
    """(images, whether they are fine)."""
    kinds = ["good", "type", "shape", "values", "count"]
    kind = draw(st.sampled_from(kinds)) if odd else "good"
    seed = draw(st.integers(0, 2**20))
    dtype = np.dtype(draw(st.sampled_from(_ODD_TYPES if kind == "type" else _GOOD_TYPES)))
    if kind == "shape":
        shapes = [
            (),
            (0,),
            (count,),
            (count, 4),
            (count, 0, 4),
            (count, 2, 3, 4, 1),
            (count, 3, 4, 2),
        ]
        return _fill(dtype, draw(st.sampled_from(shapes)), seed), False
    if kind == "count":
        fewer = draw(st.integers(0, count - 1))
        return _fill(dtype, (fewer, *shape), seed), fewer > 0
    images = _fill(dtype, (count, *shape), seed)
    if kind == "values":
        images = images.astype("f8")
        images[draw(st.integers(0, count - 1))] = draw(st.sampled_from([np.nan, np.inf, -0.1, 1.5]))
        return images, False
    return images, kind == "good"


@st.composite
def _labels(draw: st.DrawFn, count: int, odd: bool, within: int) -> tuple[Any, list[int] | None]:
    """(labels, their values where they are fine); within: 0..within-1 all occur, 0: any values."""
    kind = draw(st.sampled_from(["good", "any", "type", "shape", "count"])) if odd else "good"
    dtype = np.dtype(draw(st.sampled_from(_LABEL_TYPES)))
    if kind == "any":
        values = draw(st.lists(st.integers(-2, 300), min_size=count, max_size=count))
    else:
        pool = draw(st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=3, unique=True))
        pool = list(range(within)) if within else pool
        values = draw(st.permutations([pool[i % len(pool)] for i in range(count)]))
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = [min(max(v, int(limits[0])), int(limits[1])) for v in values]
    labels = np.array(values, dtype)
    if kind == "type":
        other = draw(st.sampled_from(["f8", "c8", "U3", "S2", "O", "M8[s]", "i4,f4"]))
        return _fill(np.dtype(other), (count,), 0), None
    if kind == "shape":
        return draw(st.sampled_from([labels.sum(), labels[:, None].repeat(2, 1), labels[:0]])), None
    if kind == "count":
        fewer = draw(st.integers(0, count - 1))
        return labels[:fewer], values[:fewer]
    return draw(st.sampled_from([labels, labels[:, None]])), values


_NAMES = st.text(st.characters(), min_size=1, max_size=6)
_ODD_CLASSES = st.one_of(
    st.lists(_NAMES, min_size=1, max_size=5).map(lambda names: np.array(names, "U6")),
    st.sampled_from([np.arange(3), np.array("ab"), np.array([b"a", b"b"]), np.array([["a", "b"]])]),
    st.sampled_from([np.array(["a", None], object), np.array(["a", "a"]), np.array(["a", ""])]),
    st.sampled_from([np.array(["\ud800", "\udfff"]), np.array(["a\n", "a\t", "a\ufffd"])]),
)


@st.composite
def _set(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[np.ndarray, bool, Any, Any, Any]:
    """(images, whether they are fine, labels, their values where they are, classes)."""
    odd = draw(st.booleans())
    classes = None
    if draw(st.booleans()):
        names = draw(st.lists(_NAMES, min_size=2, max_size=3, unique=True))
        classes = draw(_ODD_CLASSES) if odd else np.array(names)
    within = classes.shape[0] if classes is not None and classes.ndim == 1 else 0
    count = draw(st.integers(1 if odd else 8, 14))
    images, good = draw(_images(count, shape, odd))
    labels, values = draw(_labels(count, odd, within))
    return images, good, labels, values, classes


def _expected(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] by a rule of its own."""
    four = images.reshape(*images.shape[:3], -1)
    if four.dtype.kind != "f":
        return four
    return np.floor(four.astype(np.float64) * 255 + 0.5).astype(np.uint8)


def _class_numbers(values: list[int], classes: Any) -> list[int] | None:
    """The class of each label; None where they do not fit to the names or there is only one."""
    if len(set(values)) < 2:
        return None
    if classes is None:
        return [sorted(set(values)).index(v) for v in values]
    if classes.dtype.kind != "U" or classes.ndim != 1:
        return None
    names = classes.tolist()
    fits = "" not in names and len(set(names)) == len(names)
    return values if fits and set(values) == set(range(len(names))) else None


def _fits_to_be_split(numbers: list[int], pixels: np.ndarray) -> bool:
    """Whether no class is too small, and none shares images with another."""
    content = [image.tobytes() for image in pixels]
    distinct = set(zip(numbers, content, strict=True))
    counts = Counter(number for number, _ in distinct)
    return min(counts.values()) >= 2 and len(set(content)) == len(distinct)


def _check_arrays(
    found: dict[str, Dataset] | str,
    images: np.ndarray,
    values: list[int] | None,
    classes: Any,
    good: bool,
) -> None:
    good = good and values is not None and np.shape(images)[:1] == (len(values),)
    numbers = _class_numbers(values, classes) if good else None
    fine = numbers is not None
    if isinstance(found, str):
        assert not (fine and _fits_to_be_split(numbers, _expected(images))), found
        return
    assert fine, "taken, though something is wrong"
    check(found, len(set(numbers)))
    pixels = _expected(images)
    wanted = Counter((n, image.tobytes()) for n, image in zip(numbers, pixels, strict=True))
    assert content(*found.values()) == wanted
    sides = [{image for _, image in content(part)} for part in found.values()]
    assert not sides[0] & sides[1]
    if classes is None:
        assert found["train"].classes == tuple(map(str, sorted(set(values))))


_SHAPES = st.sampled_from([(1, 1), (2, 3), (3, 2, 1), (4, 4, 3), (5, 1, 3)])


@both
def test_arrays(data: st.DataObject) -> None:
    images, good, labels, values, classes = data.draw(_SHAPES.flatmap(_set))
    first = good and images.ndim == 4 and data.draw(st.booleans())
    given_images = np.moveaxis(images, -1, 1) if first else images

    def read(split: str) -> Dataset:
        whole = Dataset.from_arrays(given_images, labels, classes=classes, channels_first=first)
        assert len(whole) == len(images)
        return dict(zip(("train", "test"), whole.split(seed=3), strict=True))[split]

    _check_arrays(loaded(read), images, values, classes, good)


@both
def test_npz_files_of_one_split(data: st.DataObject) -> None:
    images, good, labels, values, classes = data.draw(_SHAPES.flatmap(_set))
    keys = data.draw(st.sampled_from([("images", "labels"), ("x_train", "y_train")]))
    members = {keys[0]: images, keys[1]: labels}
    if classes is not None:
        members["classes"] = classes
    spoilt = data.draw(st.booleans())
    if spoilt and data.draw(st.booleans()):
        del members[data.draw(st.sampled_from(keys))]
        good = False
    for key in data.draw(st.lists(st.sampled_from(["ids", "x_val", "arr_0"]), max_size=2)):
        members[key] = data.draw(st.sampled_from([np.arange(3), np.array([{}], object)]))
    cut = data.draw(st.sampled_from([1.0, 0.0, 0.5, 0.98])) if spoilt else 1.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.npz"
        np.savez(path, **members)
        path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
        seed = data.draw(st.integers(0, 5))
        found = loaded(lambda split: load(path, split=split, seed=seed))
    _check_arrays(found, images, values, classes, good and cut == 1)


@both
def test_npz_files_of_two_splits(data: st.DataObject) -> None:
    shape = data.draw(_SHAPES)
    images, fine, labels, values, classes = data.draw(_set(shape))
    parts, members = {"train": (images, values)}, {"x_train": images, "y_train": labels}
    odd, count = data.draw(st.booleans()), data.draw(st.integers(1, 9))
    images, good = data.draw(_images(count, shape, odd))
    labels, values = data.draw(_labels(count, odd, 2))
    if not odd and parts["train"][1]:
        values = [parts["train"][1][i % len(parts["train"][1])] for i in range(count)]
        labels = np.array(values)
    parts["test"] = (images, values)
    members |= {"x_test": images, "y_test": labels}
    for images, values in parts.values():
        good = good and values is not None and np.shape(images)[:1] == (len(values),)
    fine = fine and good
    if classes is not None:
        members["classes"] = classes
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "set.npz", **members)
        found = loaded(lambda split: load(Path(folder) / "set.npz", split=split))
    values = parts["train"][1]
    numbers = _class_numbers(values, classes) if fine else None
    fine = numbers is not None and set(parts["test"][1]) <= set(values)
    if isinstance(found, str):
        assert not fine, found
        return
    assert fine, "taken, though something is wrong"
    check(found, len(set(numbers)))
    number = dict(zip(values, numbers, strict=True))
    for split, (images, labels) in parts.items():
        assert (found[split].images == _expected(images)).all()
        assert found[split].labels.tolist() == [number[v] for v in labels]
