"""launch.continual as a user starts it."""

import json
import signal

import numpy as np
import pytest

from dancejax import condensed

from .conftest import SMALL, parts_of

COMMAND = (
    "continual", *SMALL, "--methods=dance,herding,random", "--steps=2", "--orders=2", "--ipc=2",
    "--iterations=3", "--batch_real=8", "--experts=1", "--expert_epochs=1", "--epochs=3",
    "--repeats=1", "--whole_epochs=1", "--augmentation=flip", "--batch_size=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(launch, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("continual")
    done = launch(*COMMAND, dataset, "--upper_bound", f"--workdir={folder}")
    return folder, done


@pytest.mark.slow
def test_every_method_in_every_order_has_a_folder_and_a_line(whole):
    folder, done = whole
    lines = (folder / "table.md").read_text().splitlines()
    assert done.stdout.splitlines() == lines
    names = [line.split("|")[1].strip() for line in lines[2:6]]
    assert names == ["DANCE", "herding", "random", "whole set (upper bound)"]
    result = json.loads((folder / "result.json").read_text())
    assert len(result["courses"]) == 8 and (folder / "curve.png").exists()
    for course in result["courses"]:
        order = np.random.RandomState(course["order"]).permutation(3)
        named = [name for step in course["classes"] for name in step]
        assert named == list(map(str, order))
    memory = condensed.load(folder / "order-1" / "dance" / "condensed")
    assert memory.classes == ("0", "1", "2") and memory.factor == 2
    assert np.bincount(memory.labels).tolist() == [2, 2, 2]
    step = condensed.load(folder / "order-1" / "random" / "step-1" / "condensed")
    assert list(step.classes) == result["courses"][-1]["classes"][0]


@pytest.mark.slow
def test_it_goes_on_to_the_same_bytes(whole, launch, dataset, tmp_path):
    folder, _ = whole
    command = (*COMMAND, dataset, "--upper_bound", f"--workdir={tmp_path}")
    once = str(tmp_path / "order-0" / "herding" / "step-1" / "trained" / "training")
    done = launch(*command, status=143, stop=(signal.SIGTERM, once))
    assert "same command" in done.stderr
    assert not (tmp_path / "order-1").exists()
    launch(*command)
    for name in ("result.json", "result.csv", "table.md"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_a_dry_run_says_what_is_there(whole, launch, dataset, tmp_path):
    folder, _ = whole
    shown = launch(*COMMAND, dataset, "--orders=3", f"--workdir={folder}", "--dry_run").stdout
    assert (
        "| order-0/dance | 2 sets of 3 iterations, 2 x 1 networks | 2 sets, 2 networks |" in shown
    )
    assert "| order-2/random | 2 sets, 2 x 1 networks | 0 sets, 0 networks |" in shown
    launch(*COMMAND, dataset, f"--workdir={tmp_path / 'new'}", "--dry_run")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "noun"),
    [
        (["--steps=4"], "classes"),
        (["--ipc=25"], "images"),
        (["--methods=best"], "best"),
        (["--factor=40"], "factor"),
        (["--protocol=best"], "protocol"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    changes, noun, launch, dataset, tmp_path
):
    done = launch(*COMMAND, dataset, *changes, f"--workdir={tmp_path / 'new'}", status=2)
    assert noun in done.stderr and not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_folder_of_other_steps_is_refused(whole, launch, dataset):
    folder, _ = whole
    done = launch(*COMMAND, dataset, "--steps=3", f"--workdir={folder}", status=2)
    assert "classes" in done.stderr


def test_parts_have_commands_of_their_own(launch, dataset, tmp_path):
    command = (*COMMAND, dataset, "--upper_bound", f"--workdir={tmp_path}")
    found = parts_of(launch, *command)
    own = ["experts", "dance", "herding", "random", "whole"]
    assert [*found] == [f"order-{order}-{name}" for order in (0, 1) for name in own]
    wider = parts_of(launch, *command, "--methods=dm,dance,herding,random", "--orders=3")
    for name, words in found.items():
        assert name.endswith("experts") or wider[name] == words
    assert "--upper_bound" in found["order-0-whole"] and "--orders=1" in found["order-0-dance"]
    assert "--upper_bound" not in found["order-0-dance"]
    assert "10 waiting" in launch(*command, "--status").stdout
    wrong = launch(*command, "--cells=order-2-dance", status=2).stderr
    assert "order-1-dance" in wrong
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_parts_made_alone_come_to_the_same(whole, launch, dataset, tmp_path):
    folder, done = whole
    command = (*COMMAND, dataset, "--upper_bound", f"--workdir={tmp_path}")
    found = parts_of(launch, *command)
    for name in reversed([name for name in found if "experts" in name]):
        launch(*found.pop(name))
    for name in reversed(found):  # in any order
        launch(*found[name])
    states = launch(*command, "--status").stdout
    assert "10 finished" in states and "1 experts a step" in states
    again = launch(*command)
    assert again.stdout == done.stdout and "iterations" not in again.stderr
    for name in ("result.json", "result.csv", "table.md"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_workers_come_to_the_same_as_one_process(alone, dataset, tmp_path):
    command = (*COMMAND, dataset, "--methods=random,dance,herding", "--orders=1", "--devices=1")
    serial = alone(*command, f"--workdir={tmp_path / 'serial'}")
    local = (*command, f"--workdir={tmp_path / 'local'}", "--engine=local", "--parallel=2")
    done = alone(*local, "--together=2")
    assert "4/4" in done.stderr and done.stdout == serial.stdout
    for name in ("result.json", "result.csv", "table.md"):
        found = ((tmp_path / which / name).read_bytes() for which in ("serial", "local"))
        first, second = found
        assert first == second, name
