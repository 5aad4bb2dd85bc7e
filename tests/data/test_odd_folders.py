"""Generated folders of images against the loaders: the right images or a sentence, no loss.

What goes in is drawn by Hypothesis: folders and files of any names, modes, formats and faults. What
comes out is compared with a reading of its own. Where nothing is wrong with a set, it must not be
refused. `python -m pytest -m slow` draws many.
"""

import contextlib
import dataclasses
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, strategies as st
from PIL import Image

from dancejax.data import Dataset, load
from dancejax.data.pixels import decode, quiet
from dancejax.errors import UserError

from .odd import both, check, loaded


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


@both
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
        found = loaded(lambda split: load(root, split=split, image_size=side, seed=number % 7))
    if isinstance(found, str):
        # By chance images of one or two pixels are the same.
        assert not fine or "different image" in found or "other classes" in found, found
        return
    assert fine, "taken, though something is wrong"
    check(found, len(names))
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
