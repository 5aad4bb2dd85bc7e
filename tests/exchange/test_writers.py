"""Exports read back, by us and by the tools they are for."""

import dataclasses
import json
import os
import shutil
import stat

import jax.numpy as jnp
import numpy as np
import pytest

from dancejax import condensed, data, evaluation, exchange, networks, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.training import protocols


@pytest.mark.parametrize("form", exchange.FORMS)
def test_an_export_reads_back(form, made, tmp_path):
    about = exchange.export(
        made, tmp_path / form, form, exchange.ExportOptions(licence="mit", accuracy="81.7 %")
    )
    back = exchange.read(tmp_path / form)
    images, labels = (np.asarray(x) for x in made.decoded())
    order = np.argsort(back.labels, kind="stable")
    np.testing.assert_array_equal(back.labels[order], labels)
    allowed = 0.5 / 255 + 1e-6 if exchange.FORMS[form].eight_bit else 1e-6
    np.testing.assert_allclose(back.images[order], images, atol=allowed)
    assert back.factor == 1 and (back.classes, back.method) == (made.classes, "dance")
    assert back.mean == made.mean and back.source == made.source
    readme = (tmp_path / form / "README.md").read_text()
    assert about["pixels"] in readme and "81.7 %" in readme and str(list(made.mean)) in readme
    about.pop("largest_difference")
    assert json.loads((tmp_path / form / "dancejax.json").read_text()) == json.loads(
        json.dumps(about)
    )


@pytest.mark.parametrize("form", exchange.FORMS)
def test_soft_labels_go_along(form, made, tmp_path):
    """Each with its image, whatever order a form gives the images."""
    mixed = dataclasses.replace(
        made,
        images=made.images[[4, 0, 2, 5, 1, 3]],
        labels=made.labels[[4, 0, 2, 5, 1, 3]],
        soft_labels=np.random.default_rng(0).dirichlet(np.ones(3), 24).astype(np.float16),
    )
    about = exchange.export(mixed, tmp_path / form, form)
    assert about["soft_labels"]["shape"] == [24, 3]
    assert "soft_labels.npy" in (tmp_path / form / "README.md").read_text()
    back = exchange.read(tmp_path / form)
    wanted, found = (np.asarray(x.decoded()[0]) for x in (mixed, back))
    for image, shares in zip(found, back.soft_labels, strict=True):
        nearest = np.abs(wanted - image).max((1, 2, 3)).argmin()
        np.testing.assert_array_equal(shares, mixed.soft_labels[nearest])
    (tmp_path / form / "soft_labels.npy").unlink()
    with pytest.raises(UserError, match="soft labels"):
        exchange.read(tmp_path / form)


@pytest.mark.parametrize("form", ["png", "npz", "safetensors"])
def test_stored_images_keep_their_factor(form, made, tmp_path):
    exchange.export(made, tmp_path / form, form, exchange.ExportOptions(decoded=False))
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
    exchange.export(
        odd, tmp_path / form, form, exchange.ExportOptions(licence="a\nb: |", accuracy="<b>")
    )
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
    assert condensed.describe(back)["ipc"] == 2
    condensed.save(back, tmp_path / "set")
    assert condensed.load(tmp_path / "set").origin == origin
    exchange.export(condensed.load(tmp_path / "set"), tmp_path / "npz", "npz")
    assert exchange.read(tmp_path / "npz").origin["fingerprint"] == origin["fingerprint"]
    exchange.export(made, tmp_path / "stored", "npz", exchange.ExportOptions(decoded=False))
    assert exchange.read(tmp_path / "stored").origin is None  # it is the set


@pytest.mark.parametrize("form", exchange.with_test())
def test_test_images_lie_beside_the_training_images(form, made, test, tmp_path):
    about = exchange.export(made, tmp_path / "a", form, exchange.ExportOptions(test=test))
    assert about["test"] == {
        "name": test.name, "fingerprint": test.fingerprint, "images": len(test),
    }  # fmt: skip
    images, labels = exchange.read_test(tmp_path / "a")
    order, wanted = (np.argsort(x, kind="stable") for x in (labels, test.labels))
    np.testing.assert_allclose(images[order], test.images[wanted] / 255, atol=1e-6)
    assert test.fingerprint in (tmp_path / "a" / "README.md").read_text()
    with pytest.raises(UserError, match="test images"):
        exchange.export(made, tmp_path / "b", "tfds", exchange.ExportOptions(test=test))
    with pytest.raises(UserError, match="another export"):
        exchange.ensure(made, tmp_path / "a", form)


def test_a_finished_export_is_left_alone_and_another_one_refused(made, tmp_path):
    exchange.ensure(made, tmp_path / "a", "png")
    before = (tmp_path / "a" / "images" / "1_Trouser" / "00000.png").stat().st_mtime_ns
    (tmp_path / ".b.tmp" / "images" / "1_Trouser").mkdir(parents=True)  # of a killed export
    exchange.ensure(made, tmp_path / "b", "png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    exchange.ensure(made, tmp_path / "a", "png", exchange.ExportOptions(accuracy="81.7 %"))
    assert (tmp_path / "a" / "images" / "1_Trouser" / "00000.png").stat().st_mtime_ns == before
    assert "81.7 %" in (tmp_path / "a" / "README.md").read_text()
    with pytest.raises(UserError, match="images"):
        exchange.ensure(made, tmp_path / "a", "png", exchange.ExportOptions(decoded=False))
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
        exchange.ensure(made, tmp_path / form, form, exchange.ExportOptions(accuracy="1 %"))


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


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_a_changed_pixel_is_said(form, made, tmp_path):
    exchange.export(made, tmp_path / "out", form)
    images = exchange.read(tmp_path / "out").images
    first = images[0, 0, 0, :1].astype("<f4").tobytes()
    (path,) = (p for p in (tmp_path / "out").iterdir() if first in p.read_bytes())
    data = bytearray(path.read_bytes())
    data[data.index(images[0].astype("<f4").tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        exchange.read(tmp_path / "out")


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
    exchange.export(made, tmp_path / "hf", "huggingface", exchange.ExportOptions(licence="mit"))
    source = tfds.data_source(about["tfds_name"], split="train", data_dir=tmp_path / "tfds")
    assert len(source) == 24 and source[0]["image"].shape == (28, 28, 1)
    table = pq.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    info = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert info["label"]["names"] == list(made.classes) and info["image"] == {"_type": "Image"}
    assert table.column("image")[0].as_py()["bytes"].startswith(b"\x89PNG")
    head = (tmp_path / "hf" / "README.md").read_text().split("---\n")[1]
    assert 'license: "mit"' in head and "path: data/train-*.parquet" in head


def test_an_export_for_hugging_face_is_a_data_set_like_any_other(made, test, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path, images = tmp_path / "hf", made.decoded()[0]
    exchange.export(made, path, "huggingface", exchange.ExportOptions(test=test))
    train = data.load(f"hf:{path}")
    wanted = np.rint(np.clip(np.asarray(images), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(train.images, wanted)
    assert np.array_equal(train.labels, made.decoded()[1]) and train.classes == made.classes
    assert data.load(f"hf:{path}", split="test").fingerprint == test.fingerprint
    loaded = datasets.load_dataset(str(path), split="train")
    assert data.Dataset.from_huggingface(loaded).fingerprint == train.fingerprint


def test_bad_exports_are_said(made, tmp_path):
    with pytest.raises(UserError, match="zip"):
        exchange.export(made, tmp_path / "a", "zip")
    with pytest.raises(UserError, match="torch"):
        exchange.export(made, tmp_path / "a", "torch", exchange.ExportOptions(decoded=False))
    exchange.export(made, tmp_path / "a", "npz")
    with pytest.raises(UserError, match="is there already"):
        exchange.export(made, tmp_path / "a", "npz")
    with pytest.raises(UserError, match=r"there is no .*dancejax\.json"):
        exchange.read(tmp_path)
    data = bytearray((tmp_path / "a" / "set.npz").read_bytes())
    (tmp_path / "a" / "set.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"set\.npz cannot be read"):
        exchange.read(tmp_path / "a")


def test_a_new_form_is_a_pair_of_functions_and_a_line(made, train, test, tmp_path, monkeypatch):
    def write(path, images, labels, about):
        stem = about.get("split", "train")
        np.save(path / f"{stem}.npy", images)
        np.save(path / f"{stem}_labels.npy", labels + about["shift"])

    def read(path, about, split):
        labels = np.load(path / f"{split}_labels.npy") - about["shift"]
        return np.load(path / f"{split}.npy"), labels

    new = exchange.Form(
        title="two arrays",
        write=write,
        read=read,
        use=lambda about: "`numpy.load('train.npy')`.",
        test="in `test.npy`",
        stored=True,
        parts=("train.npy",),
        details=lambda made: {"shift": 3},
    )
    monkeypatch.setitem(exchange.FORMS, "npy", new)
    assert "npy" in exchange.with_test() and "npy" in exchange.with_stored()
    options = exchange.ExportOptions(test=test)
    assert exchange.export(made, tmp_path / "a", "npy", options)["largest_difference"] == 0
    assert exchange.ensure(made, tmp_path / "a", "npy", options)["shift"] == 3
    assert exchange.read(tmp_path / "a").origin["form"] == "npy"
    again = exchange.read_foreign(tmp_path / "a" / "train.npy", train)
    np.testing.assert_array_equal(again.images, made.decoded()[0])
    np.testing.assert_array_equal(exchange.read_test(tmp_path / "a")[1], test.labels)
    readme = (tmp_path / "a" / "README.md").read_text()
    assert "train.npy" in readme and "in `test.npy`" in readme
    with pytest.raises(UserError, match="npy"):
        exchange.export(made, tmp_path / "b", "zip")
    np.save(tmp_path / "a" / "train.npy", np.zeros((24, 28, 28, 1), np.float32))
    with pytest.raises(UserError, match="damaged"):
        exchange.ensure(made, tmp_path / "a", "npy", options)
    stored = exchange.ExportOptions(decoded=False)
    exchange.export(made, tmp_path / "c", "npy", stored)
    assert exchange.read(tmp_path / "c").factor == 2


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
        found = evaluation.evaluate(small, test, network, config, repeats=5, test_points=1)
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
    ours = evaluation.evaluate(whole, test, network, config, repeats=5, test_points=1)
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
