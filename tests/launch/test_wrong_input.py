"""Wrong input gets one clear sentence and status 2, without a traceback."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, coreset, data, runs

from .conftest import EXPERTS, SMALL


@pytest.fixture(scope="module")
def made(tmp_path_factory, dataset, expert_dir, train, test):
    """Files that wrong commands name: {placeholder} in the table."""
    folder = tmp_path_factory.mktemp("wrong")
    good = coreset.random(data.load(dataset.partition("=")[2]), 2)
    for name in ("good", "edited", "cut"):
        condensed.save(good, folder / name)
    manifest = folder / "edited" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"factor": 1', '"factor": 2'))
    images = folder / "cut" / "images.npy"
    images.write_bytes(images.read_bytes()[:200])
    condensed.save(coreset.random(train, 2), folder / "other")
    fields = {"x_train": train.images, "y_train": train.labels}
    fields |= {"x_test": test.images, "y_test": test.labels}
    np.savez(folder / "keys.npz", a=train.images)
    np.savez(folder / "short.npz", **{**fields, "y_train": train.labels[:5]})
    np.savez(folder / "pickle.npz", **{**fields, "y_train": np.array([{}] * 72, object)})
    np.savez(
        folder / "one.npz", **{**fields, "y_train": 0 * train.labels, "y_test": 0 * test.labels}
    )
    (folder / "torn.npz").write_bytes((folder / "short.npz").read_bytes()[:500])
    np.savez(folder / "elsewhere.npz", **{**fields, "x_train": train.images[::-1].copy()})
    for label, name in enumerate(("coats", "hats")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            size = 20 + number if label else 20
            Image.new("RGB", (size, 20), (number * 20, 0, label * 90)).save(
                folder / "pictures" / name / f"{number}.png"
            )
    shutil.copytree(folder / "pictures", folder / "broken")
    (folder / "broken" / "hats" / "0.png").write_bytes(b"")
    (folder / "lone" / "coats").mkdir(parents=True)
    shutil.copy(folder / "pictures" / "coats" / "0.png", folder / "lone" / "coats")
    (folder / "empty").mkdir()
    (folder / "file").write_text("not a folder")
    (folder / "occupied" / "condensed").mkdir(parents=True)
    (folder / "occupied" / "condensed" / "thesis.txt").write_text("work of years")
    (folder / "used").mkdir()
    with runs.lock(folder / "used"):
        yield {
            "folder": folder,
            "data": dataset.partition("=")[2],
            "experts": expert_dir,
            "used": folder / "used",
        }


CONDENSE = [
    "condense", "--dataset={data}", "--workdir={work}", "--expert_dir={experts}", "--preset=paper",
]  # fmt: skip
SELECT = ["select", "--dataset={data}", "--workdir={work}", "--ipc=1"]
EVALUATE = ["evaluate", "--dataset={data}", "--workdir={work}", "--epochs=1", "--repeats=1", *SMALL]
PRETRAIN = ["pretrain", "--dataset={data}", "--workdir={work}", *SMALL, *EXPERTS]
SWEEP = ["sweep", "--dataset={data}", "--workdir={work}", *SMALL, *EXPERTS]
EXPORT = ["export", "--workdir={work}"]
CONVERT = ["convert", "--dataset={data}", "--workdir={work}"]
LABEL = ["label", "--condensed={folder}/good", "--expert_dir={experts}", "--workdir={work}"]
CROSS = ["cross", "--dataset={data}", "--workdir={work}", "--epochs=1", "--repeats=1"]


def but(command, **flags):
    """The command with some flags in place of its own."""
    kept = [part for part in command if part.lstrip("-").partition("=")[0] not in flags]
    return [*kept, *(f"--{name}={value}" for name, value in flags.items())]


TABLE = [
    (but(SELECT, dataset="fashion_mnits"), "Did you mean 'fashion_mnist'?"),
    (but(SELECT, dataset="cifar10", data_dir="{folder}/empty"), "cifar10"),
    (but(SELECT, dataset="./nowhere"), "There is no folder"),
    (but(SELECT, dataset="{folder}/nowhere.npz"), "nowhere.npz"),
    (but(SELECT, dataset="{folder}/keys.npz"), "x_train"),
    (but(SELECT, dataset="{folder}/short.npz"), "short.npz"),
    (but(SELECT, dataset="{folder}/pickle.npz"), "pickle"),
    (but(SELECT, dataset="{folder}/one.npz"), "one class"),
    (but(SELECT, dataset="{folder}/torn.npz"), "torn.npz"),
    (but(CONDENSE, ipc="1", dataset="{folder}/pictures"), "image_size"),
    (but(SELECT, dataset="{folder}/broken", image_size="16"), "0.png"),
    (but(SELECT, dataset="{folder}/lone"), "class"),
    (but(SELECT, dataset="{folder}/empty"), "empty"),
    (but(SELECT, image_size="16"), "16"),
    (but(SELECT, ipc="0"), "--ipc=0"),
    (but(SELECT, ipc="ten"), "--ipc=ten is no whole number"),
    (but(SELECT, ipc="25"), "has 24 images, fewer than the 25 per class asked for"),
    (but(SELECT, method="best"), "--method=best"),
    (but(SELECT, workdir="{folder}/file"), "cannot write to the folder"),
    (but(SELECT, workdir="{folder}/occupied"), "thesis.txt"),
    (but(LABEL, workdir="{folder}/occupied"), "thesis.txt"),
    (but(CONDENSE, ipc="1", workdir="{folder}/occupied"), "thesis.txt"),
    (but(SELECT, method="herding", expert_dir="{folder}/empty"), "pool.json"),
    ([*SELECT, "extra"], "unexpected argument 'extra'"),
    ([*SELECT, "--breadth=3"], "Unknown command line flag 'breadth'"),
    (["select", "--dataset={data}"], "--workdir is missing"),
    (["select", "--flagfile=nowhere.txt"], "nowhere.txt"),
    (but(CONDENSE, ipc="1", method="mtt"), "--method=mtt"),
    (but(CONDENSE, ipc="1", method="dnace"), "Did you mean 'dance'?"),
    (but(CONDENSE, ipc="1", network="conv-net"), "Did you mean 'convnet'?"),
    (but(CONDENSE, ipc="1", preset="mine"), "--preset=mine"),
    (but(CONDENSE, ipc="0"), "--ipc=0"),
    (but(CONDENSE, ipc="100"), "fewer than the 100 per class"),
    (but(CONDENSE, ipc="1", steps="-5"), "--steps=-5"),
    (but(CONDENSE, ipc="1", factor="0"), "--factor=0"),
    (but(CONDENSE, ipc="1", factor="20"), "choose a factor of at most 14"),
    (but(CONDENSE, ipc="1", batch_real="0"), "--batch_real=0"),
    (but(CONDENSE, ipc="1", kernel="linear"), "dance has no setting 'kernel'"),
    (but(CONDENSE, ipc="1", method="m3d", kernel="rbf"), "unknown kernel 'rbf'"),
    (but(CONDENSE, ipc="1", augmentation="color_blur"), "unknown augmentation 'blur'"),
    (but(CONDENSE, ipc="1", method="dm", mode="both"), "unknown augmentation mode 'both'"),
    (but(CONDENSE, ipc="1", init="zeros"), "--init=zeros"),
    (but(CONDENSE, ipc="1", method="dm", network="mlp"), "--network=mlp"),
    (but(CONDENSE, ipc="1", method="dm", norm="l2"), "unknown norm 'l2'"),
    (but(CONDENSE, ipc="1", method="dm", depth="9"), "a depth of at most 5"),
    (but(CONDENSE, ipc="1", expert_dir="{folder}/nowhere"), "pool.json; check the path"),
    (but(CONDENSE, ipc="1", experts="9"), "holds 2 finished experts, 9 are asked for"),
    (but(CONDENSE, ipc="1", dataset="{folder}/elsewhere.npz"), "were trained on"),
    (but(CONDENSE, ipc="1", width="8"), "have width=4, not 8; leave the network's flags out"),
    (but(PRETRAIN, experts="0"), "--experts=0"),
    (but(PRETRAIN, expert_epochs="0"), "--expert_epochs=0"),
    (but(PRETRAIN, snapshots="2"), "snapshots must lie between 0 and 1, not 2"),
    (but(PRETRAIN, precision="float8"), "--precision=float8"),
    (but(PRETRAIN, workdir="{experts}", width="8"), "network.width is 4 there, 8 here"),
    (but(EVALUATE, condensed="{folder}/nowhere"), "is not a condensed set"),
    (but(EVALUATE, condensed="{folder}/edited"), "damaged or was edited"),
    (but(EVALUATE, condensed="{folder}/cut"), "images.npy is damaged"),
    (but(EVALUATE, condensed="{folder}/other"), "was made from 'fashion_mnist_mini'"),
    (but(EVALUATE, condensed="{folder}/good", dataset="fashion_mnist_mini"), "was made from 'cl"),
    (but(EVALUATE, protocol="best"), "--protocol=best"),
    (but(EVALUATE, repeats="0"), "--repeats=0"),
    (but(EVALUATE, epochs="0"), "--epochs=0"),
    (but(EVALUATE, devices="0"), "--devices=0"),
    (but(CONDENSE, ipc="1", placement="disk"), "--placement=disk"),
    (but(CONDENSE, ipc="1", num_processes="2"), "need a --coordinator"),
    (but(CONDENSE, ipc="1", coordinator="here:1"), "needs --num_processes and --process_id"),
    (but(CONDENSE, ipc="1", method="idm", networks_trained="4"), "must not be above queue_start"),
    (but(SELECT, workdir="{used}"), "is in use by process"),
    (but(CONDENSE, ipc="1", workdir="{used}"), "is in use by process"),
    ([*EXPORT, "--condensed={folder}/good", "--formats=zip"], "'zip'"),
    ([*EXPORT, "--condensed={folder}/empty", "--formats=png"], "is not a condensed set"),
    ([*EXPORT, "--condensed={folder}/good", "--formats=png", "--evaluation=./x"], "there is no"),
    ([*CONVERT, "--source={folder}/nowhere.npz"], "there is no file"),
    ([*CONVERT, "--source={folder}/torn.npz"], "cannot be read"),
    ([*CONVERT, "--source={folder}/short.npz", "--mean=a"], "--mean"),
    ([*CONVERT, "--source={folder}/short.npz", "--pixel_values=half"], "--pixel_values=half"),
    ([*CONVERT, "--source={folder}/short.npz"], "labels"),
    (["report", "--workdir={work}", "--runs={folder}/nowhere"], "there is no folder"),
    (["report", "--workdir={work}", "--runs={folder}/pictures"], "there are no evaluations in"),
    (["report", "--workdir={work}", "--runs={folder}"], "damaged"),
    (["report", "--workdir={work}", "--runs="], "--runs"),
    (but(SWEEP, variant="blur=1"), "dm has no setting 'blur'; it has factor"),
    (but(SWEEP, variant="calibration=maybe"), "calibration must be true or false, not 'maybe'"),
    (but(SWEEP, methods="random", variant="factor=2"), "random has no setting 'factor'"),
    (but(CROSS, networks="convnet", condensed="{folder}/no*"), "there is no condensed set"),
    (but(CROSS, networks="mlp", condensed="{folder}/good"), "unknown network 'mlp'"),
    (but(CROSS, networks="convnet:wide", condensed="{folder}/good"), "'wide' in 'convnet:wide'"),
    (but(CROSS, networks="vgg11:depth=3", condensed="{folder}/good"), "no option 'depth'"),
    (but(CROSS, networks="convnet", condensed="{folder}/edited"), "checksum does not fit"),
    (but(SWEEP, methods="dm,mtt"), "'mtt'"),
    (but(SWEEP, methods="dm,hreding"), "Did you mean 'herding'?"),
    (but(SWEEP, ipcs="1,x"), "--ipcs must be whole numbers"),
    (but(SWEEP, ipcs="1,10", epochs="1,2,3"), "one for each of the 2 IPCs"),
    (but(SWEEP, ipcs=""), "--ipcs"),
    (but(SWEEP, ipcs="1,1"), "twice"),
    (but(SWEEP, ipcs="0"), "--ipcs"),
    (but(SWEEP, seeds="-1"), "--seeds"),
    (but(SWEEP, seeds="0,,1"), "empty entry"),
    (but(SWEEP, methods=""), "--methods"),
    (but(SWEEP, epochs="0"), "--epochs"),
    (but(SWEEP, methods="dm,random", ipcs="1,25"), "fewer than the 25"),
    (but(SWEEP, methods="dance", ipcs="1", factor="20"), "factor of at most 14"),
    (but(CROSS, networks="", condensed="{folder}/good"), "--networks"),
    (but(CROSS, networks="convnet", condensed=""), "--condensed"),
    ([*EXPORT, "--condensed={folder}/good", "--formats="], "--formats"),
    ([*EXPORT, "--condensed={folder}/good", "--formats=png,png"], "twice"),
    ([*EXPORT, "--condensed=", "--formats=png"], "--condensed"),
    ([*CONVERT, "--source="], "--source"),
    (["picture", "--run="], "--run"),
    (["picture", "--run=~nosuchuser/x"], "home folder"),
    (["report", "--workdir=", "--runs={folder}/pictures"], "--workdir"),
    (but(SELECT, workdir=""), "--workdir"),
    (but(SELECT, dataset=""), "--dataset"),
    (but(SELECT, dataset="~nosuchuser/x"), "home folder"),
    (but(SELECT, data_dir=""), "--data_dir"),
    (but(SELECT, method="herding", expert_dir=""), "--expert_dir"),
    (but(EVALUATE, condensed=""), "--condensed"),
    (but(EVALUATE, condensed="{folder}/good", dataset="{folder}/elsewhere.npz"), "other_data"),
    (but(CROSS, condensed="{folder}/good", networks="convnet", dataset="{folder}/elsewhere.npz"),
     "other_data"),
    (but(EVALUATE, evaluation_learning_rate="0"), "--evaluation_learning_rate"),
    (but(EVALUATE, evaluation_learning_rate="nan"), "--evaluation_learning_rate"),
    (but(PRETRAIN, expert_learning_rate="-1"), "--expert_learning_rate"),
    (but(PRETRAIN, checkpoint_seconds="inf"), "--checkpoint_seconds"),
    (but(PRETRAIN, image_size="100000"), "--image_size"),
    (but(PRETRAIN, width="1000000"), "--width"),
    (but(PRETRAIN, devices="1000000"), "--devices"),
    (but(CONDENSE, ipc="1", momentum="1.5"), "--momentum"),
    (but(CONDENSE, ipc="1", learning_rate="-1"), "--learning_rate"),
    (but(CONDENSE, ipc="1", method="m3d", degree="0"), "--degree"),
    (but(CONDENSE, ipc="1", coordinator="here"), "HOST:PORT"),
    (but(CONDENSE, ipc="1", coordinator="here:99999"), "HOST:PORT"),
    (but(CONDENSE, ipc="1", coordinator="a:1", num_processes="2", process_id="2"), "process_id"),
    (but(CONDENSE, ipc="1", devices="999"), "999 devices"),
    (["demo", "--workdir={work}", "--ipc=5000"], "fewer than the 5000"),
    (["evaluate", "--condensed={work}", "--network=convnet,alexnet"], "one network"),
]  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(made, start, tmp_path_factory):
    """All rows at once: a folder of its own for each, with something in it that must stay."""
    found = []
    for number, (command, _) in enumerate(TABLE):
        work = tmp_path_factory.mktemp(f"row{number}")
        (work / "metrics.jsonl").write_text('{"kind": "mine", "step": 1}\n')
        found.append(start([part.format(**made, work=work) for part in command]))
    return found


@pytest.mark.parametrize("row", range(len(TABLE)), ids=[" ".join(c[-3:]) for c, _ in TABLE])
def test_wrong_input_is_said(row, outcomes):
    done = outcomes[row]
    command, output = done.args, done.stderr
    assert done.returncode == 2, output
    assert TABLE[row][1] in output
    assert "Traceback" not in output
    said = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and output.rstrip().endswith(said[0])
    work = [part.partition("=")[2] for part in command if part.startswith("--workdir=/")]
    if work and "row" in work[0]:
        from pathlib import Path

        kept = (Path(work[0]) / "metrics.jsonl").read_text()
        assert kept == '{"kind": "mine", "step": 1}\n'


def test_a_flag_can_be_given_by_its_earlier_name(launch, tmp_path):
    """With a warning; the help has the new names only."""
    done = launch(
        "pretrain", "--dataset=fashion_mnist_mini", "--expert_rate=0.5", "--workdir=/dev/null/x",
        f"--data_dir={tmp_path}", status=2,
    )  # fmt: skip
    assert "--expert_rate is called --expert_learning_rate now" in done.stderr
    text = launch("pretrain", "--help").stdout
    assert "--expert_learning_rate" in text and "--expert_rate" not in text
