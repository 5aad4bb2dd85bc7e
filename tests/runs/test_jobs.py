"""Jobs in their folders: run side by side, failing alone, waited for, told from one another."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dancejax import runs
from dancejax.errors import UserError
from dancejax.runs import child, jobs
from dancejax.runs.jobs import Job

COUNT = "open('starts', 'a').write('x'); "
WRITE = COUNT + "open('row.json', 'w').write('{}')"


def job(folder, name, code=WRITE, after=()):
    """A job that runs Python in its folder."""
    place = folder / name
    code = f"import os, signal, sys, time; os.chdir({str(place)!r}); {code}"
    return Job(name, place, (sys.executable, "-S", "-c", code), "row.json", after)


def words(states):
    return [state.word for state in states]


def starts(of):
    return len((of.folder / "starts").read_text())


def quiet(sentence):
    pass


def test_a_job_that_fails_does_so_alone_and_is_started_again(tmp_path):
    bad = "print('first'); sys.exit('it is broken')"
    parts = [
        job(tmp_path, "experts"),
        job(tmp_path, "bad", bad),
        job(tmp_path, "good", after=("experts",)),
        job(tmp_path, "empty", "pass"),
        job(tmp_path, "late", after=("bad",)),
    ]
    assert words(jobs.run(parts, 2, say=quiet)) == [
        "finished", "failed", "finished", "failed", "failed",
    ]  # fmt: skip
    about = json.loads((tmp_path / "bad" / "failed.json").read_text())
    assert about["status"] == 1 and about["log"] == ["first", "it is broken"]
    assert "row.json" in json.loads((tmp_path / "empty" / "failed.json").read_text())["reason"]
    assert not (tmp_path / "late").exists()
    again = [parts[0], job(tmp_path, "bad"), *parts[2:3], parts[4]]
    assert words(jobs.run(again, 1, say=quiet)) == ["finished"] * 4
    assert [starts(part) for part in again] == [1, 1, 1, 1]
    assert not (tmp_path / "bad" / "failed.json").exists()


def test_what_others_need_is_finished_before_they_start(tmp_path):
    first = job(tmp_path, "first", "time.sleep(0.5); " + WRITE)
    needs = f"assert os.path.exists({str(tmp_path / 'first' / 'row.json')!r}); {WRITE}"
    parts = [first, *(job(tmp_path, name, needs, ("first",)) for name in "ab")]
    assert words(jobs.run(parts, 3, say=quiet)) == ["finished"] * 3


def test_a_job_of_another_command_is_not_taken_for_finished(tmp_path):
    jobs.run([job(tmp_path, "a")], 1, say=quiet)
    other = job(tmp_path, "a", "5; " + WRITE)
    assert not jobs.finished(other)
    jobs.run([other], 1, say=quiet)
    assert jobs.finished(other) and starts(other) == 2


def test_a_job_left_by_a_killed_call_is_waited_for(tmp_path):
    part = job(tmp_path, "a", COUNT + "time.sleep(1); open('row.json', 'w').write('{}')")
    with child.start(part.argv, part.folder) as left:
        jobs.note(part.folder, part.argv, **jobs.here(left.pid))
        assert jobs.state(part, {}).word == "running"
        assert words(jobs.run([part], 1, say=quiet)) == ["finished"]
    assert starts(part) == 1


def test_a_folder_that_is_held_is_running_and_one_that_is_let_go_is_not(tmp_path):
    part = job(tmp_path, "a")
    part.folder.mkdir()
    assert jobs.state(part, {}).word == "waiting"
    with runs.lock(part.folder):
        assert jobs.state(part, {}).word == "running"
    assert jobs.state(part, {}).word == "waiting"


def test_a_number_that_another_process_has_now_is_nobody(tmp_path):
    jobs.note(tmp_path, ["python", "another", "program"], **jobs.here(os.getpid()))
    assert jobs.process_of(tmp_path) is None
    jobs.note(tmp_path, sys.orig_argv, **jobs.here(os.getpid()))
    assert jobs.process_of(tmp_path) == os.getpid()
    jobs.note(tmp_path, sys.orig_argv, process=str(os.getpid()), host="elsewhere")
    assert jobs.process_of(tmp_path) is None


def test_states_of_jobs_on_a_cluster(tmp_path):
    part = job(tmp_path, "a")
    part.folder.mkdir()
    jobs.note(part.folder, part.argv, slurm="7_1")
    assert jobs.state(part, {"7_1": "PENDING"})[1:] == ("queued", "Slurm 7_1 pending")
    assert jobs.state(part, {"7_1": "RUNNING"}).word == "running"
    assert jobs.state(part, {"7_0": "RUNNING"}).word == "failed"
    (part.folder / "row.json").write_text("{}")
    assert jobs.state(part, {}).word == "finished"


@pytest.mark.parametrize(("workers", "shares"), [
    (1, [(0, 1, 2, 5)]), (2, [(0, 2), (1, 5)]), (3, [(0, 5), (1,), (2,)]),
    (5, [(0,), (1,), (2,), (5,), (0,)]),
])  # fmt: skip
def test_workers_share_the_cores(workers, shares, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 0, 1, 2}, raising=False)
    monkeypatch.setattr(jobs, "gpus", list)
    assert [place.cores for place in jobs.places(workers)] == shares


def test_workers_have_a_gpu_each(monkeypatch):
    monkeypatch.setattr(jobs.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    assert [place.gpu for place in jobs.places(2)] == ["3", "5"]
    with pytest.raises(UserError, match="GPUs"):
        jobs.places(3)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert [place.gpu for place in jobs.places(3)] == [None] * 3


DRIVER = """
import signal, sys
from pathlib import Path
from dancejax import runs
from dancejax.runs import jobs
from tests.runs.test_jobs import job, SAVES
try:
    jobs.run([job(Path(sys.argv[1]), name, SAVES) for name in "ab"], 2, say=print)
except runs.Interrupted as stopped:
    sys.exit(100 + stopped.signum)
"""
SAVES = (
    "save = lambda *_: (time.sleep(0.3), open('saved', 'w'), sys.exit(143));"
    "signal.signal(signal.SIGTERM, save); open('ready', 'w'); time.sleep(60)"
)


def wait_for(*paths):
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_signal_is_handed_to_the_jobs_which_save(tmp_path):
    root = str(jobs.Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], cwd=root, stderr=subprocess.PIPE, text=True
    ) as driver:
        wait_for(tmp_path / "a" / "ready", tmp_path / "b" / "ready")
        driver.send_signal(signal.SIGTERM)
        _, text = driver.communicate(timeout=60)
    assert driver.returncode == 100 + signal.SIGTERM, text
    assert "Traceback" not in text
    for name in "ab":
        assert (tmp_path / name / "saved").exists()
        assert not (tmp_path / name / "failed.json").exists()


def test_cancel_stops_the_processes_that_are_left(tmp_path):
    part = job(tmp_path, "a", SAVES)
    with child.start(part.argv, part.folder) as left:
        jobs.note(part.folder, part.argv, **jobs.here(left.pid))
        wait_for(part.folder / "ready")
        assert jobs.cancel([tmp_path, part.folder]) == [part.folder]
    assert (part.folder / "saved").exists()
    assert jobs.cancel([part.folder]) == []


PROGRAM = """
import sys
from pathlib import Path
root = Path(sys.argv[1])
print("starts", sys.argv[2])
for name in sys.argv[2].removeprefix("--cells=").split(","):
    folder = root / name
    folder.mkdir(exist_ok=True)
    with open(folder / "starts", "a") as file:
        file.write("x")
    if (root / f"{name}.breaks").exists():
        sys.exit("it is broken")
    if (root / f"{name}.fails").exists():
        (folder / "failed.json").write_text('{"status": 2, "reason": "no", "log": []}')
        continue
    (folder / "row.json").write_text("{}")
sys.exit(any((root / f"{name}.fails").exists() for name in "abcdefg"))
"""


def of_program(root, names, after=()):
    """Jobs of one program, which does several of them, and how many of them at a time."""
    base = (sys.executable, "-S", "-c", PROGRAM, str(root))
    made = [Job(n, root / n, (*base, f"--cells={n}"), "row.json", after) for n in names]
    return made, lambda size: jobs.Together(size, base)


def grouped(batches):
    return [[job.name for job in batch.jobs] for batch in batches]


def test_jobs_of_a_process_wait_for_the_same_and_the_same_wait_for_them(tmp_path):
    first, how = of_program(tmp_path, "abc")
    second, _ = of_program(tmp_path, "def", after=("b",))
    every = [*first, *second]
    assert grouped(jobs.batches(every, every, how(2))) == [["a", "c"], ["b"], ["d", "e"], ["f"]]
    assert grouped(jobs.batches(every, every)) == [[name] for name in "abcdef"]
    assert grouped(jobs.batches([first[2], second[0]], every, how(9))) == [["c"], ["d"]]
    lines = jobs.commands(every, how(2))
    assert [line.rpartition("=")[2] for line in lines] == ["a,c", "b", "d,e", "f"]


def test_one_process_does_several_jobs_and_each_is_finished(tmp_path):
    parts, how = of_program(tmp_path, "abcde")
    said = []
    assert words(jobs.run(parts, 2, say=said.append, together=how(2))) == ["finished"] * 5
    assert [starts(part) for part in parts] == [1] * 5
    assert sum("started" in sentence for sentence in said) == 3
    assert all(map(jobs.finished, parts))  # with the command of each, alone or not
    assert jobs.log_folder(parts[1]) == tmp_path / "a" and not (tmp_path / "b/log.txt").exists()
    assert words(jobs.run(parts, 2, say=quiet)) == ["finished"] * 5
    assert [starts(part) for part in parts] == [1] * 5


def test_what_breaks_within_a_process_fails_alone(tmp_path):
    parts, how = of_program(tmp_path, "abcdef")
    for name in ("b.breaks", "d.fails"):
        (tmp_path / name).touch()
    expected = ["finished", "failed", "finished", "failed", "finished", "finished"]
    assert words(jobs.run(parts, 1, say=quiet, together=how(4))) == expected
    about = [json.loads((tmp_path / name / "failed.json").read_text()) for name in "bd"]
    assert about[0]["reason"] == "exit status 1" and about[0]["log"][-1] == "it is broken"
    assert about[1]["reason"] == "no"
    (tmp_path / "b.breaks").unlink()
    (tmp_path / "d.fails").unlink()
    assert words(jobs.run(parts, 1, say=quiet, together=how(4))) == ["finished"] * 6
    assert [starts(part) for part in parts] == [1, 2, 1, 2, 1, 1]


def test_jobs_that_a_process_has_not_begun_are_queued(tmp_path):
    parts = [job(tmp_path, name) for name in "abc"]
    sleeps = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    batch = child.Batch(tuple(parts), sleeps)
    for part in parts:
        jobs.forget(part)
    with child.start(batch.argv, batch.folder) as process:
        jobs.note_all(batch, **jobs.here(process.pid))
        (parts[0].folder / "row.json").write_text("{}")
        with runs.lock(parts[1].folder):
            states = [jobs.state(part, {}) for part in parts]
            assert words(states) == ["finished", "running", "queued"]
        assert [jobs.running(part) for part in parts] == [False, True, True]
        assert jobs.cancel([part.folder for part in parts]) == [part.folder for part in parts]
    assert words(jobs.state(part, {}) for part in parts) == ["finished", "waiting", "waiting"]
