"""Folders of images: layouts, splits, pixel modes and every refusal, on files that Pillow wrote."""

import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dancejax.data import load, name_of, pixels
from dancejax.errors import UserError

CLASSES = ("cat", "dog")


def _write(path: Path, value=0, size=(8, 8), mode="L", **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


SPLITS = [f"{split}/{name}" for split in ("train", "test") for name in CLASSES]


def _class_folders(root: Path, count=10, **options) -> Path:
    """Image i of class c is of the constant value 20 * c + i."""
    for c, name in enumerate(CLASSES):
        for i in range(count):
            _write(root / name / f"{i:02}.png", 20 * c + i, **options)
    return root


def _values(dataset) -> list[int]:
    assert (dataset.images == dataset.images[:, :1, :1, :]).all()
    return dataset.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_train_and_test_folders(tmp_path, test_name):
    _class_folders(tmp_path / "train")
    _class_folders(tmp_path / test_name, count=2)
    train, test = (load(tmp_path, split=split) for split in ("train", "test"))
    assert train.name == tmp_path.name
    assert train.classes == test.classes == CLASSES
    assert train.image_shape == (8, 8, 1)
    assert _values(train) == [*range(10), *range(20, 30)]
    assert train.labels.tolist() == [0] * 10 + [1] * 10
    assert _values(test) == [0, 1, 20, 21]
    assert test.labels.tolist() == [0, 0, 1, 1]
    expected = np.array(_values(train)) / 255
    np.testing.assert_allclose(train.mean, expected.mean())
    np.testing.assert_allclose(train.std, expected.std())
    assert (test.mean, test.std) == (train.mean, train.std)


def test_class_folders_only_are_split_by_the_seed(tmp_path):
    _class_folders(tmp_path)

    def values(split, seed):
        part = load(str(tmp_path), split=split, seed=seed)
        assert part.labels.tolist() == [v // 20 for v in _values(part)]
        return _values(part)

    assert sorted(values("train", 3) + values("test", 3)) == [*range(10), *range(20, 30)]
    assert values("test", 3) == values("test", 3)
    assert len({tuple(values("test", seed)) for seed in range(6)}) > 1


def test_other_files_hidden_files_and_deeper_folders(tmp_path):
    _class_folders(tmp_path / "Train")
    _class_folders(tmp_path / "test")
    _write(tmp_path / "Train/cat/deep/er/z.PNG", 99)
    (tmp_path / "Train/cat/.hidden.png").write_bytes(b"")
    (tmp_path / "Train/cat/.deep").mkdir()
    (tmp_path / "Train/cat/.deep/a.png").write_bytes(b"")
    (tmp_path / "Train/cat/notes.txt").write_text("not an image")
    (tmp_path / "Train/.cache").mkdir()
    (tmp_path / "unlabelled").mkdir()
    _write(tmp_path / "top.png")
    assert _values(load(tmp_path)) == [*range(10), 99, *range(20, 30)]


def test_an_unlabelled_test_folder_is_passed_over(tmp_path):
    _class_folders(tmp_path / "train")
    _class_folders(tmp_path / "val", count=3)
    _write(tmp_path / "test/images/0.png")
    assert len(load(tmp_path, split="test")) == 6


def test_a_class_may_be_called_train(tmp_path):
    for name in ("plane", "train"):
        for i in range(5):
            _write(tmp_path / name / f"{i}.png", i)
    assert load(tmp_path).classes == ("plane", "train")


def test_a_link_to_a_file_of_the_set_is_followed(tmp_path):
    _class_folders(tmp_path)
    (tmp_path / "cat/zz.png").symlink_to(tmp_path / "cat/03.png")
    both = [_values(load(tmp_path, split=split)) for split in ("train", "test")]
    assert sorted(both[0] + both[1]).count(3) == 2


def _transparent_palette() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([9, 9, 9, 10, 20, 30])
    image.info["transparency"] = 1
    return image


def _palette() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([9, 9, 9, 10, 20, 30])
    return image


def _sixteen_bit(value) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, np.uint16))


@pytest.mark.parametrize(
    ("image", "extension", "expected"),
    [
        (Image.new("1", (8, 8), 1), "png", [255]),
        (Image.new("L", (8, 8), 77), "png", [77]),
        (Image.new("L", (8, 8), 77), "JPG", [77]),
        (Image.new("LA", (8, 8), (77, 255)), "png", [77]),
        (Image.new("LA", (8, 8), (77, 0)), "png", [255]),
        (_sixteen_bit(77 * 257), "png", [77]),
        (_sixteen_bit(65535), "tif", [255]),
        (_sixteen_bit(77 * 257 + 129), "tiff", [78]),
        (Image.new("I", (8, 8), 77 * 257), "tif", [77]),
        (Image.new("RGB", (8, 8), (1, 2, 3)), "png", [1, 2, 3]),
        (Image.new("RGB", (8, 8), (1, 2, 3)), "bmp", [1, 2, 3]),
        (Image.new("RGB", (8, 8), (50, 50, 50)), "jpeg", [50, 50, 50]),
        (_palette(), "png", [10, 20, 30]),
        (_palette(), "gif", [10, 20, 30]),
        (_transparent_palette(), "png", [255, 255, 255]),
        (Image.new("RGBA", (8, 8), (10, 20, 30, 255)), "png", [10, 20, 30]),
        (Image.new("RGBA", (8, 8), (10, 20, 30, 0)), "webp", [255, 255, 255]),
        (Image.new("RGBA", (8, 8), (0, 100, 255, 51)), "png", [204, 224, 255]),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "tif", [255, 0, 0]),
    ],
)
def test_pixel_modes(tmp_path, image, extension, expected):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        for i in range(2):
            path = tmp_path / name / f"{i}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {"lossless": True} if extension == "webp" else {}
            image.save(path, **options)
    loaded = load(tmp_path)
    assert loaded.image_shape == (8, 8, len(expected))
    assert (loaded.images == np.array(expected, np.uint8)).all()


def test_one_coloured_file_in_either_split_makes_all_rgb(tmp_path):
    _class_folders(tmp_path / "train")
    _class_folders(tmp_path / "test")
    _write(tmp_path / "test/dog/colour.png", (1, 2, 3), mode="RGB")
    train = load(tmp_path)
    assert train.image_shape == (8, 8, 3)
    assert train.images[1, 0, 0].tolist() == [1, 1, 1]
    assert load(tmp_path, split="test").images[-1, 0, 0].tolist() == [1, 2, 3]


def test_the_first_frame_of_an_animation(tmp_path):
    _class_folders(tmp_path)
    frames = [Image.new("L", (8, 8), v) for v in (200, 100)]
    for name in CLASSES:
        for i in range(2):
            frames[0].save(tmp_path / name / f"zz{i}.gif", save_all=True, append_images=frames[1:])
    seen = [v for split in ("train", "test") for v in _values(load(tmp_path, split=split))]
    assert seen.count(200) == 4
    assert 100 not in seen


@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])  # raw TIFF: Pillow 13 garbles it
def test_exif_orientation_is_applied(tmp_path, extension):
    stored = np.zeros((16, 8), np.uint8)
    stored[:8] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the white half comes to the right
    for name in SPLITS:
        for i in range(2):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(stored).save(tmp_path / name / f"{i}.{extension}", exif=exif)
    image = load(tmp_path).images[0, ..., 0]
    assert image.shape == (8, 16)
    assert (image[:, :8] == 0).all()
    assert (image[:, 8:] == 255).all()


def test_image_size_resizes_the_shorter_side_and_crops_the_centre(tmp_path):
    pattern = np.zeros((8, 24), np.uint8)
    pattern[:, 8:16] = 200  # only the centre square is not black
    for name in SPLITS:
        for i in range(2):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pattern).save(tmp_path / name / f"{i}.png")
    assert (load(tmp_path, image_size=8).images == 200).all()
    smaller = load(tmp_path, image_size=4).images
    assert smaller.shape[1:] == (4, 4, 1)
    assert (smaller[:, :, 1:3] == 200).all()
    assert load(tmp_path).image_shape == (8, 24, 1)


def test_resizing_is_antialiased_and_the_identity_at_the_same_size(tmp_path):
    board = np.indices((32, 32)).sum(0) % 2 * 255
    for name in SPLITS:
        for i in range(2):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(board.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    assert (load(tmp_path, image_size=32).images[0, ..., 0] == board).all()
    assert (abs(load(tmp_path, image_size=8).images.astype(int) - 127.5) < 16).all()


def test_images_of_different_sizes_need_image_size(tmp_path):
    _class_folders(tmp_path / "train", count=100)
    _class_folders(tmp_path / "test", count=3, size=(12, 10))
    _write(tmp_path / "train/dog/zz.png", 7, size=(9, 8))
    with pytest.raises(UserError, match=r"zz\.png is 9x8"):
        load(tmp_path)
    (tmp_path / "train/dog/zz.png").unlink()
    assert load(tmp_path).image_shape == (8, 8, 1)
    with pytest.raises(UserError, match=r"\[8, 8, 1\] .* \[10, "):
        load(tmp_path, split="test")
    assert load(tmp_path, split="test", image_size=8).image_shape == (8, 8, 1)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size in an intact header and has no pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels_ = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels_ + chunk(b"IEND", b"")


def _no_folder(root):
    shutil.rmtree(root)


def _empty(root):
    shutil.rmtree(root)
    root.mkdir()


def _top_level_only(root):
    _empty(root)
    _write(root / "1.png")


def _one_class(root):
    shutil.rmtree(root / "cat")


def _class_without_images(root):
    (root / "eel").mkdir()
    (root / "eel/readme.txt").write_text("soon")


def _one_image(root):
    _write(root / "eel/only.png")


def _zero_bytes(root):
    (root / "dog/05.png").write_bytes(b"")


def _text(root):
    (root / "dog/05.png").write_text("this is no image, though it is called one")


def _truncated(root):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    for extension in ("png", "jpg"):
        Image.fromarray(noise).save(root / f"noise.{extension}")
    data = (root / "noise.png").read_bytes()
    (root / "dog/05.png").write_bytes(data[: len(data) // 2])


def _truncated_jpeg(root):
    _truncated(root)
    data = (root / "noise.jpg").read_bytes()
    (root / "dog/05.png").unlink()
    (root / "dog/05.jpg").write_bytes(data[: len(data) // 2])


def _flipped_bit(root):
    data = bytearray((root / "dog/05.png").read_bytes())
    data[45] ^= 255
    (root / "dog/05.png").write_bytes(data)


def _floating_point(root):
    _write(root / "dog/05.tif", 0.5, mode="F")


def _thirty_two_bit(root):
    _write(root / "dog/05.tif", 70000, mode="I")


def _bomb(root):
    (root / "dog/05.png").write_bytes(_png_header(9000, 9000))


def _bomb_that_pillow_warns_of(root):
    (root / "dog/05.png").write_bytes(_png_header(10000, 10000))


def _bomb_that_pillow_refuses(root):
    (root / "dog/05.png").write_bytes(_png_header(10**6, 10**6))


def _folder_link_inside(root):
    (root / "cat/loop").symlink_to(root)


def _links_in_a_ring(root):
    (root / "cat/to_dog").symlink_to(root / "dog")
    (root / "dog/to_cat").symlink_to(root / "cat")


def _link_to_the_system(root):
    (root / "cat/all").symlink_to("/")


def _pipe(root):
    os.mkfifo(root / "cat/pipe.png")


def _broken_link(root):
    (root / "dog/link.png").symlink_to(root / "dog/absent.png")


def _train_alone(root):
    (root / "train").mkdir()
    for name in CLASSES:
        (root / name).rename(root / "train" / name)


def _train_and_foreign_test(root):
    _train_alone(root)
    _write(root / "test/eel/1.png")


def _test_lacks_a_class(root):
    _train_alone(root)
    _write(root / "test/cat/1.png")
    _write(root / "test/eel/1.png")


def _test_class_is_empty(root):
    _train_alone(root)
    _write(root / "test/cat/1.png")
    (root / "test/dog").mkdir()


def _a_file(root):
    shutil.rmtree(root)
    root.write_text("not a folder")


@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (_no_folder, ["There is no folder", "set"]),
        (_a_file, ["set is a file", ".npz"]),
        (_empty, ["no class folders", "one folder a class"]),
        (_top_level_only, ["no class folders", "one folder a class"]),
        (_one_class, ["1 class folder(s)", "at least two"]),
        (_class_without_images, ["Class folder", "eel has no images"]),
        (_one_image, ["Class 'eel' has 1 different image"]),
        (_zero_bytes, ["05.png is an empty file"]),
        (_text, ["05.png cannot be read as an image"]),
        (_truncated, ["05.png cannot be read as an image"]),
        (_truncated_jpeg, ["05.jpg cannot be read as an image", "truncated"]),
        (_flipped_bit, ["05.png cannot be read as an image"]),
        (_floating_point, ["05.tif has floating-point pixels"]),
        (_thirty_two_bit, ["05.tif has 32-bit pixels"]),
        (_bomb, ["05.png declares more than 80 million pixels"]),
        (_bomb_that_pillow_warns_of, ["05.png declares more than 80 million pixels"]),
        (_bomb_that_pillow_refuses, ["05.png declares more than 80 million pixels"]),
        (_folder_link_inside, ["cat/loop is a link to a folder that holds it"]),
        (_links_in_a_ring, ["is a link to a folder that holds it"]),
        (_link_to_the_system, ["is a link to a folder that holds it"]),
        (_pipe, ["pipe.png", "not a file"]),
        (_broken_link, ["dog/link.png is a broken link"]),
        (_train_alone, ["has a train folder, but no test, val or validation folder"]),
        (_train_and_foreign_test, ["has a train folder, but no test, val or validation"]),
        (_test_lacks_a_class, ["Class 'dog' is in only one of", "set/train", "set/test"]),
        (_test_class_is_empty, ["Class folder", "test/dog has no images"]),
    ],
)
def test_refusals(tmp_path, spoil, fragments):
    root = _class_folders(tmp_path / "set")
    spoil(root)
    messages = set()
    for split in ("train", "test"):
        try:
            load(root, split=split)
        except UserError as error:
            messages.add(str(error))
    assert messages, "nothing was refused"
    for message in messages:
        assert "PIL" not in message and "identify" not in message
        assert all(fragment in message for fragment in fragments), message


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_PIXELS", 63)
    _class_folders(tmp_path)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match="declares more than"):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", ["cat", ""])
def test_a_folder_without_permission(tmp_path, name):
    _class_folders(tmp_path)
    (tmp_path / name).chmod(0)
    try:
        for look in (load, name_of):
            if look is load or not name:
                where = re.escape(str(tmp_path / name))
                with pytest.raises(UserError, match=rf"^{where} cannot be read"):
                    look(tmp_path)
    finally:
        (tmp_path / name).chmod(0o755)


def test_order_is_kept_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "BLOCK", 7)
    monkeypatch.setattr(pixels, "_CHUNK", 3)
    for split in ("train", "test"):
        _class_folders(tmp_path / split, count=19)
    assert _values(load(tmp_path)) == [*range(19), *range(20, 39)]
