"""Every program does its work on real images and says what it promises."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, data

from .conftest import EXPERTS, ROOT, SMALL, parts_of

IDM = ("--queue_size=2", "--train_batch=8", "--train_steps=1")


def check_picture(path: Path) -> None:
    with Image.open(path) as picture:
        assert min(picture.size) > 60
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


@pytest.mark.parametrize(
    "method",
    ["dance", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dm", "idm", "m3d"))],
)
def test_condense(method, launch, dataset, expert_dir, tmp_path):
    done = launch(
        "condense", dataset, f"--method={method}", "--ipc=2", "--steps=4", "--batch_real=8",
        "--preset=paper",
        "--log_every=2", f"--expert_dir={expert_dir}", f"--workdir={tmp_path}", *SMALL,
        *(IDM if method == "idm" else ()),
    )  # fmt: skip
    assert f"preset paper: method={method}, steps=" in done.stderr
    assert "given by hand: steps=4, " in done.stderr and "batch_real=8" in done.stderr
    assert done.stdout == ""
    made = condensed.load(tmp_path / "condensed")
    assert (made.method, made.ipc, made.num_classes) == (method, 2, 3)
    assert made.settings["batch_real"] == 8 and made.settings["steps"] == 4
    assert made.source["fingerprint"] == data.load(dataset.partition("=")[2]).fingerprint
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"]["preset"] == "paper" and config["settings"]["batch_real"] == 8
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [(method, 2), (method, 4)]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["iterations"] == 4 and result["seconds_per_iteration"] > 0
    check_picture(tmp_path / "condensed" / "preview.png")
    check_picture(tmp_path / "losses.png")
    assert len(list((tmp_path / "pictures").iterdir())) == 5
    again = launch(
        "condense", dataset, f"--method={method}", "--ipc=2", "--steps=4", "--batch_real=8",
        "--preset=paper",
        "--log_every=2", f"--expert_dir={expert_dir}", f"--workdir={tmp_path}", *SMALL,
        *(IDM if method == "idm" else ()),
    )  # fmt: skip
    assert again.returncode == 0
    np.testing.assert_array_equal(condensed.load(tmp_path / "condensed").images, made.images)


def test_condense_trains_its_experts_where_there_are_none(launch, dataset, tmp_path):
    done = launch(
        "condense", dataset, "--ipc=1", "--steps=2", "--batch_real=8", f"--workdir={tmp_path}",
        "--preset=paper", "--augmentation=flip", *SMALL, *EXPERTS,
    )  # fmt: skip
    assert "2 experts on clothes: 72 images, 3 classes, 2 epochs" in done.stderr
    assert len(list((tmp_path / "experts").glob("expert_*"))) == 2
    assert condensed.load(tmp_path / "condensed").settings["experts"]["count"] == 2


@pytest.mark.slow
def test_networks_in_turns(launch, dataset, tmp_path):
    nets = "--network=convnet:depth=2,convnet:depth=1:norm=none"
    small = (nets, "--width=4", *EXPERTS)
    pools, made = tmp_path / "pools", tmp_path / "made"
    done = launch("pretrain", dataset, f"--workdir={pools}", *small)
    assert [found["network"]["depth"] for found in json.loads(done.stdout)] == [2, 1]
    assert (pools / "convnet-depth=1-norm=none" / "pool.json").exists()
    launch(
        "condense", dataset, "--ipc=1", "--steps=3", "--batch_real=8", "--preset=paper",
        "--augmentation=flip", f"--expert_dir={pools}", f"--workdir={made}", *small,
    )  # fmt: skip
    settings = condensed.load(made / "condensed").settings
    assert [n["depth"] for n in settings["networks"]] == [2, 1]
    assert [own["count"] for own in settings["experts"]] == [2, 2]
    done = launch(
        "evaluate", dataset, f"--condensed={made}", "--epochs=1", "--repeats=1",
        f"--workdir={tmp_path / 'evaluation'}",
    )  # fmt: skip
    assert "made on convnet + convnet in turns; evaluated on convnet of width 4" in done.stderr
    assert "by class from" in done.stderr
    refused = launch("sweep", dataset, nets, f"--workdir={tmp_path / 'sweep'}", status=2)
    assert "one network is taken here" in refused.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory, train):
    """A folder of pictures of several sizes, as somebody has it."""
    root = tmp_path_factory.mktemp("photos") / "clothes"
    for number, (image, label) in enumerate(zip(train.images, train.labels, strict=True)):
        folder = root / ("shirt", "trousers", "pullover")[label]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image[..., 0]).convert("RGB")
        picture.resize((40 + number % 3, 36)).save(folder / f"{number}.jpg")
    return root


def own_folder_command(photos, workdir):
    return (
        "condense", f"--dataset={photos}", "--ipc=2", f"--workdir={workdir}",
        "--steps=3", "--expert_epochs=2", "--epochs=2", "--width=4", "--depth=2",
    )  # fmt: skip


@pytest.mark.slow
def test_ones_own_folder_in_one_command(launch, photos, tmp_path):
    """Settings are chosen, experts trained, the result evaluated beside random images."""
    command = own_folder_command(photos, tmp_path / "run")
    dry = launch(*command, "--dry_run")
    assert "images are resized and centre-cropped to 32" in dry.stderr
    chosen = r"chosen for \d+ images in 3 classes: width=4, batch_real=\d+, experts=3, .*epochs=2"
    assert re.search(chosen, dry.stderr)  # what holds, flags first
    assert re.search(r"expected: experts \d+ s, condensation \d+ s, evaluation \d+ s", dry.stderr)
    assert dry.stdout == "" and not (tmp_path / "run").exists()
    done = launch(*command)
    made = condensed.load(tmp_path / "run" / "condensed")
    assert made.image_shape == (32, 32, 3) and made.classes == ("pullover", "shirt", "trousers")
    assert made.settings["steps"] == 3 and made.settings["network"]["width"] == 4
    lines = done.stdout.splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == [
        "| dancejax (own)", "| random", "| whole (the experts)",
    ]  # fmt: skip
    with Image.open(tmp_path / "run" / "pictures" / "evolution.gif") as film:
        assert film.n_frames == 4
    for folder in (".", "random"):
        result = json.loads((tmp_path / "run" / folder / "evaluation/result.json").read_text())
        assert result["repeats"] == 3 and result["training"]["epochs"] == 2
    assert "data:image/webp" in (tmp_path / "run" / "report" / "report.html").read_text()
    (tmp_path / "run" / "pictures" / "evolution.gif").unlink()
    check_own_evaluation(launch, photos, tmp_path)
    drawn = launch("picture", f"--run={tmp_path / 'run'}")
    names = [Path(line).name for line in drawn.stdout.splitlines()]
    assert names == ["before_after.png", "evolution.gif"]
    check_picture(tmp_path / "run" / "pictures" / "evolution.gif")


def check_own_evaluation(launch, photos, tmp_path) -> None:
    """launch.evaluate needs no flags to do what the run did, and refuses data that have changed."""
    command = ("evaluate", f"--condensed={tmp_path / 'run'}", f"--workdir={tmp_path / 'again'}")
    done = launch(*command, f"--dataset={photos}")
    before = json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text())
    assert json.loads(done.stdout)["accuracies"] == before["accuracies"]
    assert "where no flag says otherwise: convnet of width 4" in done.stderr
    changed = tmp_path / "clothes"
    shutil.copytree(photos, changed)
    (folder,) = changed.glob("shirt")
    first = sorted(folder.iterdir())[0]
    Image.new("RGB", (40, 36), (9, 99, 199)).save(folder / f"a{first.name}")
    new = f"--workdir={tmp_path / 'other'}"
    refused = launch(*command, f"--dataset={changed}", new, status=2)
    assert "as it is now" in refused.stderr and not (tmp_path / "other").exists()
    refused = launch(*command, f"--dataset={photos}", "--image_size=16", new, status=2)
    assert "--image_size" in refused.stderr
    done = launch(*command, f"--dataset={changed}", new, "--other_data", "--repeats=1")
    result = json.loads(done.stdout)
    assert result["repeats"] == 1 and result["other_data"]["made_from"]["name"] == "clothes"


@pytest.mark.slow
def test_minutes_choose_amounts_that_stay(launch, photos, tmp_path):
    """The same command goes on with what was chosen, whatever the machine does meanwhile."""
    command = (
        "condense", f"--dataset={photos}", "--ipc=1", "--minutes=0.2", "--width=4", "--depth=2",
        f"--workdir={tmp_path / 'run'}",
    )  # fmt: skip
    first = launch(*command)
    assert "too few" in first.stderr and "steps=50" in first.stderr
    kept = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert kept["plan"]["steps"] == 50 and kept["for"]["minutes"] == 0.2
    again = launch(*command)
    assert again.stdout == first.stdout and "expected" not in again.stderr


@pytest.mark.slow
def test_ones_own_folder_again_and_its_features(launch, photos, tmp_path):
    command = own_folder_command(photos, tmp_path / "run")
    assert launch(*command).stdout == launch(*command).stdout
    drawn = launch(
        "picture", f"--run={tmp_path / 'run'}", f"--dataset={photos}",
        f"--beside={tmp_path / 'run' / 'random' / 'condensed'}", "--embedding=pca",
    )  # fmt: skip
    names = [Path(line).name for line in drawn.stdout.splitlines()]
    assert names == ["before_after.png", "evolution.gif", "features.png"]
    check_picture(tmp_path / "run" / "pictures" / "features.png")
    told = (tmp_path / "run" / "config.json").read_bytes()
    launch(*command, "--epochs=3", status=2)
    assert (tmp_path / "run" / "config.json").read_bytes() == told
    more = launch(*command, "--steps=4")
    assert "evaluated anew" in more.stderr
    made = condensed.load(tmp_path / "run" / "condensed")
    result = json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text())
    assert made.settings["steps"] == 4
    assert result["train"]["fingerprint"] == condensed.fingerprint(made)


def test_doctor_says_what_is_there(launch):
    done = launch("doctor")
    assert re.search(r"devices +\d+ x cpu", done.stdout)
    assert re.search(r"jax +0\.\d+", done.stdout) and "MISSING" not in done.stdout


@pytest.mark.slow
def test_tensorboard_events(launch, dataset, expert_dir, tmp_path):
    launch(
        "condense", dataset, "--preset=paper", "--method=dm", "--ipc=1", "--steps=2",
        "--batch_real=8", "--log_every=1", "--tensorboard", f"--workdir={tmp_path}", *SMALL,
    )  # fmt: skip
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"dm/matching" in events.read_bytes()
    (events,) = (expert_dir / "tensorboard").iterdir()
    assert b"expert_0" in events.read_bytes()


@pytest.mark.slow
def test_weights_and_biases(launch, dataset, environment, tmp_path):
    """One run of theirs for one run of ours, however often it is started; offline here."""
    command = (
        "condense", dataset, "--preset=paper", "--method=dm", "--ipc=1", "--batch_real=8",
        "--log_every=1", "--picture_every=1", "--wandb", f"--workdir={tmp_path / 'run'}", *SMALL,
    )  # fmt: skip
    alone = {**environment, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    alone = {name: value for name, value in alone.items() if not name.startswith("WANDB_")}
    refused = launch(*command, "--steps=2", environment=alone, status=2)
    assert "wandb login" in refused.stderr
    offline = {**alone, "WANDB_MODE": "offline"}
    launch(*command, "--steps=2", environment=offline)
    launch(*command, "--steps=3", environment=offline)
    parts = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(parts) == 2
    assert len({part.name.rpartition("-")[2] for part in parts}) == 1
    for part in parts:
        (events,) = part.glob("*.wandb")
        assert b"dm/matching" in events.read_bytes()
        assert list(part.rglob("images/**/*.png"))


def test_a_reader_that_has_seen_enough_is_no_error(environment):
    """As `| head -1`."""
    command = [sys.executable, "-m", "launch.doctor"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 128 + 13


def test_pretrain_says_how_good_the_experts_are(launch, dataset, expert_dir):
    done = launch("pretrain", dataset, f"--workdir={expert_dir}", *SMALL, *EXPERTS)
    result = json.loads(done.stdout)
    assert result["experts"] == 2 and len(result["accuracies"]) == 2
    assert result["training"]["epochs"] == 2
    assert json.loads((expert_dir / "result.json").read_text()) == result


@pytest.mark.parametrize(
    "method",
    ["herding", "forgetting",
     *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "kcenter"))],
)  # fmt: skip
def test_select_and_evaluate(method, launch, dataset, expert_dir, tmp_path):
    launch(
        "select", dataset, f"--method={method}", "--ipc=3", f"--expert_dir={expert_dir}",
        f"--workdir={tmp_path}", *SMALL, *EXPERTS,
    )  # fmt: skip
    made = condensed.load(tmp_path / "condensed")
    assert (made.method, made.ipc, made.factor) == (method, 3, 1)
    real = {image.tobytes() for image in data.load(dataset.partition("=")[2]).images}
    assert all(np.round(image * 255).astype(np.uint8).tobytes() in real for image in made.images)
    if method != "herding":
        return
    done = launch(
        "evaluate", dataset, f"--condensed={tmp_path / 'condensed'}", "--epochs=2",
        "--repeats=2", f"--workdir={tmp_path / 'evaluation'}", *SMALL,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["protocol"] == "dance" and result["repeats"] == 2
    assert f"accuracy {result['accuracy_mean']:.2f} +- " in done.stderr
    assert "chosen on the test set" in done.stderr
    assert json.loads((tmp_path / "evaluation" / "result.json").read_text()) == result


@pytest.mark.slow
def test_export_convert_and_evaluate_agree(launch, dataset, tmp_path):
    """What is exported in 8 bits and read as somebody else's evaluates as the original does."""
    launch("select", dataset, "--method=random", "--ipc=3", f"--workdir={tmp_path / 'made'}")
    arguments = ("--epochs=2", "--repeats=1", *SMALL)
    results = []
    for name in ("made", "again"):
        done = launch(
            "evaluate", dataset, f"--condensed={tmp_path / name / 'condensed'}",
            f"--workdir={tmp_path / name / 'evaluation'}", *arguments,
        )  # fmt: skip
        results.append(json.loads(done.stdout)["accuracies"])
        if name == "again":
            break
        exported = launch(
            "export", f"--condensed={tmp_path / 'made' / 'condensed'}", "--formats=png,torch,tfds",
            f"--evaluation={tmp_path / 'made' / 'evaluation'}", f"--workdir={tmp_path / 'out'}",
        )  # fmt: skip
        assert "png: read back, largest difference" in exported.stderr
        forms = ("png", "torch", "tfds")
        assert exported.stdout.split() == [str(tmp_path / "out" / form) for form in forms]
        accuracy = f"{results[0][0]:.1f} % on the test set of clothes"
        assert accuracy in (tmp_path / "out" / "torch" / "README.md").read_text()
        converted = launch(
            "convert", dataset, f"--source={tmp_path / 'out' / 'png' / 'images'}",
            f"--workdir={tmp_path / 'again'}",
        )  # fmt: skip
        assert "9 images of 3 classes" in converted.stderr
    direct = launch(
        "evaluate", dataset, f"--condensed={tmp_path / 'out' / 'png'}",
        f"--workdir={tmp_path / 'direct'}", *arguments,
    )  # fmt: skip
    assert results[0] == results[1] == json.loads(direct.stdout)["accuracies"]
    again = ("convert", dataset, f"--source={tmp_path / 'out' / 'png'}", f"--workdir={tmp_path}/no")
    assert "factor" in launch(*again, "--factor=2", status=2).stderr
    other = launch(*again, "--dataset=fashion_mnist_mini", status=2)
    assert "clothes" in other.stderr and not (tmp_path / "no").exists()


def test_soft_labels_are_made_and_trained_on(launch, dataset, expert_dir, tmp_path):
    launch("select", dataset, "--method=random", "--ipc=2", f"--workdir={tmp_path}", *SMALL)
    label = ("label", f"--condensed={tmp_path / 'condensed'}", f"--expert_dir={expert_dir}",
             f"--workdir={tmp_path / 'soft'}")  # fmt: skip
    assert launch(*label).stdout == launch(*label).stdout
    assert "another set" in launch(*label, "--temperature=3", status=2).stderr
    evaluate = ("evaluate", dataset, "--protocol=dance_soft", "--epochs=2", "--repeats=1", *SMALL,
                f"--workdir={tmp_path / 'evaluation'}")  # fmt: skip
    refused = launch(*evaluate, f"--condensed={tmp_path / 'condensed'}", status=2)
    assert "launch.label" in refused.stderr and not (tmp_path / "evaluation").exists()
    done = launch(*evaluate, f"--condensed={tmp_path / 'soft' / 'condensed'}")
    assert json.loads(done.stdout)["training"]["labels"] == "soft"


@pytest.mark.slow
def test_a_sweep_gives_its_sets_soft_labels(launch, dataset, tmp_path):
    """Random images, too, by the same experts; the sets themselves stay as they are."""
    command = (
        "sweep", dataset, "--methods=dm,random", "--ipcs=2", "--steps=2", "--batch_real=8",
        "--repeats=1", "--epochs=2", "--experts=2", "--expert_epochs=1", "--expert_batch_size=32",
        "--protocol=dance_soft", *SMALL, f"--workdir={tmp_path}",
    )  # fmt: skip
    done = launch(*command)
    assert done.stdout.count("dance_soft") >= 2 and launch(*command).stdout == done.stdout
    for name in ("dm", "random"):
        cell = tmp_path / f"{name}-ipc2-seed0"
        result = json.loads((cell / "evaluation" / "result.json").read_text())
        assert result["training"]["labels"] == "soft"
        assert not (cell / "condensed" / "soft_labels.npy").exists()
    given = launch(*command, "--experts=3", status=2)
    assert "another" in given.stderr or "differ" in given.stderr


def test_evaluate_on_the_whole_set(launch, dataset, tmp_path):
    done = launch(
        "evaluate", dataset, "--protocol=dm", "--epochs=2", "--repeats=1",
        f"--workdir={tmp_path}", *SMALL,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["train"]["method"] == "whole" and result["training"]["batch_size"] == 256


def sweep_command(dataset, workdir):
    return (
        "sweep", dataset, "--methods=dm,random", "--ipcs=1,2", "--epochs=2,1", "--steps=2",
        "--batch_real=8", "--repeats=1", f"--workdir={workdir}", *SMALL, *EXPERTS,
    )  # fmt: skip


@pytest.mark.slow
def test_sweep_makes_a_table_and_leaves_alone_what_is_done(launch, dataset, tmp_path):
    command = sweep_command(dataset, tmp_path)
    first = launch(*command)
    rows = json.loads((tmp_path / "result.json").read_text())
    assert [(r["method"], r["ipc"], r["epochs"]) for r in rows] == [
        ("dm", 1, 2), ("random", 1, 2), ("dm", 2, 1), ("random", 2, 1),
    ]  # fmt: skip
    assert first.stdout == (tmp_path / "table.md").read_text()
    assert first.stdout.count("\n") == 6
    assert not (tmp_path / "experts").exists()  # nothing here needs any
    assert launch(*command).stdout == first.stdout


@pytest.mark.slow
def test_sweep_ablates_and_its_sets_cross_networks_into_a_report(launch, dataset, tmp_path):
    command = sweep_command(dataset, tmp_path)
    launch(*command)
    ablated = launch(*command, "--methods=dm", "--ipcs=1", "--epochs=2", "--variant=factor=2")
    lines = ablated.stdout.splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| DM", "-", "1"], ["| DM", "factor=2", "1"], ["| random", "-", "1"],
        ["| DM", "-", "2"], ["| random", "-", "2"],
    ]  # fmt: skip
    made = condensed.load(tmp_path / "dm-ipc1-seed0-factor=2" / "condensed")
    assert (made.factor, condensed.load(tmp_path / "dm-ipc1-seed0" / "condensed").factor) == (2, 1)
    for how in ((), ("--dry_run",)):
        other = launch(*command, "--steps=3", *how, status=2)
        assert "steps is 2 there, 3 here" in other.stderr
    check_cross(launch, dataset, tmp_path)


def check_cross(launch, dataset, sweep) -> None:
    """Several sets on several networks, one table, and what is done stays done."""
    command = (
        "cross", dataset, f"--condensed={sweep}/*-ipc1-seed0/condensed", "--repeats=2",
        "--networks=convnet:width=4:depth=2,resnetap10:width=2:norm=batch", "--epochs=1",
        f"--workdir={sweep / 'cross'}",
    )  # fmt: skip
    done = launch(*command)
    head, _, *lines = done.stdout.splitlines()
    assert head == "| set | convnet:width=4:depth=2 | resnetap10:width=2:norm=batch |"
    assert [line.split(" | ")[0] for line in lines] == ["| dm-ipc1-seed0", "| random-ipc1-seed0"]
    folder = sweep / "cross" / "dm-ipc1-seed0-resnetap10-width=2-norm=batch"
    result = json.loads((folder / "result.json").read_text())
    assert result["network"]["norm"] == "batch" and result["network"]["width"] == 2
    assert f"{result['accuracy_mean']:.1f} +- {result['accuracy_std']:.1f} |" in lines[0]
    assert launch(*command).stdout == done.stdout
    apart = (*command, f"--workdir={sweep.parent / 'apart'}")
    found = parts_of(launch, *apart)
    assert len(found) == 4 and [*found][1] == folder.name
    for words in reversed(found.values()):
        launch(*words)
    assert "4 finished" in launch(*apart, "--status").stdout
    again = launch(*apart)
    assert again.stdout == done.stdout
    results = [json.loads((path / "result.json").read_text()) for path in
               (sweep / "cross", sweep.parent / "apart")]  # fmt: skip
    assert results[0] == results[1]
    check_report(launch, sweep)


def check_report(launch, sweep) -> None:
    """Everything that was evaluated is in the report, in three forms."""
    done = launch("report", f"--runs={sweep}", f"--workdir={sweep / 'report'}", "--title=Clothes")
    assert done.stdout == (sweep / "report" / "report.md").read_text()
    with open(sweep / "report" / "report.csv") as file:
        lines = list(csv.DictReader(file))
    evaluations = [
        json.loads(path.read_text())
        for path in sweep.rglob("result.json")
        if '"train": {' in path.read_text()
    ]
    found = sorted(float(line["accuracy_mean"]) for line in lines)
    assert found == sorted(result["accuracy_mean"] for result in evaluations)
    assert {line["label"] for line in lines} == {"DM", "DM, factor 2", "random"}
    assert all("iterations 2 (paper: 20000)" in line["settings_that_differ"]
               for line in lines if line["method"] == "dm")  # fmt: skip
    assert "paper" not in done.stdout  # no paper has figures of these images
    assert "clothes, IPC 1, across networks (dance, 1 epochs)" in done.stdout
    page = (sweep / "report" / "report.html").read_text()
    assert page.count("data:image/webp;base64,") == 3 * 5 and "http" not in page


@pytest.mark.slow
def test_demo(launch, tmp_path):
    done = launch(
        "demo", f"--workdir={tmp_path}", "--width=4", "--ipc=1", "--experts=1",
        "--expert_epochs=1", "--steps=2", "--repeats=1", "--epochs=1",
    )  # fmt: skip
    assert "| random, 1 per class | 1, 1 |" in done.stdout and "| DANCE, 1 per class" in done.stdout
    assert "all, 600 per class" in (tmp_path / "report.md").read_text()
    check_picture(tmp_path / "condensed" / "preview.png")


def test_a_hugging_face_data_set_is_named_with_its_columns(launch, train, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = {"x": list(train.images[..., 0]), "y": train.labels.tolist(), "label": [0] * len(train)}
    features = datasets.Features(
        {"x": datasets.Image(), "y": datasets.Value("int64"), "label": datasets.Value("int64")}
    )
    datasets.Dataset.from_dict(table, features=features).save_to_disk(tmp_path / "set")
    shared = ("select", f"--dataset=hf:{tmp_path / 'set'}", "--method=random", "--ipc=1")
    refused = launch(*shared, f"--workdir={tmp_path / 'one'}", status=2)
    assert "only one class" in refused.stderr
    launch(*shared, "--hf_columns=x,y", "--hf_splits=train", f"--workdir={tmp_path / 'two'}")
    assert condensed.load(tmp_path / "two" / "condensed").classes == ("0", "1", "2")
    wrong = launch("select", "--dataset=cifar10", "--method=random", "--ipc=1", "--hf_columns=x,y",
                   f"--workdir={tmp_path / 'one'}", status=2)  # fmt: skip
    assert "--dataset=hf:NAME" in wrong.stderr
