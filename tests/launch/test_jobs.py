"""A sweep whose cells are made side by side: the same sets, and a killed driver loses nothing."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dancejax import runs

from .conftest import EXPERTS, ROOT, SMALL

CELLS = [f"{method}-ipc1-seed{seed}" for method in ("dance", "random") for seed in (0, 1)]


def command(dataset, workdir, *more):
    return (
        "sweep", dataset, "--methods=dance,random", "--ipcs=1", "--seeds=0,1", "--steps=3",
        "--batch_real=8", "--augmentation=flip", "--epochs=1", "--repeats=1", "--devices=1",
        f"--workdir={workdir}", *SMALL, *EXPERTS, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def serial(launch, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    launch(*command(dataset, folder))
    return folder


def lines(folder):
    """What does not depend on the time that it took."""
    rows = json.loads((folder / "result.json").read_text())
    timed = ("seconds_per_iteration", "step_memory_mb")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("*/condensed/*")
        if path.name != "manifest.json" or "random" in str(path)
    }


@pytest.mark.slow
def test_cells_made_alone_are_those_of_the_whole_sweep(launch, dataset, serial, tmp_path):
    early = launch(*command(dataset, tmp_path, f"--cells={CELLS[0]}"), status=2)
    assert "not finished (0 of 2)" in early.stderr and "--cells=experts" in early.stderr
    assert not list(tmp_path.iterdir())
    launch(*command(dataset, tmp_path, "--cells=experts"))
    with runs.lock(tmp_path):  # whoever has the grid's folder: cells do not ask
        launch(*command(dataset, tmp_path, f"--cells={CELLS[2]},{CELLS[0]}"))
    assert not (tmp_path / "result.json").exists() and not (tmp_path / "config.json").exists()
    with runs.lock(runs.open_workdir(tmp_path / CELLS[1])):
        busy = launch(*command(dataset, tmp_path, f"--cells={CELLS[1]}"), status=2)
    assert "in use by process" in busy.stderr
    row = json.loads((tmp_path / CELLS[0] / "row.json").read_text())
    assert row["method"] == "dance" and row["accuracy_mean"] == lines(serial)[0]["accuracy_mean"]
    states = launch(*command(dataset, tmp_path, "--status")).stdout
    assert f"{CELLS[0]}   finished  {row['accuracy_mean']:.1f} %" in states
    assert "3 finished, 2 waiting" in states
    table = launch(*command(dataset, tmp_path)).stdout  # which makes the other two
    assert table == (tmp_path / "table.md").read_text()
    assert lines(tmp_path) == lines(serial) and files(tmp_path) == files(serial)


@pytest.mark.slow
def test_another_pool_is_refused_by_a_cell(launch, dataset, serial, tmp_path):
    changed = command(dataset, serial, f"--cells={CELLS[0]}", "--expert_epochs=1")
    assert "epochs is 2 there, 1 here" in launch(*changed, status=2).stderr


def test_a_wider_grid_keeps_the_commands(launch, dataset, tmp_path):
    def of(*more):
        done = launch(*command(dataset, tmp_path, "--print_commands", *more))
        found = {shlex.split(line)[-1]: line for line in done.stdout.splitlines()}
        assert next(iter(found)) == "--cells=experts"
        return {name: line for name, line in found.items() if name != "--cells=experts"}

    narrow = of()
    assert [*narrow] == [f"--cells={name}" for name in CELLS]
    wide = of("--methods=dance,random,dm", "--variant=factor=1", "--ipcs=1,2", "--epochs=1,3",
              "--engine=local", "--parallel=2")  # fmt: skip
    assert len(wide) == 20 and wide.items() >= narrow.items()
    assert "--ipcs=2" in wide["--cells=dm-ipc2-seed1-factor=1"]
    assert "--epochs=3" in wide["--cells=dm-ipc2-seed1-factor=1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("flags", "noun"), [
    (["--cells=dance-ipc1-seed2"], "Did you mean 'dance-ipc1-seed"),
    (["--cells=dance-ipc1-seed0", "--engine=local"], "--cells"),
    (["--parallel=2"], "--engine"),
    (["--together=2"], "--print_commands"),
    (["--dry_run", "--status"], "--status and --dry_run"),
    (["--sbatch=time=5"], "--engine=slurm"),
    (["--watch"], "--status"),
    (["--status", "--cancel"], "--status and --cancel"),
    (["--engine=local", "--coordinator=auto"], "--coordinator"),
    (["--engine=slurm"], "Slurm|sbatch|time limit"),
    (["--engine=local", "--parallel=0"], "parallel"),
])  # fmt: skip
def test_wrong_flags(flags, noun, launch, dataset, tmp_path):
    done = launch(*command(dataset, tmp_path / "run", *flags), status=2)
    assert any(word in done.stderr for word in noun.split("|"))
    assert done.stderr.count("error: ") == 1
    assert not (tmp_path / "run").exists()


def test_a_cell_made_alone_is_in_the_table(launch, dataset, tmp_path):
    def sweep(*flags):
        return launch(*command(dataset, tmp_path, "--methods=random", "--seeds=0", *flags))

    assert "1 waiting" in sweep("--status").stdout
    row = json.loads(sweep("--cells=random-ipc1-seed0").stdout)
    assert f"finished  {row['accuracy_mean']:.1f} %" in sweep("--status").stdout
    assert "nothing is under way" in sweep("--cancel").stderr
    assert not (tmp_path / "result.json").exists()
    assert sweep().stdout == (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "result.json").read_text()) == [row]


def test_of_several_cells_one_fails_alone(launch, dataset, tmp_path):
    cells = ["random-ipc1-seed0", "random-ipc1-seed1"]
    blocked = tmp_path / cells[0] / "condensed"
    blocked.mkdir(parents=True)
    (blocked / "manifest.json").write_text("{")

    def sweep(*flags, **how):
        return launch(*command(dataset, tmp_path, "--methods=random", *flags), **how)

    together = sweep("--print_commands", "--together=2").stdout.splitlines()
    assert len(together) == 1 and together[0].endswith(f"--cells={','.join(cells)}")
    made = sweep(f"--cells={','.join(cells)}", status=1)
    assert f"failed: {cells[0]}: " in made.stderr and made.stderr.count("failed:") == 1
    assert json.loads((tmp_path / cells[0] / "failed.json").read_text())["status"] == 2
    assert not runs.held(tmp_path / cells[0])
    states = sweep("--status").stdout
    assert "1 failed, 1 finished" in states and "manifest.json" in states


def test_a_dry_run_says_how_long_and_writes_nothing(launch, dataset, tmp_path):
    flags = command(dataset, tmp_path / "run", "--dry_run", "--engine=local")
    done = launch(*flags)
    assert "5 parts, 0 finished; the rest is " in done.stdout and "| experts | " in done.stdout
    assert "of 1 x cpu, " in done.stdout and "; 2 at a time, which share 1 x cpu: " in done.stdout
    assert "nothing is written" in done.stderr and not (tmp_path / "run").exists()


def words(arguments):
    return [sys.executable, "-m", f"launch.{arguments[0]}", *arguments[1:]]


def start(arguments, environment, **how):
    return subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **how
    )


@pytest.mark.slow
def test_workers_and_commands_by_hand_make_the_same_sets(
    launch, dataset, environment, one_core, tmp_path
):
    assert start(words(command(dataset, tmp_path / "serial")), environment).returncode == 0
    local = ("--engine=local", "--parallel=2")
    done = start(words(command(dataset, tmp_path / "local", *local)), environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "local" / "table.md").read_text()
    start(words(command(dataset, tmp_path / "together", *local, "--together=2")), environment)
    printed = launch(*command(dataset, tmp_path / "hand", "--print_commands")).stdout
    for line in printed.splitlines():
        assert start(shlex.split(line), environment).returncode == 0
    launch(*command(dataset, tmp_path / "hand"))
    expected = files(tmp_path / "serial")
    assert len(expected) > 8
    for name in ("local", "together", "hand"):
        assert files(tmp_path / name) == expected
        assert lines(tmp_path / name) == lines(tmp_path / "serial")


@pytest.mark.slow
def test_workers_come_to_the_same_table_across_networks(launch, alone, dataset, tmp_path):
    for seed in (0, 1):
        launch("select", dataset, "--ipc=2", f"--seed={seed}",
               f"--workdir={tmp_path / f'random{seed}'}", *SMALL)  # fmt: skip
    command = (
        "cross", dataset, f"--condensed={tmp_path}/random*", "--repeats=2", "--epochs=3",
        "--networks=convnet:width=4:depth=2,convnet:width=2:depth=1", "--devices=1",
    )  # fmt: skip
    done = alone(*command, f"--workdir={tmp_path / 'whole'}")
    local = (*command, f"--workdir={tmp_path / 'local'}", "--engine=local", "--parallel=2")
    assert alone(*local, "--together=2").stdout == done.stdout
    for name in ("result.json", "table.md", "random1-convnet-width=2-depth=1/result.json"):
        found = ((tmp_path / which / name).read_bytes() for which in ("whole", "local"))
        first, second = found
        assert first == second, name


@pytest.mark.slow
def test_a_cell_that_fails_alone_and_is_made_later(dataset, environment, tmp_path):
    arguments = words(command(dataset, tmp_path, "--engine=local", "--parallel=2"))
    blocked = tmp_path / CELLS[2] / "condensed"
    blocked.mkdir(parents=True)
    (blocked / "manifest.json").write_text("{")
    done = start(arguments, environment)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"failed: {CELLS[2]}: exit status 2" in done.stderr and done.stderr.count("failed:") == 1
    about = json.loads((tmp_path / CELLS[2] / "failed.json").read_text())
    assert about["status"] == 2 and "manifest.json" in about["log"][-1]
    assert len(lines(tmp_path)) == 3
    (blocked / "manifest.json").unlink()
    logs = {name: (tmp_path / name / "log.txt").stat().st_mtime_ns for name in CELLS}
    assert start(arguments, environment).returncode == 0
    assert not (tmp_path / CELLS[2] / "failed.json").exists() and len(lines(tmp_path)) == 4
    again = [n for n in CELLS if (tmp_path / n / "log.txt").stat().st_mtime_ns != logs[n]]
    assert again == [CELLS[2]]


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def steps_of(folder: Path):
    text = (folder / "metrics.jsonl").read_text() if (folder / "metrics.jsonl").exists() else ""
    return [json.loads(line)["step"] for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_driver_loses_nothing(signum, dataset, environment, tmp_path):
    steps = 3000
    arguments = words(
        command(
            dataset, tmp_path, f"--steps={steps}", "--methods=dance", "--checkpoint_seconds=1",
            "--engine=local", "--parallel=2",
        )
    )  # fmt: skip
    saved = [tmp_path / name / "checkpoints" for name in CELLS[:2]]
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as driver:  # fmt: skip
        wait_for(lambda: all(list(folder.glob("step_*")) for folder in saved))
        driver.send_signal(signum)
        _, text = driver.communicate(timeout=60)
    assert "Traceback" not in text
    if signum == signal.SIGTERM:
        assert driver.returncode == 128 + signum and "same command" in text
        for name in CELLS[:2]:
            assert "Stopped." in (tmp_path / name / "log.txt").read_text()
            assert not runs.held(tmp_path / name)
    done = start(arguments, environment)
    assert done.returncode == 0, done.stderr
    for name in CELLS[:2]:
        assert steps_of(tmp_path / name)[-1] == steps
        started = (tmp_path / name / "log.txt").read_text().count(" x cpu\n")
        # A process that lost its driver goes on, and is waited for.
        assert started == (2 if signum == signal.SIGTERM else 1)


@pytest.mark.slow
def test_cancel_stops_a_driver_and_its_workers(launch, dataset, environment, tmp_path):
    flags = command(dataset, tmp_path, "--steps=100000", "--methods=dance")
    arguments = words((*flags, "--engine=local", "--parallel=2"))
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as driver:  # fmt: skip
        wait_for(lambda: all(runs.held(tmp_path / name) for name in CELLS[:2]))
        states = launch(*flags, "--status").stdout
        assert states.count("running") == 3 and "2 running" in states
        launch(*flags, "--cancel")
        _, text = driver.communicate(timeout=60)
    assert driver.returncode == 128 + signal.SIGTERM and "Traceback" not in text
    assert not any(runs.held(tmp_path / name) for name in CELLS[:2])
