"""The program that exports: going on, adding forms, test images, and evaluations at hand."""

import json
import shutil

import numpy as np
import pytest

from dancejax import condensed, coreset, data, evaluation, exchange, networks, runs
from dancejax.training import protocols


@pytest.fixture
def chosen(train, tmp_path):
    """A folder with a coreset of the tests' data set."""
    folder = runs.open_workdir(tmp_path / "run")
    condensed.save(coreset.random(train, 2), folder / "condensed")
    return folder / "condensed"


def test_the_same_command_goes_on_and_more_forms_add(launch, chosen, tmp_path):
    out = tmp_path / "out"
    command = ["export", f"--condensed={chosen}", f"--workdir={out}"]
    launch(*command, "--formats=png")
    stale = out / ".npz.tmp" / "half"  # of an export that was killed
    stale.mkdir(parents=True)
    done = launch(*command, "--formats=png,npz")
    assert done.stdout.split() == [str(out / "png"), str(out / "npz")]
    assert "png: there already" in done.stderr and not stale.exists()
    image = next((out / "png" / "images").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:50])
    assert "image" in launch(*command, "--formats=png", status=2).stderr
    shutil.rmtree(out / "png")
    launch(*command, "--formats=png")
    assert "--formats" in launch(*command, "--formats=,", status=2).stderr


def test_test_images_are_those_of_the_same_data_set(launch, dataset, chosen, train, tmp_path):
    command = ["export", f"--condensed={chosen}", f"--workdir={tmp_path / 'out'}", "--with_test"]
    assert "--dataset" in launch(*command, "--formats=png", status=2).stderr
    other = tmp_path / "other.npz"
    np.savez(other, x_train=train.images[::-1], y_train=train.labels[::-1],
             x_test=train.images[:3], y_test=np.arange(3))  # fmt: skip
    done = launch(*command, "--formats=png", f"--dataset={other}", status=2)
    assert "test images" in done.stderr and not (tmp_path / "out").exists()
    path = dataset.partition("=")[2]
    condensed.save(coreset.random(data.load(path), 2), chosen)
    launch(*command, "--formats=png,torch", dataset)
    assert len(exchange.read_test(tmp_path / "out" / "torch")[0]) == len(
        data.load(path, split="test")
    )


def test_the_evaluation_beside_the_set_is_stated(launch, chosen, test, tmp_path):
    network = networks.create("convnet", 3, test.image_shape, width=4, depth=2)
    config = protocols.protocol("dance", test.name, epochs=1, augmentation="")
    folder = chosen.parent / "evaluation"
    result = evaluation.evaluate(
        condensed.load(chosen), test, network, config, repeats=1, run=folder
    )
    runs.write_json(folder / "result.json", {"protocol": "dance", **result.to_dict()})
    out = tmp_path / "out"
    command = ["export", f"--condensed={chosen}", f"--workdir={out}", "--formats=npz"]
    launch(*command)
    about = json.loads((out / "npz" / "dancejax.json").read_text())
    assert about["evaluation"]["accuracy_mean"] == result.accuracy_mean
    assert f"{result.accuracy_mean:.1f} % on" in (out / "npz" / "README.md").read_text()


def test_a_full_disk_is_one_sentence_and_room_goes_on(launch, chosen, small_disk):
    command = [
        "export", f"--condensed={chosen}", f"--workdir={small_disk / 'out'}",
        "--formats=npz,torch,png,huggingface,tfds",
    ]  # fmt: skip
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 40_000))
    assert "room" in launch(*command, status=2).stderr
    kept = {p.name for p in (small_disk / "out").iterdir()} - {".lock"}
    assert kept <= {"npz"}
    filler.unlink()
    assert len(launch(*command).stdout.split()) == 5


def test_licence_and_citation_go_along(launch, tmp_path):
    made = coreset.random(data.load("fashion_mnist_mini"), 1)
    condensed.save(made, tmp_path / "set")
    source = runs.read_json(tmp_path / "set" / "manifest.json")["source"]
    assert source["provenance"]["licence"] == "MIT"
    export = ("export", f"--condensed={tmp_path / 'set'}", "--formats=npz")
    launch(*export, f"--workdir={tmp_path / 'stated'}")
    launch(*export, f"--workdir={tmp_path / 'given'}", "--licence=cc0-1.0")
    cards = [(tmp_path / name / "npz" / "README.md").read_text() for name in ("stated", "given")]
    for licence, card in zip(("MIT", "cc0"), cards, strict=True):
        assert f"Licence of the source data: {licence}" in card
        assert "Citation of the source data: H. Xiao" in card
