"""Sets of other programs, read as their owners say, and refused where that cannot be."""

import dataclasses
import pickle
import shutil
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dancejax import choices, data, exchange, multiformation
from dancejax.errors import UserError
from dancejax.exchange import form, plausible, torchfile, whitening


@pytest.mark.parametrize("values", ["unit", "byte", "normalised"])
@pytest.mark.parametrize("first", [True, False])
def test_others_arrays(values, first, made, train, tmp_path):
    images = made.images
    stored = {
        "unit": images, "byte": (images * 255).astype(np.uint8),
        "normalised": (images - train.mean) / train.std,
    }[values]  # fmt: skip
    if first:
        stored = stored.transpose(0, 3, 1, 2)
    np.savez(tmp_path / "theirs.npz", x=stored, y=made.labels)
    back = exchange.read_foreign(
        tmp_path / "theirs.npz", train, exchange.ReadOptions(pixel_values=values, factor=2)
    )
    np.testing.assert_allclose(back.images, images, atol=0.5 / 255)
    np.testing.assert_array_equal(back.labels, made.labels)
    assert (back.factor, back.method, back.source["name"]) == (2, "foreign", train.name)


def test_others_folders(made, train, tmp_path):
    for image, label in zip(form.eight_bit(made.images), made.labels, strict=True):
        folder = tmp_path / "by_name" / train.classes[label].replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{image.sum()}.png")
    # "T-shirt/top" cannot be a folder; the order of the other names is not that of the labels.
    (tmp_path / "by_name" / "T-shirt_top").rename(tmp_path / "by_name" / "A")
    back = exchange.read_foreign(tmp_path / "by_name", train)
    assert len(back.images) == 6 and sorted(set(back.labels.tolist())) == [0, 1, 2]
    for name in ("A", "Trouser"):
        for file in (tmp_path / "by_name" / name).iterdir():
            file.unlink()
        (tmp_path / "by_name" / name).rmdir()
    with pytest.raises(UserError, match=r"at least two classes"):
        exchange.read_foreign(tmp_path / "by_name", train)


@pytest.mark.parametrize("kind", ["shares", "logits"])
def test_others_soft_labels(kind, made, train, tmp_path):
    """Of each image, or of each of its tiles."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 24)
    given = shares if kind == "shares" else np.log(shares) + 5
    np.savez(tmp_path / "theirs.npz", x=made.images, y=given)
    options = exchange.ReadOptions(factor=2, soft_labels=kind)
    back = exchange.read_foreign(tmp_path / "theirs.npz", train, options)
    np.testing.assert_allclose(back.soft_labels, shares, atol=1e-3)
    np.testing.assert_array_equal(back.labels, shares.reshape(6, 4, 3).mean(1).argmax(1))
    np.savez(tmp_path / "theirs.npz", x=made.images, y=given[:6])
    back = exchange.read_foreign(tmp_path / "theirs.npz", train, options)
    np.testing.assert_allclose(back.soft_labels, shares[:6].repeat(4, 0), atol=1e-3)


class Tensor:
    """Stands for a tensor while a file is written as torch.save writes it."""

    def __init__(self, array, stride=None, name="_rebuild_tensor_v2"):
        self.array = np.ascontiguousarray(array)
        self.stride = stride or tuple(s // array.itemsize for s in self.array.strides)
        self.name = name


STORAGES = {"f4": "FloatStorage", "i8": "LongStorage", "u1": "ByteStorage", "f2": "HalfStorage"}


def write_torch(path, value, damage=False):
    """A file in PyTorch's zip format, without PyTorch: its pickle is put together by hand."""
    storages = []

    def put(value):
        if isinstance(value, Tensor):
            array = value.array
            key = str(len(storages))
            storages.append(array.tobytes())
            return (
                f"ctorch._utils\n{value.name}\n".encode() + b"("
                + b"(" + text("storage") + f"ctorch\n{STORAGES[array.dtype.str[1:]]}\n".encode()
                + text(key) + text("cpu") + number(array.size) + b"tQ"
                + number(0) + numbers(array.shape) + numbers(value.stride)
                + b"\x89" + b"ccollections\nOrderedDict\n)R" + b"tR"
            )  # fmt: skip
        if isinstance(value, dict):
            return b"}(" + b"".join(text(k) + put(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(put, value)) + b"e"
        return pickle.dumps(value, 0)[:-1]

    def text(value):
        data = value.encode()
        return b"X" + len(data).to_bytes(4, "little") + data

    def number(value):
        return b"J" + int(value).to_bytes(4, "little", signed=True)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    body = b"\x80\x02" + put(value) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/byteorder", "little")
        for key, data in enumerate(storages):
            archive.writestr(f"archive/data/{key}", data[: len(data) // 2] if damage else data)


def test_pytorch_files_are_read_without_pytorch(made, train, tmp_path):
    images = made.images.transpose(0, 3, 1, 2)
    labels = made.labels.astype(np.int64)
    both = [Tensor(images), Tensor(labels)]
    write_torch(tmp_path / "published.pt", {"data": [[Tensor(images * 0), both[1]], both]})
    write_torch(tmp_path / "named.pt", {"images": both[0], "labels": both[1]})
    write_torch(tmp_path / "images.pt", both[0])
    write_torch(tmp_path / "labels.pt", both[1])
    write_torch(tmp_path / "pair.pth", both)
    write_torch(tmp_path / "theirs.pt", both[0])
    extra = {"theirs.pt": tmp_path / "labels.pt"}
    for name in ("published.pt", "named.pt", "images.pt", "theirs.pt", "pair.pth"):
        back = exchange.read_foreign(
            tmp_path / name, train, exchange.ReadOptions(labels=extra.get(name), factor=1)
        )
        np.testing.assert_array_equal(back.images, made.images)
        np.testing.assert_array_equal(back.labels, made.labels)
    write_torch(tmp_path / "alone.pt", both[0])
    with pytest.raises(UserError, match="no labels"):
        exchange.read_foreign(tmp_path / "alone.pt", train)
    half = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_torch(tmp_path / "strided.pt", Tensor(half, stride=(1, 2)))
    np.testing.assert_array_equal(torchfile.load(tmp_path / "strided.pt"), [[0, 2, 4], [1, 3, 5]])


def test_pytorch_files_run_no_code_and_read_no_memory(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    write_torch(tmp_path / "evil.pt", {"x": Evil()})
    with pytest.raises(UserError, match="more than tensors"):
        torchfile.load(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()
    array = np.zeros(8, np.float32)
    for stride in ((2,), (-1,), (2**30,)):
        write_torch(tmp_path / "wild.pt", Tensor(array, stride=stride))
        with pytest.raises(UserError, match="damaged"):
            torchfile.load(tmp_path / "wild.pt")
    write_torch(tmp_path / "short.pt", Tensor(array), damage=True)
    with pytest.raises(UserError, match="damaged"):
        torchfile.load(tmp_path / "short.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(OrderedDict()))
    with pytest.raises(UserError, match=r"1\.6"):
        torchfile.load(tmp_path / "old.pt")
    good = tmp_path / "good.pt"
    write_torch(good, {"images": Tensor(array)})
    data = good.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(data), 100):
        bad = bytearray(data)
        bad[position] ^= 0x55
        (tmp_path / "bad.pt").write_bytes(bytes(bad))
        try:
            torchfile.load(tmp_path / "bad.pt")
        except UserError:
            continue


def test_pytorch_reads_itself_as_we_read_it(made, tmp_path):
    torch = pytest.importorskip("torch")
    value = {
        "images": torch.from_numpy(made.images).permute(0, 3, 1, 2)[::2],
        "labels": torch.nn.Parameter(torch.arange(3.0).bfloat16()), "more": [1, "a", None],
    }  # fmt: skip
    torch.save(value, tmp_path / "a.pt")
    found = torchfile.load(tmp_path / "a.pt")
    np.testing.assert_array_equal(found["images"], value["images"].numpy())
    np.testing.assert_array_equal(found["labels"], [0, 1, 2])
    assert found["more"] == [1, "a", None]


BLANK = np.zeros((6, 28, 28, 1))
GOOD = np.arange(6) % 3


@pytest.mark.parametrize(
    ("fields", "options", "noun"),
    [
        ({"x": np.zeros((6, 8, 8, 1)), "y": GOOD}, {}, "image_size"),
        ({"x": np.zeros((6, 28, 28, 3)), "y": GOOD}, {}, "1 channels"),
        ({"x": np.zeros((0, 28, 28, 1)), "y": GOOD[:0]}, {}, "no images"),
        ({"x": np.full((6, 28, 28, 1), "a"), "y": GOOD}, {}, "numbers"),
        ({"x": BLANK, "y": np.arange(6)}, {}, "from 0 to 5"),
        ({"x": BLANK, "y": GOOD - 1}, {}, "from -1 to 1"),
        ({"x": BLANK, "y": GOOD[:5]}, {}, "6 images"),
        ({"x": BLANK, "y": GOOD[:0]}, {}, "labels"),
        ({"x": BLANK, "y": np.array(["a", "b", "c"] * 2)}, {}, "text"),
        ({"x": BLANK, "y": GOOD + 0.7}, {}, "0.7"),
        ({"x": BLANK, "y": GOOD * np.nan}, {}, "nan"),
        ({"x": BLANK, "y": np.eye(3)[GOOD]}, {}, "soft"),
        ({"x": BLANK, "y": np.eye(3)[GOOD] * 2}, {"soft_labels": "shares"}, "logits"),
        ({"x": BLANK, "y": np.eye(4)[GOOD]}, {"soft_labels": "shares"}, "3 numbers"),
        ({"x": BLANK, "y": np.eye(3)[GOOD[:4]]}, {"soft_labels": "logits"}, "labels"),
        ({"x": BLANK, "y": GOOD}, {"soft_labels": "hard"}, "hard"),
        ({"x": BLANK, "y": np.zeros((6, 2, 2))}, {}, "labels"),
        ({"x": np.full((6, 28, 28, 1), np.nan), "y": GOOD}, {}, "not finite"),
        ({"x": BLANK, "y": GOOD}, {"std": [0.0]}, "std"),
        ({"x": BLANK, "y": GOOD}, {"std": [np.nan]}, "std"),
        ({"x": BLANK, "y": GOOD}, {"mean": [np.inf]}, "mean"),
        ({"x": BLANK, "y": GOOD}, {"mean": [0.1, 0.2]}, "mean"),
        ({"a": np.zeros(1), "b": np.zeros(1), "y": np.zeros(1)}, {}, "images"),
        ({"x": BLANK}, {}, "no labels"),
        ({"x": np.array([{}], object), "y": np.zeros(1)}, {}, "more than arrays"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(fields, options, noun, train, tmp_path):
    np.savez(tmp_path / "theirs.npz", **fields)
    with pytest.raises(UserError, match=noun):
        exchange.read_foreign(tmp_path / "theirs.npz", train, exchange.ReadOptions(**options))


def test_other_kinds_of_files_are_refused(train, tmp_path):
    (tmp_path / "theirs.mat").write_bytes(b"")
    with pytest.raises(UserError, match="neither"):
        exchange.read_foreign(tmp_path / "theirs.mat", train)


def real(dataset, per_class, factor=1, seed=0):
    """Real images as another program would leave them, factor**2 of them in each."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([
        rng.permutation(np.flatnonzero(dataset.labels == c))[: factor**2 * per_class]
        for c in range(dataset.num_classes)
    ])  # fmt: skip
    images = (dataset.images[chosen] / 255).astype(np.float32)
    packed = np.asarray(multiformation.encode(jnp.asarray(images), factor))
    return packed, np.repeat(np.arange(dataset.num_classes), per_class)


@pytest.fixture(scope="module")
def clothes():
    """All embedded images at half their size, whose whitening takes a thirtieth of the time."""
    whole = data.load("fashion_mnist_mini")
    return dataclasses.replace(whole, images=whole.images[:, ::2, ::2])


MEANINGS = {
    "unit": lambda x, d: x,
    "byte": lambda x, d: x * 255,
    "normalised": lambda x, d: (x - np.float32(d.mean)) / np.float32(d.std),
    "-1 to 1": lambda x, d: 2 * x - 1,
    "whitened": lambda x, d: whitening.fit(d, np.zeros(1), np.ones(1)).whiten(x),
}


@pytest.mark.parametrize("taken", choices.PIXELS)
@pytest.mark.parametrize("meant", MEANINGS)
@pytest.mark.parametrize("per_class", [1, 10])
def test_pixels_in_other_units_than_said_are_refused(per_class, taken, meant, clothes, tmp_path):
    images, labels = real(clothes, per_class)
    np.savez(tmp_path / "a.npz", x=MEANINGS[meant](images, clothes), y=labels)
    if taken == meant:
        back = exchange.read_foreign(
            tmp_path / "a.npz", clothes, exchange.ReadOptions(pixel_values=taken)
        )
        np.testing.assert_allclose(back.images, images, atol=1e-5)
        np.testing.assert_allclose((back.mean, back.std), (clothes.mean, clothes.std), rtol=1e-6)
        return
    with pytest.raises(UserError, match="pixel_values"):
        exchange.read_foreign(tmp_path / "a.npz", clothes, exchange.ReadOptions(pixel_values=taken))
    exchange.read_foreign(
        tmp_path / "a.npz",
        clothes,
        exchange.ReadOptions(pixel_values=taken, check_pixels=False, factor=1),
    )


def test_whitening_by_its_definition(train):
    """Against the singular vectors of the centred images; an image is what its white one gives."""
    rng = np.random.default_rng(0)
    colours = train.images[:40, 4:9, 4:8] / 255 + rng.uniform(0, 0.5, (40, 5, 4, 3))
    images = np.round(255 * colours / colours.max()).astype(np.uint8)
    mean, std = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.25, 0.3])
    some = data.Dataset.from_arrays(images, np.arange(40) % 2)
    white = whitening.fit(some, mean, std)
    flat = ((images / 255 - mean) / std).reshape(40, -1)
    _, singular, rows = np.linalg.svd(flat - flat.mean(0), full_matrices=True)
    variances = np.zeros(60)
    variances[: len(singular)] = singular**2 / 39
    expected = (flat - flat.mean(0)) @ rows.T @ np.diag((variances + 0.1) ** -0.5) @ rows
    given = flat.reshape(images.shape)
    found = white.whiten(given)
    np.testing.assert_allclose(found.reshape(40, -1), expected, atol=1e-5)
    np.testing.assert_allclose(white.undo(found), given, atol=1e-5)
    first = whitening.fit(some, mean, std, most=20)
    np.testing.assert_allclose(first.mean, flat[:20].mean(0), atol=1e-5)
    huge = data.Dataset.from_arrays(np.zeros((2, 80, 80, 3), np.uint8), np.arange(2))
    with pytest.raises(UserError, match="too large"):
        whitening.fit(huge, mean, std)


def test_one_number_normalises_all_channels(tmp_path):
    dataset = data.load("fashion_mnist_mini")
    images, labels = real(dataset, 1)
    np.savez(tmp_path / "a.npz", x=2 * images - 1, y=labels)
    back = exchange.read_foreign(
        tmp_path / "a.npz",
        dataset,
        exchange.ReadOptions(pixel_values="normalised", mean=[0.5], std=[0.5]),
    )
    np.testing.assert_allclose(back.images, images, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("per_class", [1, 10])
def test_collages_are_told_from_plain_images(per_class, factor, seed, tmp_path):
    dataset = data.load("fashion_mnist_mini")
    images, labels = real(dataset, per_class, factor, seed)
    assert plausible.collage(images, dataset) == factor
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    if factor == 1:
        assert exchange.read_foreign(tmp_path / "a.npz", dataset).factor == 1
        return
    with pytest.raises(UserError, match="factor=2"):
        exchange.read_foreign(tmp_path / "a.npz", dataset)
    for said in (1, 2):
        assert (
            exchange.read_foreign(
                tmp_path / "a.npz", dataset, exchange.ReadOptions(factor=said)
            ).factor
            == said
        )


def test_seams_show_in_smooth_images():
    """As of photographs, whose tiles differ in brightness where they meet."""
    y, x = np.mgrid[0:32, 0:32] / 31
    slopes = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    plain = np.stack([a * y + b * x + c for a, b, c in slopes])[..., None].astype(np.float32)
    packed = np.asarray(multiformation.encode(jnp.asarray(plain), 2))
    assert plausible.seam(plain, 2) == pytest.approx(1, abs=0.1)
    assert plausible.seam(packed, 2) > 3


@pytest.mark.parametrize("form", ["torch", "npz", "safetensors", "png"])
def test_a_file_out_of_our_export_is_recognised(form, made, train, test, tmp_path):
    exchange.export(made, tmp_path / form, form)
    parts = {"torch": "set.safetensors", "npz": "set.npz", "png": "images"}
    part = tmp_path / form / parts.get(form, "set.safetensors")
    back = exchange.read_foreign(part, train)
    np.testing.assert_allclose(back.images, exchange.read(tmp_path / form).images, atol=1e-6)
    for name, value in {"pixel_values": "byte", "factor": 2, "mean": [0.5]}.items():
        with pytest.raises(UserError, match=name):
            exchange.read_foreign(part, train, exchange.ReadOptions(**{name: value}))
    with pytest.raises(UserError, match="export"):
        exchange.read_foreign(part, test)
    if form in ("torch", "safetensors"):
        moved = shutil.copy(part, tmp_path / "taken_out.safetensors")
        back = exchange.read_foreign(moved, train)
        np.testing.assert_allclose(back.images, made.decoded()[0], atol=1e-6)
        assert back.ipc == 2
