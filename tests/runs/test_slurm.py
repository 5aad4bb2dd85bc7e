"""Jobs for Slurm: options, submission files and the queue, by commands that stand for Slurm's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dancejax.errors import UserError
from dancejax.runs import jobs, slurm
from dancejax.runs.child import Batch, Child

from .test_jobs import WRITE, job, of_program, quiet

submitit = pytest.importorskip("submitit")


@pytest.mark.parametrize(("text", "minutes"), [
    ("90", 90), ("90:30", 91), ("1:30:00", 90), ("2-0", 2880), ("1-12:30", 2190), ("0-0:0:1", 1),
])  # fmt: skip
def test_time_limits_are_read_as_sbatch_reads_them(text, minutes):
    assert slurm.options(None, [f"time={text}"]).minutes == minutes


def test_options_come_from_a_file_and_from_flags(tmp_path):
    lines = "# ours\n\npartition=gpu\ntime=60\nsetup=module load cuda\nsetup=echo a=b\nexclusive\n"
    (tmp_path / "lines").write_text(lines)
    values = {"partition": "gpu", "time": 60, "setup": ["module load cuda", "echo a=b"],
              "exclusive": True}  # fmt: skip
    (tmp_path / "json").write_text(json.dumps(values))
    for name in ("lines", "json"):
        found = slurm.options(tmp_path / name, ["gpus-per-node=1", "partition=big"])
        assert found.minutes == 60 and found.setup == ("module load cuda", "echo a=b")
        assert found.sbatch == {"partition": "big", "exclusive": True, "gpus_per_node": "1"}


@pytest.mark.parametrize(("lines", "noun"), [
    ([], "time limit"), (["time=soon"], "time limit"), (["time=0"], "no time"),
    (["time=5", "-p gpu=x"], "sbatch"),
])  # fmt: skip
def test_wrong_options(lines, noun):
    with pytest.raises(UserError, match=noun):
        slurm.options(None, lines)


@pytest.mark.parametrize("content", [None, b"\xff", b"{"])
def test_wrong_files(content, tmp_path):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="file"):
        slurm.options(tmp_path / "file", [])


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder with stand-ins for sbatch, squeue, srun and scancel; `queue` is what is queued."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "queue").write_text("")
    scripts = {
        "sbatch": 'n=$(ls {0}/*.submitted 2>/dev/null | wc -l); cp "$1" {0}/$n.submitted; '
        'echo "Submitted batch job 1$n"',
        "squeue": "cat {0}/queue",
        "scancel": 'echo "$@" > {0}/cancelled',
        "srun": "exit 1",
        "scontrol": "echo 'MaxArraySize            = 4'",
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text.format(folder)}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


HOW = slurm.Options(120, ("module load cuda",), {"partition": "gpu", "cpus_per_task": "4"})


def test_cells_are_an_array_that_waits_for_the_experts(tmp_path, commands):
    parts = [job(tmp_path, "experts"), *(job(tmp_path, n, WRITE, ("experts",)) for n in "abc")]

    def submit():
        return slurm.submit(parts, HOW, tmp_path / "slurm", parallel=2, say=quiet)

    assert submit() == parts
    first, second = ((commands / f"{n}.submitted").read_text() for n in (0, 1))
    assert "--array" not in first and "--dependency" not in first
    for line in ("--array=0-2%2", "--dependency=afterok:10", "--time=120", "--partition=gpu",
                 "--kill-on-invalid-dep=yes", "--signal=USR2@90"):  # fmt: skip
        assert f"#SBATCH {line}\n" in second
    assert "\nmodule load cuda\n" in second and "--cpus-per-task=4" in second.splitlines()[-1]
    numbers = [jobs.record(part.folder)["slurm"] for part in parts]
    assert numbers == ["10", "11_0", "11_1", "11_2"]
    (commands / "queue").write_text("10 RUNNING\n11_0 PENDING\n11_2 PENDING\n99 RUNNING\n")
    assert submit() == [parts[2]]  # neither queued nor finished
    assert "--dependency=afterok:10\n" in (commands / "2.submitted").read_text()
    (tmp_path / "experts" / "row.json").write_text("{}")
    (tmp_path / "b" / "row.json").write_text("{}")
    (commands / "queue").write_text("11_0 RUNNING\n")
    assert submit() == [parts[3]]
    assert "--dependency" not in (commands / "3.submitted").read_text()
    assert slurm.cancel(parts) == [parts[1]]
    assert (commands / "cancelled").read_text() == "11_0\n"


@pytest.mark.parametrize("parallel", [None, 2])
def test_arrays_are_no_larger_than_the_cluster_takes(parallel, tmp_path, commands):
    parts = [job(tmp_path, name) for name in "abcdefghi"]
    slurm.submit(parts, HOW, tmp_path / "slurm", parallel=parallel, say=quiet)
    texts = [(commands / f"{n}.submitted").read_text() for n in range(3)]
    assert ["#SBATCH --array=0-3%" in text for text in texts] == [True, True, False]
    waits = ["--dependency=afterany:10\n" in texts[1], "--dependency=afterany:11\n" in texts[2]]
    assert waits == [parallel is not None] * 2 and "--dependency" not in texts[0]
    assert jobs.record(parts[-1].folder)["slurm"] == "12"


def test_what_slurm_says_is_handed_on(tmp_path, commands, capfd):
    said = "sbatch: error: invalid partition specified: nowhere"
    (commands / "sbatch").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    with pytest.raises(UserError, match="refuses the jobs: invalid partition specified: nowhere;"):
        slurm.submit([job(tmp_path, "a")], HOW, tmp_path / "slurm", parallel=None, say=quiet)
    (commands / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: no' >&2\nexit 1\n")
    with pytest.raises(UserError, match="queued"):
        slurm.queued()
    assert capfd.readouterr().err == ""


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch on this machine"):
        slurm.check()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="pip install"):
        slurm.check()


def test_the_callable_loads_no_jax():
    code = "import sys; import dancejax.runs.child; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


ONCE_MORE = (
    "signal.signal(signal.SIGTERM, lambda *_: (open('saved', 'w'), sys.exit(143)));"
    "open('new', 'w').write(str(os.getppid())); os.rename('new', 'parent');"
    "os.path.exists('saved') or time.sleep(60);"
) + WRITE


def local(tmp_path, part, **how):
    executor = submitit.LocalExecutor(folder=tmp_path / "submitit", max_num_timeout=3)
    executor.update_parameters(**how)
    return executor.submit(Child(Batch((part,))))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_saves_at_its_time_limit_and_goes_on(tmp_path):
    part = job(tmp_path, "a", ONCE_MORE)
    submitted = local(tmp_path, part, timeout_min=5)
    wait_for((part.folder / "parent").exists)
    os.kill(int((part.folder / "parent").read_text()), signal.SIGUSR2)
    wait_for((part.folder / "row.json").exists)
    assert submitted.result() is None
    assert (part.folder / "saved").exists() and not (part.folder / "failed.json").exists()


def test_usr2_to_the_whole_job_leaves_the_program_alone(tmp_path):
    """Slurm sends it to every process of a step."""
    part = job(tmp_path, "a", "os.kill(os.getpid(), signal.SIGUSR2); " + WRITE)
    Child(Batch((part,)))()
    assert (part.folder / "row.json").exists()
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_job_that_fails_says_so_in_its_folder(tmp_path):
    part = job(tmp_path, "a", "sys.exit('it is broken')")
    submitted = local(tmp_path, part, timeout_min=5)
    wait_for((part.folder / "failed.json").exists)
    submitted._process.wait(60)
    about = json.loads((part.folder / "failed.json").read_text())
    assert about["reason"] == "exit status 1" and about["log"] == ["it is broken"]
    assert "Traceback" not in (submitted.paths.stderr.read_text())


def test_a_job_of_slurm_does_several_parts_and_one_that_breaks_fails_alone(tmp_path, commands):
    parts, how = of_program(tmp_path, "abc")
    last, _ = of_program(tmp_path, "d", after=("a", "b", "c"))

    def submit(size):
        place = tmp_path / "slurm"
        return slurm.submit([*parts, *last], HOW, place, parallel=None, say=quiet,
                            together=how(size))  # fmt: skip

    assert submit(2) == [*parts, *last]
    first, second = ((commands / f"{n}.submitted").read_text() for n in (0, 1))
    assert "--array=0-1%2\n" in first and "--dependency=afterok:10_0:10_1\n" in second
    assert [jobs.record(part.folder)["slurm"] for part in parts] == ["10_0", "10_0", "10_1"]
    (tmp_path / "a.breaks").touch()
    batch = Batch((*parts,), how(3).base)
    with pytest.raises(SystemExit):
        Child(batch)()
    assert [(part.folder / "row.json").exists() for part in parts] == [False, True, True]
    assert json.loads((tmp_path / "a" / "failed.json").read_text())["log"][-1] == "it is broken"
    (commands / "queue").write_text("10_0 RUNNING\n10_1 PENDING\n11 PENDING\n")
    states = [jobs.state(part, slurm.queued()).word for part in parts]
    assert states == ["failed", "finished", "queued"]
