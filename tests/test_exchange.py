"""Exports read back, by us and by the tools they are for; sets of others read as they say."""

import dataclasses
import json
import os
import pickle
import shutil
import stat
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, data, evaluation, exchange, multiformation, networks, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.exchange import plausible, torchfile, writers
from dancejax.training import protocols


@pytest.fixture
def made(train):
    """Two stored images a class of factor 2, of real pixels."""
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:2] for c in range(3)])
    return CondensedSet(
        images=(train.images[chosen] / 255).astype(np.float32),
        labels=train.labels[chosen],
        classes=train.classes,
        mean=train.mean,
        std=train.std,
        factor=2,
        method="dance",
        source={"name": train.name, "fingerprint": train.fingerprint, "split": "train"},
        settings={"steps": 5},
    )


@pytest.mark.parametrize("form", exchange.FORMS)
def test_an_export_reads_back(form, made, tmp_path):
    about = exchange.export(made, tmp_path / form, form, licence="mit", accuracy="81.7 %")
    back = exchange.read(tmp_path / form)
    images, labels = (np.asarray(x) for x in made.decoded())
    order = np.argsort(back.labels, kind="stable")
    np.testing.assert_array_equal(back.labels[order], labels)
    allowed = 0.5 / 255 + 1e-6 if form in writers.EIGHT_BIT else 1e-6
    np.testing.assert_allclose(back.images[order], images, atol=allowed)
    assert back.factor == 1 and (back.classes, back.method) == (made.classes, "dance")
    assert back.mean == made.mean and back.source == made.source
    readme = (tmp_path / form / "README.md").read_text()
    assert about["pixels"] in readme and "81.7 %" in readme and str(list(made.mean)) in readme
    about.pop("largest_difference")
    assert json.loads((tmp_path / form / "dancejax.json").read_text()) == json.loads(
        json.dumps(about)
    )


@pytest.mark.parametrize("form", ["png", "npz", "safetensors"])
def test_stored_images_keep_their_factor(form, made, tmp_path):
    exchange.export(made, tmp_path / form, form, decoded=False)
    back = exchange.read(tmp_path / form)
    assert back.factor == 2 and back.images.shape == made.images.shape
    np.testing.assert_allclose(back.decoded()[0], made.decoded()[0], atol=0.51 / 255)


def test_what_is_cut_off_is_said(made, tmp_path):
    images = made.images.copy()
    images[0] = 1.5
    wild = dataclasses.replace(made, images=images)
    about = exchange.export(wild, tmp_path / "png", "png")
    assert about["outside_of_range"] == {"share": pytest.approx(1 / 6), "cut_off": True}
    assert "16.67 % of them were outside" in (tmp_path / "png" / "README.md").read_text()
    assert exchange.read(tmp_path / "png").images.max() == 1
    exchange.export(wild, tmp_path / "npz", "npz")
    assert exchange.read(tmp_path / "npz").images.max() == 1.5


def test_folders_match_those_of_a_test_set_unless_the_order_differs(made, tmp_path):
    ours = dataclasses.replace(made, classes=("ape", "bee fly", "cat"))
    exchange.export(ours, tmp_path / "a", "png")
    assert sorted(p.name for p in (tmp_path / "a" / "images").iterdir()) == list(ours.classes)
    exchange.export(made, tmp_path / "b", "png")
    found = sorted(p.name for p in (tmp_path / "b" / "images").iterdir())
    assert found == ["0_T-shirt_top", "1_Trouser", "2_Pullover"]
    assert (tmp_path / "b" / "classes.txt").read_text().splitlines() == list(made.classes)
    assert "numbered" in (tmp_path / "b" / "README.md").read_text()


ODD = (
    "caf\udce9", "a|b\n| c", "<script>$x$</script>", "\x00\x07", "\u732b\U0001f469\u200d\U0001f52c",
    "..",
    "---\nlicense: x", "'q'\"", "long " * 60, "a\u2028b", "1", "a\x00",
)  # fmt: skip


@pytest.mark.parametrize("form", exchange.FORMS)
def test_names_of_any_kind_are_exported(form, made, tmp_path):
    yaml = pytest.importorskip("yaml")
    count = len(ODD)
    odd = dataclasses.replace(
        made, images=made.images[:1].repeat(count, 0), classes=ODD, method="m|x\n",
        labels=np.arange(count, dtype=np.int32), source={**made.source, "name": ODD[0] + ODD[2]},
    )  # fmt: skip
    exchange.export(odd, tmp_path / form, form, licence="a\nb: |", accuracy="<b>")
    back = exchange.read(tmp_path / form)
    assert back.classes == ODD and back.source == odd.source
    text = (tmp_path / form / "README.md").read_text(encoding="utf-8")
    body = text.split("---\n")[-1] if form == "huggingface" else text
    assert "<script" not in body.replace("\\<", "")
    if form == "huggingface":
        head = yaml.safe_load(text.split("---\n")[1])
        (label,) = [f["dtype"] for f in head["dataset_info"]["features"] if f["name"] == "label"]
        listing = list(label["class_label"]["names"].values())
        assert len(set(listing)) == count and listing[4] == ODD[4]
    if form == "npz":
        with np.load(tmp_path / form / "set.npz") as arrays:
            assert len(set(arrays["classes"].tolist())) == count


def test_a_decoded_export_is_known_for_the_set_it_came_from(made, test, tmp_path):
    exchange.export(made, tmp_path / "png", "png")
    back = exchange.read(tmp_path / "png")
    assert (back.ipc, back.factor, len(back.images)) == (2, 1, 24)
    origin = {"fingerprint": condensed.fingerprint(made), "ipc": 2, "factor": 2, "form": "png"}
    assert back.origin == origin
    assert evaluation.describe_set(back)["ipc"] == 2
    condensed.save(back, tmp_path / "set")
    assert condensed.load(tmp_path / "set").origin == origin
    exchange.export(condensed.load(tmp_path / "set"), tmp_path / "npz", "npz")
    assert exchange.read(tmp_path / "npz").origin["fingerprint"] == origin["fingerprint"]
    exchange.export(made, tmp_path / "stored", "npz", decoded=False)
    assert exchange.read(tmp_path / "stored").origin is None  # it is the set


@pytest.mark.parametrize("form", exchange.WITH_TEST)
def test_test_images_lie_beside_the_training_images(form, made, test, tmp_path):
    about = exchange.export(made, tmp_path / "a", form, test=test)
    assert about["test"] == {
        "name": test.name, "fingerprint": test.fingerprint, "images": len(test),
    }  # fmt: skip
    images, labels = exchange.read_test(tmp_path / "a")
    order, wanted = (np.argsort(x, kind="stable") for x in (labels, test.labels))
    np.testing.assert_allclose(images[order], test.images[wanted] / 255, atol=1e-6)
    assert test.fingerprint in (tmp_path / "a" / "README.md").read_text()
    with pytest.raises(UserError, match="test images"):
        exchange.export(made, tmp_path / "b", "tfds", test=test)
    with pytest.raises(UserError, match="another export"):
        exchange.ensure(made, tmp_path / "a", form)


def test_a_finished_export_is_left_alone_and_another_one_refused(made, tmp_path):
    exchange.ensure(made, tmp_path / "a", "png")
    before = (tmp_path / "a" / "images" / "1_Trouser" / "00000.png").stat().st_mtime_ns
    (tmp_path / ".b.tmp" / "images" / "1_Trouser").mkdir(parents=True)  # of a killed export
    exchange.ensure(made, tmp_path / "b", "png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    exchange.ensure(made, tmp_path / "a", "png", accuracy="81.7 %")
    assert (tmp_path / "a" / "images" / "1_Trouser" / "00000.png").stat().st_mtime_ns == before
    assert "81.7 %" in (tmp_path / "a" / "README.md").read_text()
    with pytest.raises(UserError, match="images"):
        exchange.ensure(made, tmp_path / "a", "png", decoded=False)
    other = dataclasses.replace(made, images=made.images[::-1].copy())
    with pytest.raises(UserError, match="fingerprint"):
        exchange.ensure(other, tmp_path / "a", "png")
    about = json.loads((tmp_path / "a" / "dancejax.json").read_text())
    (tmp_path / "a" / "dancejax.json").write_text(
        json.dumps({k: about[k] for k in about if k not in ("fingerprint", "origin", "count")})
    )
    with pytest.raises(UserError, match="read back"):
        exchange.ensure(other, tmp_path / "a", "png")
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="no export"):
        exchange.ensure(made, tmp_path / "c", "png")


def test_exports_of_before_are_read(made, tmp_path):
    """As they were: folders numbered and not listed, no count, no origin, TFDS's name by rule."""
    for form in ("png", "tfds"):
        about = exchange.export(made, tmp_path / form, form)
        new = ("folders", "count", "origin", "fingerprint", "tfds_name", "training_recipe",
               "largest_difference", "licence", "accuracy", "evaluation")  # fmt: skip
        old = {k: v for k, v in about.items() if k not in new}
        (tmp_path / form / "dancejax.json").write_text(json.dumps(old))
        back = exchange.read(tmp_path / form)
        assert (back.ipc, len(back.images)) == (2, 24)
        exchange.ensure(made, tmp_path / form, form, accuracy="1 %")


def test_lost_files_and_edited_descriptions_are_said(made, tmp_path):
    exchange.export(made, tmp_path / "a", "png")
    (tmp_path / "a" / "images" / "1_Trouser" / "00003.png").unlink()
    with pytest.raises(UserError, match="23 of 24 images"):
        exchange.read(tmp_path / "a")
    about = json.loads((tmp_path / "a" / "dancejax.json").read_text())
    for changes in ({"classes": 3}, {"normalisation": None}, {"folders": "x"}, {"decoding": []}):
        (tmp_path / "a" / "dancejax.json").write_text(json.dumps({**about, **changes}))
        with pytest.raises(UserError):
            exchange.read(tmp_path / "a")


def test_files_have_the_mode_that_the_user_asks_for(made, tmp_path):
    before = os.umask(0o022)
    try:
        exchange.export(made, tmp_path / "a", "torch")
    finally:
        os.umask(before)
    for file in (tmp_path / "a").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o644, file


@pytest.mark.parametrize("room", [0, 20_000, 60_000])
@pytest.mark.parametrize("form", exchange.FORMS)
def test_a_full_disk_leaves_no_half_export(form, room, made, small_disk, monkeypatch):
    monkeypatch.setattr(runs, "check_space", lambda folder, needed: None)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - room))
    random = np.random.default_rng(0).random((120, 28, 28, 1), np.float32)  # not to be compressed
    noisy = dataclasses.replace(made, images=random, labels=made.labels.repeat(20))
    with pytest.raises(UserError, match="room"):
        exchange.ensure(noisy, small_disk / form, form)
    assert [p.name for p in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    exchange.ensure(made, small_disk / form, form)
    with pytest.raises(UserError, match="room"):
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
        condensed.save(made, small_disk / "set")


def test_tfds_and_parquet_are_what_their_libraries_read(made, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pq = pytest.importorskip("pyarrow.parquet")
    about = exchange.export(made, tmp_path / "tfds", "tfds")
    exchange.export(made, tmp_path / "hf", "huggingface", licence="mit")
    source = tfds.data_source(about["tfds_name"], split="train", data_dir=tmp_path / "tfds")
    assert len(source) == 24 and source[0]["image"].shape == (28, 28, 1)
    table = pq.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    info = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert info["label"]["names"] == list(made.classes) and info["image"] == {"_type": "Image"}
    assert table.column("image")[0].as_py()["bytes"].startswith(b"\x89PNG")
    head = (tmp_path / "hf" / "README.md").read_text().split("---\n")[1]
    assert 'license: "mit"' in head and "path: data/train-*.parquet" in head


def test_bad_exports_are_said(made, tmp_path):
    with pytest.raises(UserError, match="zip"):
        exchange.export(made, tmp_path / "a", "zip")
    with pytest.raises(UserError, match="torch"):
        exchange.export(made, tmp_path / "a", "torch", decoded=False)
    exchange.export(made, tmp_path / "a", "npz")
    with pytest.raises(UserError, match="is there already"):
        exchange.export(made, tmp_path / "a", "npz")
    with pytest.raises(UserError, match=r"there is no .*dancejax\.json"):
        exchange.read(tmp_path)
    data = bytearray((tmp_path / "a" / "set.npz").read_bytes())
    (tmp_path / "a" / "set.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"set\.npz cannot be read"):
        exchange.read(tmp_path / "a")


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
    back = exchange.read_foreign(tmp_path / "theirs.npz", train, pixel_values=values, factor=2)
    np.testing.assert_allclose(back.images, images, atol=0.5 / 255)
    np.testing.assert_array_equal(back.labels, made.labels)
    assert (back.factor, back.method, back.source["name"]) == (2, "foreign", train.name)


def test_others_folders(made, train, tmp_path):
    for image, label in zip(writers.eight_bit(made.images), made.labels, strict=True):
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
    extra = {"images.pt": tmp_path / "labels.pt"}
    for name in ("published.pt", "named.pt", "images.pt", "pair.pth"):
        back = exchange.read_foreign(tmp_path / name, train, labels=extra.get(name), factor=1)
        np.testing.assert_array_equal(back.images, made.images)
        np.testing.assert_array_equal(back.labels, made.labels)
    with pytest.raises(UserError, match="no labels"):
        exchange.read_foreign(tmp_path / "images.pt", train)
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
        exchange.read_foreign(tmp_path / "theirs.npz", train, **options)


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


MEANINGS = {
    "unit": lambda x, d: x,
    "byte": lambda x, d: x * 255,
    "normalised": lambda x, d: (x - np.float32(d.mean)) / np.float32(d.std),
    "-1 to 1": lambda x, d: 2 * x - 1,
}


@pytest.mark.parametrize("taken", exchange.PIXELS)
@pytest.mark.parametrize("meant", MEANINGS)
@pytest.mark.parametrize("per_class", [1, 10])
def test_pixels_in_other_units_than_said_are_refused(per_class, taken, meant, tmp_path):
    dataset = data.load("fashion_mnist_mini")
    images, labels = real(dataset, per_class)
    np.savez(tmp_path / "a.npz", x=MEANINGS[meant](images, dataset), y=labels)
    if taken == meant:
        back = exchange.read_foreign(tmp_path / "a.npz", dataset, pixel_values=taken)
        np.testing.assert_allclose(back.images, images, atol=1e-5)
        return
    with pytest.raises(UserError, match="pixel_values"):
        exchange.read_foreign(tmp_path / "a.npz", dataset, pixel_values=taken)
    exchange.read_foreign(
        tmp_path / "a.npz", dataset, pixel_values=taken, check_pixels=False, factor=1
    )


def test_one_number_normalises_all_channels(tmp_path):
    dataset = data.load("fashion_mnist_mini")
    images, labels = real(dataset, 1)
    np.savez(tmp_path / "a.npz", x=2 * images - 1, y=labels)
    back = exchange.read_foreign(
        tmp_path / "a.npz", dataset, pixel_values="normalised", mean=[0.5], std=[0.5]
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
        assert exchange.read_foreign(tmp_path / "a.npz", dataset, factor=said).factor == said


def test_seams_show_in_smooth_images():
    """As of photographs, whose tiles differ in brightness where they meet."""
    y, x = np.mgrid[0:32, 0:32] / 31
    slopes = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    plain = np.stack([a * y + b * x + c for a, b, c in slopes])[..., None].astype(np.float32)
    packed = np.asarray(multiformation.encode(jnp.asarray(plain), 2))
    assert plausible.seam(plain, 2) == pytest.approx(1, abs=0.1)
    assert plausible.seam(packed, 2) > 3


@pytest.mark.parametrize("form", ["torch", "npz", "safetensors", "png"])
def test_a_file_out_of_our_export_is_recognised(form, made, train, tmp_path):
    exchange.export(made, tmp_path / form, form)
    parts = {"torch": "set.safetensors", "npz": "set.npz", "png": "images"}
    part = tmp_path / form / parts.get(form, "set.safetensors")
    for said in exchange.PIXELS:
        back = exchange.read_foreign(part, train, pixel_values=said)
        np.testing.assert_allclose(back.images, exchange.read(tmp_path / form).images, atol=1e-6)
    if form in ("torch", "safetensors"):
        moved = shutil.copy(part, tmp_path / "taken_out.safetensors")
        back = exchange.read_foreign(moved, train)
        np.testing.assert_allclose(back.images, made.decoded()[0], atol=1e-6)
        assert back.ipc == 2


@pytest.mark.slow
def test_networks_learn_from_every_export_as_from_the_set(train, test, tmp_path):
    """Exactly so from the exact forms, within noise from 8 bits."""
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:16] for c in range(3)])
    tiles = (train.images[chosen][:, ::2, ::2] / 255).astype(np.float32)
    rows = tiles.reshape(12, 2, 2, 14, 14, 1).transpose(0, 1, 3, 2, 4, 5)
    packed = CondensedSet(
        images=rows.reshape(12, 28, 28, 1), labels=train.labels[chosen][::4],
        classes=train.classes, mean=train.mean, std=train.std, factor=2, method="dance",
        source={"name": train.name, "fingerprint": train.fingerprint, "split": "train"},
        settings={},
    )  # fmt: skip
    network = networks.create("convnet", 3, train.image_shape, width=8, depth=2)
    config = protocols.protocol("dance", train.name, epochs=30, batch_size=24)

    def accuracies(small):
        found = evaluation.evaluate(small, test, network, config, repeats=5, points=1)
        return np.array(found.accuracies)

    wanted = accuracies(packed)
    assert wanted.mean() > 60
    for form in exchange.FORMS:
        exchange.export(packed, tmp_path / form, form)
        found = accuracies(exchange.read(tmp_path / form))
        if form in ("npz", "safetensors"):
            np.testing.assert_array_equal(found, wanted)
        else:
            spread = np.sqrt((wanted.var(ddof=1) + found.var(ddof=1)) / 5)
            assert abs(found.mean() - wanted.mean()) < max(2.0, 4 * spread), form


@pytest.mark.slow
def test_a_pytorch_network_learns_from_an_export_as_ours_does(train, test, tmp_path):
    """Same network, same schedule without augmentation: accuracies agree within noise."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:8] for c in range(3)])
    whole = CondensedSet(
        images=(train.images[chosen] / 255).astype(np.float32), labels=train.labels[chosen],
        classes=train.classes, mean=train.mean, std=train.std, factor=1, method="random",
        source={"name": train.name, "fingerprint": train.fingerprint, "split": "train"},
        settings={},
    )  # fmt: skip
    exchange.export(whole, tmp_path / "torch", "torch")
    tensors = load_file(tmp_path / "torch" / "set.safetensors")
    network = networks.create("convnet", 3, train.image_shape, width=16, depth=2)
    config = protocols.protocol(
        "dance", train.name, epochs=30, augmentation="", cutmix=0.0, batch_size=24
    )
    ours = evaluation.evaluate(whole, test, network, config, repeats=5, points=1)
    inputs = torch.from_numpy(
        np.array((jnp.asarray(test.images) / 255 - test.mean[0]) / test.std[0])
    ).permute(0, 3, 1, 2)
    theirs = []
    for seed in range(5):
        torch.manual_seed(seed)
        layers = []
        for channels in (1, 16):
            layers += [
                torch.nn.Conv2d(channels, 16, 3, padding=3 if channels == 1 else 1),
                torch.nn.GroupNorm(16, 16), torch.nn.ReLU(), torch.nn.AvgPool2d(2),
            ]  # fmt: skip
        net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16 * 64, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 25], 0.2)
        for _ in range(30):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(tensors["images"]), tensors["labels"]).backward()
            optimizer.step()
            schedule.step()
        right = net(inputs).argmax(1).numpy() == test.labels
        theirs.append(100 * right.mean())
    assert np.mean(theirs) > 60
    assert abs(np.mean(theirs) - ours["accuracy_mean"]) < 8
