"""Stopping a program at any moment and giving the same command again ends in the same bytes."""

import json
import shutil
import signal
import subprocess
import sys

import chex
import numpy as np
import pytest

from dancejax import condensed
from dancejax.training import experts

from .conftest import EXPERTS, ROOT, SMALL


def condense_command(dataset, expert_dir, workdir, steps, every=0):
    return (
        "condense", dataset, "--preset=paper", "--ipc=1", f"--steps={steps}", "--batch_real=8",
        "--log_every=1", "--augmentation=flip", "--picture_every=0",
        f"--checkpoint_seconds={every}", f"--expert_dir={expert_dir}", f"--workdir={workdir}",
        *SMALL,
    )  # fmt: skip


def steps_of(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == kind]


STEPS = 80


@pytest.fixture(scope="module")
def whole(launch, dataset, expert_dir, tmp_path_factory):
    """A run that nothing stopped, of as many steps as asked for."""
    folder = tmp_path_factory.mktemp("whole")

    def run(steps):
        workdir = folder / str(steps)
        if not workdir.exists():
            launch(*condense_command(dataset, expert_dir, workdir, steps, every=300))
        return workdir

    return run


def check_same_run(whole, cut):
    np.testing.assert_array_equal(
        *(condensed.load(workdir / "condensed").images for workdir in (whole, cut))
    )
    assert (whole / "metrics.jsonl").read_text() == (cut / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_condense_goes_on(signum, launch, whole, dataset, expert_dir, tmp_path):
    once = str(tmp_path / "checkpoints" / "step_000000002")
    command = condense_command(dataset, expert_dir, tmp_path, STEPS)
    stopped = launch(*command, status=128 + signum, stop=(signum, once))
    assert "same command" in stopped.stderr
    assert len(steps_of(tmp_path, "dance")) < STEPS
    launch(*condense_command(dataset, expert_dir, tmp_path, STEPS, every=300))
    assert steps_of(tmp_path, "dance") == list(range(1, STEPS + 1))
    check_same_run(whole(STEPS), tmp_path)


def kill_often(environment, command, kills, longest=3.0):
    """Kills a command, which is to save after every step, at random moments."""
    order = {
        "command": [*command, "--checkpoint_seconds=0"],
        "kills": kills,
        "longest": longest,
        "seed": kills,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.launch.killer"], input=json.dumps(order), cwd=ROOT,
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    outcome = json.loads(done.stdout)
    assert outcome["kills"] == kills, outcome


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 50])
def test_condense_survives_being_killed(
    kills, launch, whole, environment, dataset, expert_dir, tmp_path
):
    steps = max(STEPS, 40 * kills)
    command = condense_command(dataset, expert_dir, tmp_path, steps, every=300)
    kill_often(environment, command, kills, longest=1.5 if kills == 2 else 3)
    launch(*command)
    check_same_run(whole(steps), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 10])
def test_pretrain_survives_being_killed(kills, launch, environment, dataset, tmp_path):
    """Three experts, two of them side by side where there are two cores."""
    command = ["pretrain", dataset, *SMALL, *EXPERTS[1:], "--experts=3", "--snapshots=2",
               f"--expert_epochs={12 * kills}"]  # fmt: skip
    launch(*command, f"--workdir={tmp_path / 'whole'}")
    command.append(f"--workdir={tmp_path / 'cut'}")
    kill_often(environment, command, kills)
    launch(*command)
    for member in range(3):
        chex.assert_trees_all_equal(
            *(experts.load_trajectory(tmp_path / name, member) for name in ("whole", "cut"))
        )
    logs = [sorted((tmp_path / n / "metrics.jsonl").read_text().splitlines())
            for n in ("whole", "cut")]  # fmt: skip
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_evaluate_and_forgetting_survive_being_killed(launch, environment, dataset, tmp_path):
    forgetting = ["select", dataset, "--method=forgetting", "--ipc=2", *SMALL,
                  "--expert_epochs=100", "--expert_batch_size=16"]  # fmt: skip
    launch(*forgetting, f"--workdir={tmp_path / 'whole'}")
    kill_often(environment, [*forgetting, f"--workdir={tmp_path / 'cut'}"], 5)
    launch(*forgetting, f"--workdir={tmp_path / 'cut'}")
    whole, cut = (condensed.load(tmp_path / name / "condensed") for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole.images, cut.images)
    evaluate = ["evaluate", dataset, f"--condensed={tmp_path / 'cut' / 'condensed'}", *SMALL,
                "--epochs=300", "--repeats=3"]  # fmt: skip
    launch(*evaluate, f"--workdir={tmp_path / 'a'}")
    kill_often(environment, [*evaluate, f"--workdir={tmp_path / 'b'}"], 5)
    launch(*evaluate, f"--workdir={tmp_path / 'b'}")
    results = [(tmp_path / name / "evaluation.jsonl").read_text() for name in "ab"]
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_full_disk_loses_nothing(small_disk, launch, whole, dataset, expert_dir):
    """Filled up by others in the middle of a run; with room the same command goes on."""
    run = small_disk / "run"
    launch(*condense_command(dataset, expert_dir, run, 5))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 4096))
    longer = condense_command(dataset, expert_dir, run, STEPS)  # saves after every step
    assert "room" in launch(*longer, status=2).stderr
    assert len(list((run / "checkpoints").glob("step_*"))) == 2
    assert max(steps_of(run, "dance")) < STEPS
    (small_disk / "filler").unlink()
    launch(*condense_command(dataset, expert_dir, run, STEPS, every=300))
    check_same_run(whole(STEPS), run)


def test_a_disk_that_is_too_small_is_said_before_the_work(small_disk, launch, dataset):
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 300_000))
    done = launch(
        "pretrain", dataset, "--width=64", "--experts=2", f"--workdir={small_disk / 'pool'}",
        status=2,
    )  # fmt: skip
    assert "MB are needed" in done.stderr
    assert not list((small_disk / "pool").glob("expert_*"))


@pytest.mark.slow
def test_pretrain_goes_on(launch, dataset, tmp_path):
    def command(workdir):
        return ("pretrain", dataset, f"--workdir={workdir}", *SMALL, *EXPERTS[1:], "--experts=1",
                "--expert_epochs=40", "--checkpoint_seconds=0")  # fmt: skip

    launch(*command(tmp_path / "whole"))
    once = str(tmp_path / "cut" / "training" / "step_000000003")
    launch(*command(tmp_path / "cut"), status=130, stop=(signal.SIGINT, once))
    launch(*command(tmp_path / "cut"))
    chex.assert_trees_all_equal(
        *(experts.load_trajectory(tmp_path / name, 0) for name in ("whole", "cut"))
    )
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]
