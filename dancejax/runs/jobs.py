"""Parts of a program that run as jobs, each in its own folder: what is left of them, and here.

A job is a command; that it is finished is a file that the command writes. All state is in the jobs'
folders: job.json (the command that was started, and where), log.txt, failed.json. Whoever starts
the jobs may die at any moment: the next one reads the folders and goes on. `run` uses this machine,
`dancejax.runs.slurm` a cluster.
"""

import contextlib
import importlib.util
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dancejax.errors import UserError
from dancejax.runs import child, folder
from dancejax.runs.child import Batch, Job as Job
from dancejax.runs.signals import Interrupted, StopFlag, stop_on_signals
from dancejax.types import Json

RECORD = "job.json"
_PAUSE = 0.2
_GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


class State(NamedTuple):
    """Where a job stands.

    Attributes:
      job: which.
      word: "waiting", "queued", "running", "failed" or "finished".
      text: what there is to say beside, "" for nothing.
    """

    job: Job
    word: str
    text: str = ""


class Together(NamedTuple):
    """How many jobs one process does, one after another.

    Attributes:
      size: at most so many.
      base: the command of a program with all jobs, which does some by their names in --cells.
    """

    size: int = 1
    base: tuple[str, ...] = ()


ALONE = Together()


def batches(todo: Sequence[Job], every: Sequence[Job], how: Together = ALONE) -> list[Batch]:
    """Group jobs that wait for the same ones, and that the same ones wait for.

    Args:
      todo: jobs, in an order in which they can run.
      every: those that may wait for them, too.
      how: how many a group has.
    """
    groups: dict[tuple[tuple[str, ...], ...], list[Job]] = {}
    for job in todo:
        waiting = tuple(other.name for other in every if job.name in other.after)
        groups.setdefault((job.after, waiting), []).append(job)
    size = how.size
    parts = [own[n : n + size] for own in groups.values() for n in range(0, len(own), size)]
    place = {job.name: number for number, job in enumerate(todo)}
    parts.sort(key=lambda part: place[part[0].name])
    return [Batch(tuple(part), how.base) for part in parts]


def commands(jobs: Sequence[Job], how: Together = ALONE) -> list[str]:
    """Return lines for a shell that do the jobs, in an order in which they can run."""
    return [shlex.join(batch.argv) for batch in batches(jobs, jobs, how)]


def record(path: Path) -> Json:
    """Return what job.json says of a job's folder; {} where it was never started, or by hand."""
    try:
        found = folder.read_json(path / RECORD)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def finished(job: Job) -> bool:
    """Return whether a job's result is there, of the same command."""
    return (job.folder / job.result).exists() and record(job.folder).get("argv") == [*job.argv]


def forget(job: Job) -> None:
    """Remove what an earlier command of a job has left: it is started again."""
    job.folder.mkdir(parents=True, exist_ok=True)
    for name in (child.FAILED, job.result):
        (job.folder / name).unlink(missing_ok=True)


def note(path: Path, argv: Sequence[str], **where: object) -> None:
    """Write job.json: the command that was started, and where (default: this process)."""
    folder.write_json(path / RECORD, {"argv": [*argv], **(where or here(os.getpid()))})


def note_all(batch: Batch, **where: str) -> None:
    """Write job.json of jobs that a process does: of several, its command and its log, too."""
    shared = {"started": [*batch.argv], "log": os.fspath(batch.folder)}
    for job in batch.jobs:
        note(job.folder, job.argv, **where, **(shared if len(batch.jobs) > 1 else {}))


def log_folder(job: Job) -> Path:
    """Return where the log of a job is: its folder, or that of one that it is done with."""
    return Path(record(job.folder).get("log", job.folder))


def here(process: int) -> dict[str, str]:
    """Return how job.json names a process of this machine."""
    return {"process": str(process), "host": socket.gethostname()}


def running(job: Job) -> bool:
    """Return whether a process works on a job: it has the folder, or was started here for it."""
    if folder.held(job.folder):
        return True
    passed = "started" in record(job.folder) and job.ended  # it works on others now
    return not passed and process_of(job.folder) is not None


def process_of(path: Path) -> int | None:
    """Return the process that job.json names, if it is on this machine and still there."""
    found = record(path)
    if "process" not in found or found.get("host") != socket.gethostname():
        return None
    number = int(found["process"])
    started = found["started"] if "started" in found else found["argv"]
    try:
        os.kill(number, 0)
        words = Path(f"/proc/{number}/cmdline")
        if words.exists() and words.read_bytes().split(b"\0")[1:-1] != [
            os.fsencode(word) for word in started[1:]
        ]:
            return None  # another process has the number now
    except OSError:
        return None
    return number


def state(job: Job, queued: dict[str, str]) -> State:
    """Return where a job stands, by its folder.

    Args:
      job: which.
      queued: states of jobs that a cluster has, by their numbers there.
    """
    found = record(job.folder)
    lines = child.last_lines(log_folder(job), 1)
    last = lines[0] if lines else ""
    number, shared = found.get("slurm"), "started" in found
    if folder.held(job.folder) or (not shared and running(job)):
        return State(job, "running", last)
    if not (shared and job.ended):
        if running(job):
            return State(job, "queued", "in a process that does others before")
        if number in queued:
            word = "running" if queued[number] == "RUNNING" else "queued"
            return State(job, word, f"Slurm {number} {queued[number].lower()}")
    if (job.folder / job.result).exists():
        return State(job, "finished")
    if (job.folder / child.FAILED).exists():
        about = folder.read_json(job.folder / child.FAILED)
        return State(job, "failed", ": ".join([about["reason"], *about["log"][-1:]]))
    if number is not None:
        why = last or "no log, so that it was cancelled early or its node does not see this folder"
        return State(job, "failed", f"Slurm {number} is over without a result: {why}")
    return State(job, "waiting", last)


class Place(NamedTuple):
    """A worker's share of this machine.

    Attributes:
      cores: numbers of the cores it may use; none where the system does not bind to cores.
      gpu: the one it may use; None where there are none.
    """

    cores: tuple[int, ...]
    gpu: str | None = None


def places(count: int) -> list[Place]:
    """Divide this machine among workers: a GPU each, or else the cores.

    Raises:
      UserError: there are fewer GPUs than workers.
    """
    usable = getattr(os, "sched_getaffinity", lambda _: ())
    cores, found = sorted(usable(0)), gpus()
    if found and count > len(found):
        raise UserError(
            f"--parallel={count} needs as many GPUs, there are {len(found)}; give "
            f"--parallel={len(found)}, or JAX_PLATFORMS=cpu for workers without."
        )
    shares = [cores[n::count] or cores[n % len(cores) :][:1] if cores else [] for n in range(count)]
    return [Place(tuple(shares[n]), found[n] if found else None) for n in range(count)]


def gpus() -> list[str]:
    """Return the NVIDIA GPUs that JAX would use here, as CUDA_VISIBLE_DEVICES names them."""
    wanted = os.environ.get("JAX_PLATFORMS", "").split(",")
    if wanted != [""] and not {"cuda", "gpu"} & {*wanted}:
        return []
    if not any(map(importlib.util.find_spec, _GPU_PLUGINS)):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(n) for n, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU")]


class _Worker(NamedTuple):
    batch: Batch
    process: "subprocess.Popen[bytes]"
    place: Place


def run(
    jobs: Sequence[Job], workers: int, *, say: Callable[[str], object], together: Together = ALONE
) -> list[State]:
    """Run the jobs that are not finished on this machine, so many processes at a time.

    A job that fails does so alone. Jobs that another process works on, as one left by an earlier
    call that was killed, are waited for.

    Args:
      jobs: all of them; an order in which they can run.
      workers: how many processes at a time.
      say: takes what begins and ends, in sentences.
      together: how many jobs a process does.

    Returns:
      Where each job stands at the end, "finished" or "failed".

    Raises:
      Interrupted: a signal came; it was handed to the jobs, which have saved.
    """
    free, active = places(workers), list[_Worker]()
    ends = {job.name: State(job, "finished") for job in jobs if finished(job)}
    if ends:
        say(f"{len(ends)} of {len(jobs)} are finished already")
    with stop_on_signals() as stop:
        while len(ends) < len(jobs):
            _stop_if_asked(stop, active)
            for worker in [w for w in active if w.process.poll() is not None]:
                active.remove(worker)
                free.append(worker.place)
                for end in _ended(worker):
                    ends[end.job.name] = end
                    say(f"{len(ends)}/{len(jobs)} {end.job.name} {end.word} {end.text}".rstrip())
            busy = {job.name for worker in active for job in worker.batch.jobs}
            ready = _ready([j for j in jobs if j.name not in busy], ends) if free else []
            for batch in batches(ready, jobs, together)[: len(free)]:
                active.append(_start(batch, free.pop(0)))
                names = ", ".join(job.name for job in batch.jobs)
                say(f"{names} started, {len(active)} at a time; log: {batch.folder}")
            time.sleep(_PAUSE)
    return [ends[job.name] for job in jobs]


def _ready(jobs: Sequence[Job], ends: dict[str, State]) -> list[Job]:
    """Those of the jobs that can start now; notes in `ends` those that need not or never can."""
    ready = []
    for job in [job for job in jobs if job.name not in ends]:
        if lost := [n for n in job.after if n in ends and ends[n].word == "failed"]:
            ends[job.name] = State(job, "failed", f"not started: {lost[0]} failed")
        elif any(name not in ends for name in job.after) or running(job):
            continue
        elif finished(job):  # by the process that was waited for
            ends[job.name] = State(job, "finished")
        else:
            ready.append(job)
    return ready


def _stop_if_asked(stop: StopFlag, active: Sequence[_Worker]) -> None:
    """Hand a signal to the workers, wait until they have saved, and raise Interrupted."""
    if not stop.signum:
        return
    for worker in active:
        worker.process.terminate()
    for worker in active:
        worker.process.wait()
    raise Interrupted(stop.signum)


def _start(batch: Batch, place: Place) -> _Worker:
    environment = dict(os.environ)
    if place.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = place.gpu
    for job in batch.jobs:
        forget(job)
    with _bound(place.cores):
        process = child.start(batch.argv, batch.folder, environment)
    note_all(batch, **here(process.pid))
    return _Worker(batch, process, place)


@contextlib.contextmanager
def _bound(cores: Sequence[int]) -> Iterator[None]:
    """Bind what is started in the body to some cores, where the system can."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ended(worker: _Worker) -> list[State]:
    """Where the jobs of a process stand that has ended, without those that it has not begun."""
    rest = {job.name for job in worker.batch.after(worker.process.returncode).jobs}
    found = []
    for job in [job for job in worker.batch.jobs if job.name not in rest]:
        if (job.folder / child.FAILED).exists():
            about = folder.read_json(job.folder / child.FAILED)
            text = ": ".join([about["reason"], *about["log"][-1:]])
            found.append(State(job, "failed", text))
        else:
            found.append(State(job, "finished"))
    return found


def cancel(paths: Sequence[Path]) -> list[Path]:
    """Have the processes that job.json names save and stop, on this machine.

    Args:
      paths: folders of jobs, before them that of the process that started the jobs.

    Returns:
      Those where there was such a process.
    """
    numbers = {path: process_of(path) for path in paths}
    for number in {number for number in numbers.values() if number is not None}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    return [path for path, number in numbers.items() if number is not None]
