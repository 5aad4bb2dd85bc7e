"""Stopping a program at any moment and giving the same command again ends in the same bytes."""

import json
import random
import signal

import chex
import numpy as np
import pytest

from dancejax import condensed, experts

from .conftest import EXPERTS, SMALL


def condense_command(dataset, expert_dir, workdir, steps, every=0):
    return (
        "condense", dataset, "--ipc=1", f"--steps={steps}", "--batch_real=8", "--log_every=1",
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


def kill_until_done(launch, launch_and_stop, command, workdir, kills):
    rng = random.Random(0)
    for _ in range(kills):
        done = sorted((workdir / "checkpoints").glob("step_*"))
        reached = int(done[-1].name[5:]) if done else 0
        once = workdir / "checkpoints" / f"step_{reached + rng.randint(1, 3):09d}"
        status, stderr = launch_and_stop(*command, once=once, signum=signal.SIGKILL)
        assert status in (0, -signal.SIGKILL), stderr
    launch(*command)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_condense_survives_being_killed(
    kills, launch, launch_and_stop, dataset, expert_dir, tmp_path
):
    launch(*condense_command(dataset, expert_dir, tmp_path / "whole", 90, every=300))
    command = condense_command(dataset, expert_dir, tmp_path / "cut", 90)
    kill_until_done(launch, launch_and_stop, command, tmp_path / "cut", kills)
    whole, cut = (condensed.load(tmp_path / name / "condensed") for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole.images, cut.images)
    assert steps_of(tmp_path / "cut", "dance") == list(range(1, 91))


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
