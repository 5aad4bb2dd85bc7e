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
        "--log_every=1",
        "--picture_every=0", f"--checkpoint_seconds={every}", f"--expert_dir={expert_dir}",
        f"--workdir={workdir}", *SMALL,
    )  # fmt: skip


def steps_of(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == kind]


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_condense_goes_on(signum, launch, launch_and_stop, dataset, expert_dir, tmp_path):
    launch(*condense_command(dataset, expert_dir, tmp_path / "whole", 150, every=300))
    command = condense_command(dataset, expert_dir, tmp_path / "cut", 150)
    once = tmp_path / "cut" / "checkpoints" / "step_000000002"
    status, stderr = launch_and_stop(*command, once=once, signum=signum)
    assert status == 128 + signum, stderr
    assert "give the same command again to go on" in stderr and "Traceback" not in stderr
    assert len(steps_of(tmp_path / "cut", "dance")) < 150
    launch(*condense_command(dataset, expert_dir, tmp_path / "cut", 150, every=300))
    whole, cut = (condensed.load(tmp_path / name / "condensed") for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole.images, cut.images)
    assert steps_of(tmp_path / "cut", "dance") == list(range(1, 151))
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


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


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_condense_survives_being_killed(kills, launch, environment, dataset, expert_dir, tmp_path):
    steps = max(400, 40 * kills)
    launch(*condense_command(dataset, expert_dir, tmp_path / "whole", steps, every=300))
    command = condense_command(dataset, expert_dir, tmp_path / "cut", steps, every=300)
    kill_often(environment, command, kills)
    launch(*command)
    whole, cut = (condensed.load(tmp_path / name / "condensed") for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole.images, cut.images)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


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
                  "--expert_epochs=100", "--expert_batch=16"]  # fmt: skip
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


def test_a_full_disk_loses_nothing(small_disk, launch, dataset, expert_dir, tmp_path):
    """Filled up by others in the middle of a run; with room the same command goes on."""
    first = condense_command(dataset, expert_dir, small_disk / "run", 5)
    launch(*first)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 4096))
    longer = condense_command(dataset, expert_dir, small_disk / "run", 10)
    done = launch(*longer, status=2)
    assert "make room" in done.stderr
    assert len(list((small_disk / "run" / "checkpoints").glob("step_*"))) == 2
    (small_disk / "filler").unlink()
    launch(*longer)
    launch(*condense_command(dataset, expert_dir, tmp_path / "whole", 10))
    whole, cut = (condensed.load(p / "condensed") for p in (tmp_path / "whole", small_disk / "run"))
    np.testing.assert_array_equal(whole.images, cut.images)


def test_a_disk_that_is_too_small_is_said_before_the_work(small_disk, launch, dataset):
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 300_000))
    done = launch(
        "pretrain", dataset, "--width=64", "--experts=2", f"--workdir={small_disk / 'pool'}",
        status=2,
    )  # fmt: skip
    assert "MB are needed" in done.stderr
    assert not list((small_disk / "pool").glob("expert_*"))


@pytest.mark.slow
def test_pretrain_goes_on(launch, launch_and_stop, dataset, tmp_path):
    def command(workdir):
        return ("pretrain", dataset, f"--workdir={workdir}", *SMALL, *EXPERTS[1:], "--experts=1",
                "--expert_epochs=40", "--checkpoint_seconds=0")  # fmt: skip

    launch(*command(tmp_path / "whole"))
    once = tmp_path / "cut" / "training" / "step_000000003"
    status, stderr = launch_and_stop(*command(tmp_path / "cut"), once=once)
    assert status == 130, stderr
    launch(*command(tmp_path / "cut"))
    chex.assert_trees_all_equal(
        *(experts.load_trajectory(tmp_path / name, 0) for name in ("whole", "cut"))
    )
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]
