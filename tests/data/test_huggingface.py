"""Hugging Face data sets: every form of them gives the images that were put in."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dancejax import data
from dancejax.data import Dataset, HuggingFace, load, pixels
from dancejax.errors import UserError

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the package is imported
datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)
LABELS = np.arange(40) % 2
NAMES = ["cat", "dog"]


@pytest.fixture(autouse=True)
def _caches(tmp_path, monkeypatch):
    """Nothing is left in the user's caches."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def make(images=PIXELS, labels=LABELS, *, kind=None, columns=("image", "label")):
    """A split in memory; kind: of the labels."""
    image, label = columns
    features = datasets.Features(
        {image: datasets.Image(), label: kind or datasets.ClassLabel(names=NAMES)}
    )
    pictures = [x if isinstance(x, Image.Image) else Image.fromarray(x) for x in images]
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    return datasets.Dataset.from_dict({image: pictures, label: values}, features=features)


def both(**keywords):
    return datasets.DatasetDict(
        train=make(PIXELS[:30], LABELS[:30], **keywords),
        test=make(PIXELS[30:], LABELS[30:], **keywords),
    )


def saved(root):
    both().save_to_disk(root)


def parquet(root):
    for split, table in both().items():
        table.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")


def image_folder(root):
    for number, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        folder = root / ("train" if number < 30 else "test") / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:03d}.png")


def sorted_images(dataset):
    """Images and labels in an order that a folder does not change."""
    rows = [(int(y), x.tobytes()) for x, y in zip(dataset.images, dataset.labels, strict=True)]
    return sorted(rows)


@pytest.mark.parametrize("form", [saved, parquet, image_folder])
def test_every_form_gives_the_same_images(tmp_path, form):
    form(tmp_path / "set")
    train, test = (load(f"hf:{tmp_path / 'set'}", split=split) for split in ("train", "test"))
    whole = Dataset.from_arrays(PIXELS, LABELS, classes=NAMES)
    assert sorted_images(train) + sorted_images(test) == [
        *sorted((int(y), x.tobytes()) for x, y in zip(PIXELS[:30], LABELS[:30], strict=True)),
        *sorted((int(y), x.tobytes()) for x, y in zip(PIXELS[30:], LABELS[30:], strict=True)),
    ]
    assert train.classes == whole.classes and train.name == "set"
    assert data.name_of(f"hf:{tmp_path / 'set'}") == data.name_of(tmp_path / "set") == "set"
    assert test.mean == train.mean == data.channel_statistics(PIXELS[:30]).mean
    if form is not image_folder:  # in the stored order, and by the path alone
        assert np.array_equal(train.images, PIXELS[:30])
        assert load(tmp_path / "set").fingerprint == train.fingerprint
        arrays = Dataset.from_arrays(PIXELS[:30], LABELS[:30], classes=NAMES)
        assert train.fingerprint == arrays.fingerprint
    assert data.image_sizes(f"hf:{tmp_path / 'set'}", most=9) == [(5, 6)] * 8


def test_what_is_decoded_is_kept_until_the_files_change(tmp_path, monkeypatch):
    saved(tmp_path / "set")
    first = load(f"hf:{tmp_path / 'set'}")
    monkeypatch.setattr(pixels, "decode", None)
    assert load(f"hf:{tmp_path / 'set'}").fingerprint == first.fingerprint
    datasets.DatasetDict(train=make(PIXELS[::-1])).save_to_disk(tmp_path / "set")
    with pytest.raises(TypeError):
        load(f"hf:{tmp_path / 'set'}")


def test_without_a_test_split_one_is_drawn_by_content(tmp_path):
    make().to_parquet(tmp_path / "one" / "train.parquet")
    make(PIXELS[::-1], LABELS[::-1]).to_parquet(tmp_path / "two" / "train.parquet")
    one, two = ([load(tmp_path / f, split=s) for s in ("train", "test")] for f in ("one", "two"))
    assert len(one[0]) + len(one[1]) == 40 and set(one[1].labels) == {0, 1}
    for a, b in zip(one, two, strict=True):
        assert sorted_images(a) == sorted_images(b)
    assert load(tmp_path / "one" / "train.parquet").fingerprint == one[0].fingerprint


def test_a_validation_split_or_a_named_one_is_for_testing(tmp_path):
    unlabelled = make(PIXELS[:4], [-1] * 4)
    tables = {"train": make(), "validation": make(PIXELS[:6], LABELS[:6]), "test": unlabelled}
    datasets.DatasetDict(tables).save_to_disk(tmp_path / "set")
    path = f"hf:{tmp_path / 'set'}"
    assert np.array_equal(load(path, split="test").images, PIXELS[:6])
    swapped = HuggingFace(str(tmp_path / "set"), splits=["validation", "train"])
    assert len(load(swapped)) == 6 and len(load(swapped, split="test")) == 40
    with pytest.raises(UserError, match="without a label"):
        load(HuggingFace(str(tmp_path / "set"), splits=["train", "test"]))


@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        (datasets.Value("string"), [NAMES[y] for y in LABELS], ("cat", "dog")),
        (datasets.Value("int32"), (3 * LABELS - 1).tolist(), ("-1", "2")),
        (datasets.ClassLabel(names=["dog", "cat"]), LABELS, ("dog", "cat")),
    ],
)
def test_labels_of_every_kind(kind, labels, classes):
    made = Dataset.from_huggingface(make(labels=labels, kind=kind))
    assert made.classes == classes
    assert np.array_equal(made.labels, LABELS)


def modes():
    grey = PIXELS[..., 0]
    colours = Image.fromarray(PIXELS[0]).quantize(16)
    alpha = np.concatenate([PIXELS[1], grey[1][..., None]], -1)
    return {
        "L": Image.fromarray(grey[0]),
        "I;16": Image.fromarray(grey[0].astype(np.uint16) * 257),
        "RGB": Image.fromarray(PIXELS[0]),
        "RGBA": Image.fromarray(alpha),
        "P": colours,
        "1": Image.fromarray(grey[0] > 99),
    }


@pytest.mark.parametrize("mode", list(modes()))
def test_modes_follow_the_rules_of_image_files(tmp_path, mode):
    image = modes()[mode]
    image.save(tmp_path / "image.png")
    channels = 1 if mode in ("L", "I;16", "1") else 3
    wanted = pixels.decode(("x", tmp_path / "image.png"), channels=channels, image_size=None)
    made = Dataset.from_huggingface(make([image] * 4, [0, 1, 0, 1]))
    assert made.image_shape[-1] == channels
    assert (made.images == wanted).all()


def test_from_huggingface_splits_columns_and_names():
    loaded = both(columns=("img", "fine_label"))
    train = Dataset.from_huggingface(loaded, name="cifar10")
    test = Dataset.from_huggingface(loaded, split="test", columns=("img", "fine_label"))
    assert train.mean == (0.4914, 0.4822, 0.4465) and train.name == "cifar10"
    assert test.mean == data.channel_statistics(PIXELS[:30]).mean and len(test) == 10
    assert not Dataset.from_huggingface(loaded, name="mnist").flip
    small = Dataset.from_huggingface(loaded["train"], image_size=4)
    assert small.image_shape == (4, 4, 3) and small.split_name == "train"


def test_what_the_source_states_is_kept(tmp_path):
    loaded = both()
    for table in loaded.values():
        table.info.citation, table.info.license = "@book{cats}", "cc-by-4.0"
    loaded.save_to_disk(tmp_path / "saved")
    assert Dataset.from_huggingface(loaded).provenance.licence == "cc-by-4.0"
    path = str(tmp_path / "saved")
    for split in ("train", "test"):
        found = load(f"hf:{path}", split=split).provenance
        assert found == ("saved", "cc-by-4.0", "@book{cats}", None)
    parquet(tmp_path / "files")
    assert load(tmp_path / "files").provenance.licence is None
    (tmp_path / "files" / "README.md").write_text("---\nlicense: mit\n---\n# Cats\n")
    assert load(tmp_path / "files").provenance.licence == "mit"
    (tmp_path / "files" / "README.md").write_text("# Cats\n")
    assert load(tmp_path / "files").provenance.licence is None


def test_columns_and_splits_are_said_in_one_line(tmp_path, capsys):
    saved(tmp_path / "set")
    load(f"hf:{tmp_path / 'set'}")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "hf:" in line]
    assert "'train'" in line and "'test'" in line and "'image'" in line and "'label'" in line


def test_errors_are_one_sentence(tmp_path):
    both().save_to_disk(tmp_path / "set")
    numbers = datasets.Dataset.from_dict({"a": [1, 2], "b": [1, 2]})
    cases = [
        (lambda: load("hf:"), "names no data set"),
        (lambda: load("hf:./nix"), "no file or folder"),
        (lambda: load("hf:nobody/nix"), "hub cannot be reached"),
        (lambda: load("hf:no/such/name"), "no data set of the Hugging Face hub"),
        (lambda: load(HuggingFace(str(tmp_path / "set"), splits=["train", "x"])), "no split 'x'"),
        (lambda: load(HuggingFace(str(tmp_path / "set"), columns=["x", "y"])), "no column 'x'"),
        (lambda: HuggingFace("x", columns=["image"]), "two names"),
        (lambda: Dataset.from_huggingface(numbers), "not clear which has the images"),
        (lambda: Dataset.from_huggingface(numbers, columns=("a", "b")), "holds no images"),
        (lambda: Dataset.from_huggingface(PIXELS), "must be a datasets.Dataset"),
        (lambda: Dataset.from_huggingface(make(), split="test"), "no test split"),
        (lambda: Dataset.from_huggingface(make(labels=[None] * 40)), "without a label"),
    ]
    for call, noun in cases:
        with pytest.raises(UserError, match=noun) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.parquet", "set/train.parquet", "set/dataset_dict.json"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be read as a Hugging Face data set"):
        load(tmp_path / name.partition("/")[0])


def test_the_package_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    saved(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install 'datasets"):
        load(f"hf:{tmp_path / 'set'}")


def test_importing_data_does_not_import_the_package():
    code = (
        "import sys, dancejax.data as d; d.load; d.HuggingFace; print('datasets' in sys.modules, "
        "'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
