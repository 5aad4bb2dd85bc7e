"""split.json: the test images of an own folder, for good."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, coreset, exchange, runs
from dancejax.applications import exporting, sides
from dancejax.applications.settings import DataSettings, Splits
from dancejax.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """A folder of images of several sizes, and a run's work folder with a set made of it."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cats", "dogs")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (20 + i, 24, 3), np.uint8)
            pixels[:3] = 200 * label
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    source = DataSettings(str(tmp_path / "photos"), image_size=16)
    train = source.load("train")
    workdir = runs.open_workdir(tmp_path / "run")
    condensed.save(coreset.random(train, 2), workdir / "condensed")
    sides.keep(workdir, source, train)
    return tmp_path / "photos", workdir, source


def export(workdir):
    return exporting.prepare(exporting.Settings(workdir, ["png"], with_test=True))


def test_every_file_is_on_the_side_that_is_said(photos):
    root, workdir, source = photos
    record = runs.read_json(workdir / "split.json")
    files = record["train"]["files"], record["test"]["files"]
    every = {str(path.relative_to(root)) for path in root.rglob("*.png")}
    assert set(files[0]) | set(files[1]) == every and not set(files[0]) & set(files[1])
    assert record["image_size"] == 16 and "ImageOps.fit" in record["resized"]
    for side in ("train", "test"):
        names = [name.partition("/")[0] for name in record[side]["files"]]
        assert names == [record["classes"][label] for label in record[side]["labels"]]
        assert record[side]["fingerprint"] == source.load(side).fingerprint


def test_the_very_test_images_are_exported_whatever_came_since(photos, tmp_path):
    root, workdir, source = photos
    test = source.load("test")
    for i in range(8):  # some of which are for testing, now
        Image.new("RGB", (20, 20), (i, 0, 0)).save(root / "cats" / f"new{i}.png")
    assert len(dataclasses.replace(source).load("test")) > len(test)  # as another program sees it
    (path,) = export(workdir).write(tmp_path / "export")
    images, labels = exchange.read_test(path)
    assert np.array_equal(np.rint(images * 255), test.images)
    assert np.array_equal(labels, test.labels)


def test_other_images_are_refused(photos, train):
    root, workdir, _ = photos
    record = runs.read_json(workdir / "split.json")
    path = root / record["test"]["files"][0]
    Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(UserError, match="not those that"):
        export(workdir)
    path.unlink()
    with pytest.raises(UserError, match=path.name):
        export(workdir)
    condensed.save(coreset.random(train, 2), workdir / "condensed")
    with pytest.raises(UserError, match="another set"):
        export(workdir)
    (workdir / "split.json").unlink()
    with pytest.raises(UserError, match="needs --dataset"):
        export(workdir)


def test_other_data_has_no_such_file(tmp_path, train, test):
    for source in (Splits(train, test), DataSettings("fashion_mnist_mini")):
        sides.keep(tmp_path, source, train)
    assert not list(tmp_path.iterdir())
