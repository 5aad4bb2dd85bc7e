"""Generated data sets against the loaders: either the right images, or one sentence; never a loss.

What goes in is drawn by Hypothesis: arrays of any type and shape, files with any members, folders
of any names, modes, formats and faults. What comes out is compared with a reading of its own. Where
nothing is wrong with a set, it must not be refused. `python -m pytest -m slow` draws 2000 of each.
"""

import contextlib
import dataclasses
import io
import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings, strategies as st
from PIL import Image

from dancejax.data import Dataset, load
from dancejax.data.pixels import decode, quiet
from dancejax.errors import UserError

_FEW, _MANY = 60, 500


def _both(test: Callable[[st.DataObject], None]) -> Callable[..., None]:
    """The test on drawn data, with few examples, and as a slow one with many."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    def of(count: int) -> Any:
        # Each count decorates a function of its own.
        drawn = given(st.data())(lambda data: test(data))
        return settings(
            max_examples=count,
            deadline=None,
            suppress_health_check=health,
            database=None,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
        )(drawn)

    marks = [pytest.param(_FEW), pytest.param(_MANY, marks=pytest.mark.slow)]

    @pytest.mark.parametrize("examples", marks)
    def run(examples: int) -> None:
        of(examples)()

    run.__doc__ = test.__doc__
    return run


def _loaded(read: Callable[[str], Dataset]) -> dict[str, Dataset] | str:
    """Both splits, or the sentence that refuses either."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            parts = {split: read(split) for split in ("train", "test")}
        assert all(map(_is_text, said.getvalue().split("\n")))
        return parts
    except UserError as error:
        sentence = str(error)
        assert _is_text(sentence) and len(sentence) < 2000, sentence
        assert sentence.endswith((".", '"')) or "download_and_prepare" in sentence, sentence
        return sentence


def _is_text(text: str) -> bool:
    """Whether a text takes one line and can be encoded."""
    kinds = {unicodedata.category(c) for c in text}
    return not kinds & {"Cc", "Cs", "Zl", "Zp"} and bool(text.encode()) is bool(text)


def _content(*parts: Dataset) -> Counter[tuple[int, bytes]]:
    """How often each image is there with each class."""
    return Counter(
        (int(label), image.tobytes())
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    )


def _check(parts: dict[str, Dataset], classes: int) -> None:
    """What holds for every set."""
    train, test = parts["train"], parts["test"]
    assert train.classes == test.classes and len(set(train.classes)) == classes
    assert all(name and _is_text(name) for name in train.classes)
    assert train.image_shape == test.image_shape
    assert (train.class_counts > 0).all()


# Arrays.

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
    _check(found, len(set(numbers)))
    pixels = _expected(images)
    wanted = Counter((n, image.tobytes()) for n, image in zip(numbers, pixels, strict=True))
    assert _content(*found.values()) == wanted
    sides = [{image for _, image in _content(part)} for part in found.values()]
    assert not sides[0] & sides[1]
    if classes is None:
        assert found["train"].classes == tuple(map(str, sorted(set(values))))


_SHAPES = st.sampled_from([(1, 1), (2, 3), (3, 2, 1), (4, 4, 3), (5, 1, 3)])


@_both
def test_arrays(data: st.DataObject) -> None:
    images, good, labels, values, classes = data.draw(_SHAPES.flatmap(_set))
    first = good and images.ndim == 4 and data.draw(st.booleans())
    given_images = np.moveaxis(images, -1, 1) if first else images

    def read(split: str) -> Dataset:
        whole = Dataset.from_arrays(given_images, labels, classes=classes, channels_first=first)
        assert len(whole) == len(images)
        return dict(zip(("train", "test"), whole.split(seed=3), strict=True))[split]

    _check_arrays(_loaded(read), images, values, classes, good)


@_both
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
        found = _loaded(lambda split: load(path, split=split, seed=seed))
    _check_arrays(found, images, values, classes, good and cut == 1)


@_both
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
        found = _loaded(lambda split: load(Path(folder) / "set.npz", split=split))
    values = parts["train"][1]
    numbers = _class_numbers(values, classes) if fine else None
    fine = numbers is not None and set(parts["test"][1]) <= set(values)
    if isinstance(found, str):
        assert not fine, found
        return
    assert fine, "taken, though something is wrong"
    _check(found, len(set(numbers)))
    number = dict(zip(values, numbers, strict=True))
    for split, (images, labels) in parts.items():
        assert (found[split].images == _expected(images)).all()
        assert found[split].labels.tolist() == [number[v] for v in labels]


# Folders.


@dataclasses.dataclass
class _Picture:
    """An image to be written, and what is to be read of it: [H, W] or [H, W, 3], None: refused."""

    image: Image.Image
    extension: str
    pixels: np.ndarray | None


def _on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


def _picture(mode: str, size: tuple[int, int], seed: int) -> _Picture:
    width, height = size
    rng = np.random.default_rng(seed)
    grey, alpha = rng.integers(0, 256, (2, height, width), np.uint8)
    colours = rng.integers(0, 256, (height, width, 3), np.uint8)
    kinds: dict[str, Callable[[], _Picture]] = {
        "1": lambda: _Picture(Image.fromarray(grey > 127), "png", (grey > 127) * np.uint8(255)),
        "L": lambda: _Picture(Image.fromarray(grey), "bmp", grey),
        "LA": lambda: _Picture(
            Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]),
            "png",
            _on_white(grey[..., None], alpha)[..., 0],
        ),
        "I;16": lambda: _Picture(
            Image.fromarray(np.minimum(grey * 257.0 + alpha % 100, 65535).astype(np.uint16)),
            "png",
            grey,
        ),
        "I": lambda: _Picture(Image.fromarray(grey.astype(np.int32) * 257), "tiff", grey),
        "I large": lambda: _Picture(Image.fromarray(np.int32(70000) + grey), "tif", None),
        "F": lambda: _Picture(Image.fromarray(grey.astype(np.float32)), "tif", None),
        "RGB": lambda: _Picture(Image.fromarray(colours), "PNG", colours),
        "RGB ppm": lambda: _Picture(Image.fromarray(colours), "ppm", colours),
        "RGBA": lambda: _Picture(
            Image.fromarray(np.dstack([colours, alpha])), "png", _on_white(colours, alpha)
        ),
        "CMYK": lambda: _Picture(
            Image.merge("CMYK", [*Image.fromarray(255 - colours).split(), Image.new("L", size, 0)]),
            "tif",
            colours,
        ),
        "LAB": lambda: _Picture(
            Image.merge("LAB", [Image.fromarray(c) for c in np.moveaxis(colours, -1, 0)]),
            "tif",
            None,
        ),
        "P": lambda: _palette(grey, colours, None),
        "PA": lambda: _palette(grey, colours, int(alpha.flat[0])),
    }
    return kinds[mode]()


def _palette(grey: np.ndarray, colours: np.ndarray, alpha: int | None) -> _Picture:
    table = np.resize(colours.reshape(-1), (256, 3))
    image = Image.frombytes("P", grey.shape[::-1], grey.tobytes())
    image.putpalette(table.tobytes())
    pixels = table[grey]
    if alpha is not None:
        image.info["transparency"] = bytes([alpha] * 256)
        pixels = _on_white(pixels, np.full(grey.shape, alpha))
    return _Picture(image, "png", pixels)


_GREY_MODES = ["1", "L", "LA", "I;16", "I"]
_MODES = [*_GREY_MODES, "RGB", "RGB ppm", "RGBA", "CMYK", "P", "PA"]
_REFUSED = ["I large", "F", "LAB"]
_RESERVED = {"train", "training", "test", "testing", "val", "valid", "dev", "eval", "runs"}


def _usable(name: str) -> bool:
    if name.startswith(".") or name.lower() in _RESERVED or len(os.fsencode(name)) > 200:
        return False
    return "/" not in name and "\0" not in name


_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("\n\t\x1b\u202e\u2028éß猫 "),
    st.integers(0xDC80, 0xDCFF).map(chr),
)
_FILE_NAMES = (
    st.text(_CHARACTERS, min_size=1, max_size=8)
    .filter(_usable)
    .map(lambda name: os.fsdecode(os.fsencode(name)))  # some bytes are UTF-8 by chance
)
_FOLDER_NAMES = _FILE_NAMES | st.just("x" * 200)


def _save(picture: _Picture, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{picture.extension}"
    options = {}
    if "transparency" in picture.image.info:
        options["transparency"] = picture.image.info["transparency"]
    with path.open("wb") as file:
        kinds = {"png": "PNG", "bmp": "BMP", "tif": "TIFF", "tiff": "TIFF", "ppm": "PPM"}
        picture.image.save(file, kinds[picture.extension.lower()], **options)
    return path


def _spoil(data: st.DataObject, path: Path) -> None:
    kind = data.draw(st.sampled_from(["empty", "text", "half", "noise"]))
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"<html>not found",
            "half": whole[: len(whole) // 3],
            "noise": bytes(range(99)),
        }[kind]
    )


def _clutter(data: st.DataObject, root: Path, folders: list[Path]) -> None:
    """Things that are not of the data set."""
    kinds = ["hidden", "mac", "text", "run", "top"]
    for kind in data.draw(st.lists(st.sampled_from(kinds), unique=True, max_size=3)):
        if kind == "hidden":
            (folders[0] / ".hidden.png").write_bytes(b"x")
        elif kind == "mac":
            (root / "__MACOSX").mkdir()
            (root / "__MACOSX" / "a.png").write_bytes(b"x")
        elif kind == "text":
            (folders[-1] / "notes.heic").write_bytes(b"x")
        elif kind == "run":
            (root / "runs" / "mine").mkdir(parents=True)
            for name in (".lock", "config.json"):
                (root / "runs" / "mine" / name).write_text("{}")
        else:
            (root / "readme.txt").write_text("x")


_LAYOUTS = st.sampled_from(
    [
        {"": ""},
        {"train": "train/", "test": "test/"},
        {"train": "Training/", "test": "Validation/"},
        {"train": "seg_train/seg_train/", "test": "seg_test/seg_test/"},
    ]
)


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """The centre square, resized; by Pillow's resize and a box of its own."""
    height, width = pixels.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def _near(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and int(abs(first.astype(int) - second).max()) <= 2


@_both
def test_folders(data: st.DataObject) -> None:
    odd = data.draw(st.booleans())
    names = data.draw(st.lists(_FOLDER_NAMES, min_size=2 - odd, max_size=3, unique=True))
    layout = data.draw(_LAYOUTS)
    modes = data.draw(st.sampled_from([_GREY_MODES, _MODES, ["RGB"]]))
    size = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    side = data.draw(st.sampled_from([None, None, 1, 3, min(size)]))
    fine, wanted, number = len(names) > 1, {}, data.draw(st.integers(0, 10**6))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "set"
        folders = []
        for split, prefix in layout.items():
            for label, name in enumerate(sorted(names)):
                folder = root / f"{prefix}{name}"
                folders.append(folder)
                count = data.draw(st.integers(1 if odd or split else 2, 4))
                fine = fine and (bool(split) or count > 1)
                for i in range(count):
                    number += 1
                    mode = data.draw(st.sampled_from(modes * 3 + _REFUSED * odd))
                    other = odd and data.draw(st.integers(0, 9)) == 0
                    own = (size[0] + 1, size[1]) if other else size
                    picture = _picture(mode, own, number)
                    deeper = folder / "deeper" if data.draw(st.integers(0, 5)) == 0 else folder
                    path = _save(picture, deeper, f"{i}{data.draw(_FILE_NAMES)}")
                    fine = fine and picture.pixels is not None and (side is not None or not other)
                    if odd and data.draw(st.integers(0, 9)) == 0:
                        _spoil(data, path)
                        fine = False
                    if data.draw(st.integers(0, 10)) == 0:
                        path.rename(Path(place) / f"{number}{path.suffix}")
                        path.symlink_to(Path(place) / f"{number}{path.suffix}")
                    wanted.setdefault(split, []).append((label, picture.pixels))
        alone = len(names) == 1 and layout == {"": ""}
        assume(not (alone and (root / names[0] / "deeper").is_dir()))  # taken for a wrapper
        _clutter(data, root, folders)
        found = _loaded(lambda split: load(root, split=split, image_size=side, seed=number % 7))
    if isinstance(found, str):
        # By chance images of one or two pixels are the same.
        assert not fine or "different image" in found or "other classes" in found, found
        return
    assert fine, "taken, though something is wrong"
    _check(found, len(names))
    _check_pictures(found, wanted, side)


def _check_pictures(
    found: dict[str, Dataset],
    wanted: dict[str, list[tuple[int, np.ndarray]]],
    side: int | None,
) -> None:
    channels = found["train"].image_shape[-1]
    every = [pixels for part in wanted.values() for _, pixels in part]
    assert channels == (1 if all(pixels.ndim == 2 for pixels in every) else 3)
    for split, pictures in wanted.items():
        parts = [found[split]] if split else list(found.values())
        left = [
            (int(label), image)
            for part in parts
            for image, label in zip(part.images, part.labels, strict=True)
        ]
        assert len(left) == len(pictures)
        for label, pixels in pictures:
            if pixels.ndim == 2 and channels == 3:
                pixels = pixels[..., None].repeat(3, -1)
            if side is not None:
                pixels = _resized(pixels, side)
            pixels = pixels.reshape(*pixels.shape[:2], channels)
            same = [i for i, (c, image) in enumerate(left) if c == label and _near(image, pixels)]
            assert same, "an image is missing or changed"
            left.pop(same[0])


_FORMATS = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("BMP", {}),
    ("WEBP", {}),
    ("GIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("PPM", {}),
]


@pytest.mark.parametrize(("kind", "options"), _FORMATS)
def test_a_file_cut_anywhere_is_refused_or_whole(kind: str, options: dict[str, Any]) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, kind, **options)
    data = buffer.getvalue()
    whole = decode(("x", data), channels=3, image_size=None)
    lengths = [*range(0, len(data), 29), *range(len(data) - 20, len(data))]
    with quiet():
        for length in lengths:
            with contextlib.suppress(UserError):
                found = decode(("x", data[:length]), channels=3, image_size=None)
                assert (found == whole).all(), length
