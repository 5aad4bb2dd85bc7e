"""Programs at their edges: stopped at any moment, refused, on streams and folders that fail."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dancejax import condensed, coreset, data

from .conftest import EXPERTS, ROOT, SMALL

QUICK = (
    "--steps=2",
    "--batch_real=8",
    "--augmentation=flip",
    "--preset=paper",
    "--picture_every=0",
    *SMALL,
)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_outside_of_the_loops_is_a_sentence(signum, launch, dataset, tmp_path):
    """In the estimate, which compiles and measures for seconds."""
    done = launch(
        "condense", dataset, "--ipc=1", f"--workdir={tmp_path / 'run'}", "--expert_epochs=1",
        status=128 + signum, stop=(signum, "preset auto"),
    )  # fmt: skip
    assert done.stderr.count("Stopped. ") == 1 and not (tmp_path / "run").exists()


def test_a_set_is_never_replaced_by_another(launch, dataset, tmp_path):
    """By no program, and before anything is computed; the same command may come again."""
    select = ("select", dataset, "--method=random", "--ipc=1")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, seed in ((first, 0), (second, 1)):
        for _ in range(2):
            launch(*select, f"--seed={seed}", f"--workdir={folder}")
    for folder in (first, second):
        made = condensed.load(folder / "condensed")
        np.savez(folder / "set.npz", images=made.images, labels=made.labels)
    convert = ("convert", dataset, f"--workdir={tmp_path / 'converted'}")
    for _ in range(2):
        launch(*convert, f"--source={first / 'set.npz'}")
    before = (first / "condensed" / "images.npy").read_bytes()
    for refused in (
        (*select, "--seed=1", f"--workdir={first}"),
        (*select, "--ipc=2", f"--workdir={first}"),
        (*select, "--method=herding", f"--workdir={first}", *SMALL, *EXPERTS),
        ("condense", dataset, "--ipc=1", "--method=dm", f"--workdir={first}", *QUICK),
        (*convert, f"--source={second / 'set.npz'}"),
    ):
        done = launch(*refused, status=2)
        assert "choose another" in done.stderr
    assert (first / "condensed" / "images.npy").read_bytes() == before


def test_a_lost_connection_stops_a_run_unless_it_was_told_to_stay(launch, dataset, tmp_path):
    """SIGHUP saves and stops; under nohup it is ignored."""
    command = (
        "condense", dataset, "--ipc=1", "--method=dm", f"--workdir={tmp_path}", *QUICK,
        "--steps=100000", "--log_every=1",
    )  # fmt: skip
    stopped = launch(*command, status=128 + signal.SIGHUP, stop=(signal.SIGHUP, "100000 iter"))
    assert "Stopped. " in stopped.stderr
    code = (
        "import os, signal; from dancejax import stopping\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); stopping.install()\n"
        "os.kill(os.getpid(), signal.SIGHUP); print('still here')"
    )
    assert script(code).stdout == "still here\n"


def script(code: str, send: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a short program, and sends it a signal once it has written a line, and one more."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    first = ""
    if send is not None:
        first = process.stdout.readline()
        time.sleep(0.3)  # it goes on from there
        process.send_signal(send)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(code, process.returncode, first + out, err)


BUSY = "import hashlib, signal, sys, time; from dancejax import stopping\nstopping.install()\n"
BEGUN = "print('begun', flush=True)\n"


@pytest.mark.parametrize("imported", [True, False])
def test_a_stop_in_an_import_ends_it_there(imported, tmp_path):
    """Compiled modules may not stand an exception as they begin; other code is unwound."""
    slow = BEGUN + "try:\n    import time; time.sleep(50)\nfinally: print('unwound')\n"
    (tmp_path / "slow.py").write_text(slow)
    code = f"sys.path.insert(0, {str(tmp_path)!r}); import slow" if imported else slow
    done = script(BUSY + code, signal.SIGTERM)
    assert done.returncode == 128 + signal.SIGTERM and "Traceback" not in done.stderr
    assert ("unwound" in done.stdout) is not imported
    assert ("Stopped. " in done.stderr) is imported  # a program's end says it otherwise


def test_a_stop_does_not_wait_for_what_sees_no_signals():
    """As a compiler, which Python's handlers have to wait for."""
    began = time.monotonic()
    done = script(BUSY + BEGUN + "hashlib.pbkdf2_hmac('sha512', b'', b'', 10**8)", signal.SIGINT)
    assert done.returncode == 128 + signal.SIGINT and "Stopped. " in done.stderr
    assert time.monotonic() - began < 30


def test_a_second_stop_ends_at_once():
    code = BUSY + (
        "from dancejax import runs\n"
        "with runs.stop_on_signals() as stop:\n"
        f"    {BEGUN}"
        "    while not stop.signum: time.sleep(0.01)\n"
        "    signal.raise_signal(signal.SIGTERM); time.sleep(50)\n"
    )
    done = script(code, signal.SIGINT)
    assert done.returncode == 128 + signal.SIGTERM and "Traceback" not in done.stderr


def test_a_stop_in_a_loops_last_steps_stops_the_next():
    code = BUSY + (
        "from dancejax import runs\n"
        "with runs.stop_on_signals() as stop:\n"
        f"    {BEGUN}"
        "    while not stop.signum: time.sleep(0.01)\n"
        "try:\n"
        "    with runs.stop_on_signals(): print('went on')\n"
        "except runs.Interrupted as stopped: print(stopped.signum)\n"
    )
    assert script(code, signal.SIGINT).stdout.split()[1:] == [str(int(signal.SIGINT))]


def test_a_refused_command_leaves_everything_as_it_was(launch, dataset, expert_dir, tmp_path):
    """Neither a new folder nor another config.json in an old one."""
    command = ("condense", dataset, "--ipc=1", f"--expert_dir={expert_dir}", *QUICK)
    new = tmp_path / "a" / "new"
    launch(*command, "--ipc=99", f"--workdir={new}", status=2)
    assert not (tmp_path / "a").exists()
    run = tmp_path / "run"
    launch(*command, f"--workdir={run}")

    def files():
        return {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}

    before = files()
    for flag in ("--batch_real=9", "--seed=3", "--steps=1", "--width=8"):
        launch(*command, f"--workdir={run}", flag, status=2)
    assert before == files()
    # What changes no byte of it is no other run.
    launch(*command, f"--workdir={run}", "--log_every=7", "--checkpoint_seconds=1")


@pytest.mark.slow
def test_sizes_are_chosen_wherever_they_are_needed(launch, tmp_path):
    """A folder of pictures of several sizes, named relative to the home folder, from within it."""
    from PIL import Image

    for number in range(12):
        path = tmp_path / "v1.0" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 40), (number * 20, 0, 99)).save(path)
    home = {"HOME": str(tmp_path)}
    done = launch(
        "select", "--dataset=~/v1.0", "--ipc=1", "--workdir=~/coreset", environment=home
    )  # fmt: skip
    assert "resized and centre-cropped to 32" in done.stderr
    assert condensed.load(tmp_path / "coreset" / "condensed").image_shape == (32, 32, 3)
    dry = launch(
        "condense", "--dataset=~/v1.0", "--ipc=1", "--method=dm", "--dry_run", *SMALL,
        "--repeats=1", environment=home,
    )  # fmt: skip
    assert "runs/v1.0-dm-ipc1\n" in dry.stderr and not (ROOT / "runs" / "v1.0-dm-ipc1").exists()


def test_brackets_in_a_path_are_no_pattern(launch, dataset, tmp_path):
    made = coreset.random(data.load(dataset.partition("=")[2]), 1)
    condensed.save(made, tmp_path / "run[1]" / "condensed")
    done = launch(
        "cross", dataset, f"--condensed={tmp_path}/run[1]/condensed", "--epochs=1", "--repeats=1",
        "--networks=convnet:width=4:depth=2", f"--workdir={tmp_path / 'cross'}",
    )  # fmt: skip
    line = done.stdout.splitlines()[-1].replace("\\", "")  # brackets mean something in Markdown
    assert line.startswith("| run[1] | ") and "+-" not in done.stdout


def test_a_result_that_nothing_takes_is_said(launch, dataset, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = launch("doctor", status=2, stdout="/dev/full")
    assert "standard output" in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("program", ["doctor", "select", "report", "export"])
def test_a_backend_that_is_missing_is_said(program, launch, dataset, tmp_path):
    flags = {
        "doctor": (),
        "select": (dataset, "--ipc=1", f"--workdir={tmp_path / 'run'}"),
        "report": (f"--runs={tmp_path}", f"--workdir={tmp_path / 'run'}"),
        "export": (f"--condensed={tmp_path}", "--formats=png", f"--workdir={tmp_path / 'run'}"),
    }
    done = launch(
        program, *flags[program], environment={"JAX_PLATFORMS": "cuda"},
        status=1 if program == "doctor" else 2,
    )  # fmt: skip
    assert "jax[cuda12]" in done.stderr and done.stderr.count("error: ") == 1


def test_a_table_of_another_version_is_left_out_and_said(launch, dataset, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps([{"method": "dm"}, 3]))
    done = launch(
        "sweep", dataset, "--methods=random", "--ipcs=1", "--epochs=1", "--repeats=1",
        f"--workdir={tmp_path}", *SMALL,
    )  # fmt: skip
    assert "left out" in done.stderr and len(done.stdout.splitlines()) == 3


def test_names_of_programs(launch):
    assert launch("", "--version").stdout.startswith("dancejax ")
    assert "usage: " in launch("", "help").stdout
    assert "--ipc" in launch("", "help", "select").stdout
    assert "--ipc" in launch("select", "-h").stdout
    assert "'condense'" in launch("", "condens", status=2).stderr


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_a_list_of_programs_for_a_reader_that_stops():
    done = subprocess.run(
        f"{sys.executable} -m launch --help | head -n 1; {sys.executable} -m dancejax --version;"
        f"PYTHONIOENCODING=ascii {sys.executable} -m launch nöthing; "
        f"{sys.executable} -m launch --version >&-",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stdout.startswith("usage: ") and "dancejax 0" in done.stdout


def test_a_pool_that_is_too_small_is_said_before_the_work(launch, dataset, expert_dir, tmp_path):
    done = launch(
        "sweep", dataset, "--methods=random,dance", "--ipcs=1", f"--expert_dir={expert_dir}",
        f"--workdir={tmp_path / 'run'}", *SMALL, *EXPERTS, "--experts=3", status=2,
    )  # fmt: skip
    assert "2 finished experts" in done.stderr and not (tmp_path / "run").exists()


def test_a_folder_of_another_program_is_left_as_it_is(launch, dataset, tmp_path):
    """Its config.json and result.json would be replaced."""
    launch("select", dataset, "--ipc=1", f"--workdir={tmp_path}")
    before = (tmp_path / "config.json").read_bytes()
    evaluation = ("evaluate", dataset, f"--condensed={tmp_path}", "--epochs=1", "--repeats=1")
    done = launch(*evaluation, *SMALL, f"--workdir={tmp_path}", status=2)
    assert "a run of select" in done.stderr
    assert (tmp_path / "config.json").read_bytes() == before
    assert not (tmp_path / "evaluation.jsonl").exists()
