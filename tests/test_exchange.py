"""Exports read back, by us and by the tools they are for; sets of others read as they say."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, evaluate, exchange, networks
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.exchange import writers


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
    about = condensed.export(made, tmp_path / form, form, licence="mit", accuracy="81.7 %")
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
    wild = condensed.dataclasses.replace(made, images=images)
    about = exchange.export(wild, tmp_path / "png", "png")
    assert about["outside_of_range"] == {"share": pytest.approx(1 / 6), "cut_off": True}
    assert "16.67 % of them were outside" in (tmp_path / "png" / "README.md").read_text()
    assert exchange.read(tmp_path / "png").images.max() == 1
    exchange.export(wild, tmp_path / "npz", "npz")
    assert exchange.read(tmp_path / "npz").images.max() == 1.5


def test_folders_sort_as_the_labels_do():
    names = ["b/c", "a", *map(str, range(10))]
    folders = writers.folder_names(names)
    assert sorted(folders) == folders and folders[:2] == ["00_b_c", "01_a"]


def test_tfds_and_parquet_are_what_their_libraries_read(made, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pq = pytest.importorskip("pyarrow.parquet")
    about = exchange.export(made, tmp_path / "tfds", "tfds")
    exchange.export(made, tmp_path / "hf", "huggingface", licence="mit")
    source = tfds.data_source(writers.tfds_name(about), split="train", data_dir=tmp_path / "tfds")
    assert len(source) == 24 and source[0]["image"].shape == (28, 28, 1)
    table = pq.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    info = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert info["label"]["names"] == list(made.classes) and info["image"] == {"_type": "Image"}
    assert table.column("image")[0].as_py()["bytes"].startswith(b"\x89PNG")
    head = (tmp_path / "hf" / "README.md").read_text().split("---\n")[1]
    assert 'license: "mit"' in head and "path: data/train-*.parquet" in head


def test_bad_exports_are_said(made, tmp_path):
    with pytest.raises(UserError, match="unknown form 'zip'"):
        exchange.export(made, tmp_path / "a", "zip")
    with pytest.raises(UserError, match="torch is for tools that do not decode"):
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


def test_others_pytorch_files_run_no_code(made, train, tmp_path):
    torch = pytest.importorskip("torch")
    images = torch.from_numpy(made.images.transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(made.labels)
    torch.save({"data": [[images * 0, labels], [images, labels]]}, tmp_path / "published.pt")
    torch.save(images, tmp_path / "images.pt")
    torch.save(labels, tmp_path / "labels.pt")
    for path, extra in (("published.pt", None), ("images.pt", tmp_path / "labels.pt")):
        back = exchange.read_foreign(tmp_path / path, train, labels=extra)
        np.testing.assert_array_equal(back.images, made.images)
        np.testing.assert_array_equal(back.labels, made.labels)
    with pytest.raises(UserError, match="has no labels"):
        exchange.read_foreign(tmp_path / "images.pt", train)

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"images": images, "labels": labels, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt cannot be read"):
        exchange.read_foreign(tmp_path / "evil.pt", train)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("fields", "options", "sentence"),
    [
        ({"x": np.zeros((6, 8, 8, 1)), "y": np.arange(6) % 3}, {}, r"images of \[8, 8, 1\]"),
        ({"x": np.zeros((6, 28, 28, 3)), "y": np.arange(6)}, {}, "with 1 channels they must be"),
        ({"x": np.zeros((6, 28, 28, 1)), "y": np.arange(6)}, {}, "from 0 to 5; there must be one"),
        ({"x": np.zeros((6, 28, 28, 1)), "y": np.arange(5) % 3}, {}, "6 images and 5 labels"),
        ({"x": np.full((6, 28, 28, 1), 200), "y": np.arange(6) % 3}, {}, "they are hardly 'unit'"),
        ({"x": np.full((6, 28, 28, 1), np.nan), "y": np.arange(6) % 3}, {}, "not finite"),
        ({"x": np.zeros((6, 28, 28, 1)), "y": np.arange(6) % 3}, {"std": [0.0]}, "std positive"),
        ({"a": np.zeros(1), "b": np.zeros(1), "y": np.zeros(1)}, {}, "one must be called images"),
        ({"x": np.zeros((6, 28, 28, 1))}, {}, "has no labels; give them"),
        ({"x": np.array([{}], object), "y": np.zeros(1)}, {}, "holds more than arrays"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(fields, options, sentence, train, tmp_path):
    np.savez(tmp_path / "theirs.npz", **fields)
    with pytest.raises(UserError, match=sentence):
        exchange.read_foreign(tmp_path / "theirs.npz", train, **options)
    with pytest.raises(UserError, match="neither"):
        (tmp_path / "theirs.mat").write_bytes(b"")
        exchange.read_foreign(tmp_path / "theirs.mat", train)


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
    config = evaluate.protocol("dance", train.name, epochs=30, batch_size=24)

    def accuracies(small):
        found = evaluate.evaluate(small, test, network, config, repeats=5, points=1, progress=False)
        return np.array(found["accuracies"])

    wanted = accuracies(packed)
    assert wanted.mean() > 60
    for form in exchange.FORMS:
        condensed.export(packed, tmp_path / form, form)
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
    config = evaluate.protocol(
        "dance", train.name, epochs=30, augmentation="", cutmix=0.0, batch_size=24
    )
    ours = evaluate.evaluate(whole, test, network, config, repeats=5, points=1, progress=False)
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
