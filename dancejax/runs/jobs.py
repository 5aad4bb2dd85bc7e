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
from dancejax.runs.signals import Interrupted, StopFlag, stop_on_signals
from dancejax.types import Json

RECORD = "job.json"
_PAUSE = 0.2
_GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


class Job(NamedTuple):
    """A part of a program that can run alone.

    Attributes:
      name: of the part.
      folder: the part's own; its program holds the folder's lock.
      argv: the command, which depends on the part alone.
      result: a file in the folder that the command writes at its end.
      after: names of the jobs that must be finished before.
    """

    name: str
    folder: Path
    argv: tuple[str, ...]
    result: str
    after: tuple[str, ...] = ()


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


def commands(jobs: Sequence[Job]) -> list[str]:
    """Return a line for a shell for each job, in an order in which they can run."""
    return [shlex.join(job.argv) for job in jobs]


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


def note(path: Path, argv: Sequence[str], **where: str) -> None:
    """Write job.json: the command that was started, and where (default: this process)."""
    folder.write_json(path / RECORD, {"argv": [*argv], **(where or here(os.getpid()))})


def here(process: int) -> dict[str, str]:
    """Return how job.json names a process of this machine."""
    return {"process": str(process), "host": socket.gethostname()}


def running(job: Job) -> bool:
    """Return whether a process works on a job: it has the folder, or was started here for it."""
    return folder.held(job.folder) or process_of(job.folder) is not None


def process_of(path: Path) -> int | None:
    """Return the process that job.json names, if it is on this machine and still there."""
    found = record(path)
    if "process" not in found or found.get("host") != socket.gethostname():
        return None
    number = int(found["process"])
    try:
        os.kill(number, 0)
        words = Path(f"/proc/{number}/cmdline")
        if words.exists() and words.read_bytes().split(b"\0")[1:-1] != [
            os.fsencode(word) for word in found["argv"][1:]
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
    lines = child.last_lines(job.folder, 1)
    last = lines[0] if lines else ""
    if running(job):
        return State(job, "running", last)
    number = found.get("slurm")
    if number in queued:
        word = "running" if queued[number] == "RUNNING" else "queued"
        return State(job, word, f"Slurm {number} {queued[number].lower()}")
    if (job.folder / job.result).exists():
        return State(job, "finished")
    if (job.folder / child.FAILED).exists():
        about = folder.read_json(job.folder / child.FAILED)
        return State(job, "failed", ": ".join([about["reason"], *about["log"][-1:]]))
    if number is not None:
        return State(job, "failed", f"Slurm {number} is over without a result: {last}")
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
    job: Job
    process: "subprocess.Popen[bytes]"
    place: Place


def run(jobs: Sequence[Job], workers: int, *, say: Callable[[str], object]) -> list[State]:
    """Run the jobs that are not finished on this machine, so many at a time.

    A job that fails does so alone. Jobs that another process works on, as one left by an earlier
    call that was killed, are waited for.

    Args:
      jobs: all of them; an order in which they can run.
      workers: how many at a time.
      say: takes what begins and ends, in sentences.

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
                ends[worker.job.name] = end = _ended(worker)
                say(f"{len(ends)}/{len(jobs)} {end.job.name} {end.word} {end.text}".rstrip())
            busy = {worker.job.name for worker in active}
            for job in [j for j in jobs if j.name not in ends and j.name not in busy]:
                if lost := [n for n in job.after if n in ends and ends[n].word == "failed"]:
                    ends[job.name] = State(job, "failed", f"not started: {lost[0]} failed")
                elif not free:
                    break
                elif any(name not in ends for name in job.after) or running(job):
                    continue
                elif finished(job):  # by the process that was waited for
                    ends[job.name] = State(job, "finished")
                else:
                    active.append(_start(job, free.pop(0)))
                    say(f"{job.name} started, {len(active)} at a time; log: {job.folder}")
            time.sleep(_PAUSE)
    return [ends[job.name] for job in jobs]


def _stop_if_asked(stop: StopFlag, active: Sequence[_Worker]) -> None:
    """Hand a signal to the workers, wait until they have saved, and raise Interrupted."""
    if not stop.signum:
        return
    for worker in active:
        worker.process.terminate()
    for worker in active:
        worker.process.wait()
    raise Interrupted(stop.signum)


def _start(job: Job, place: Place) -> _Worker:
    environment = dict(os.environ)
    if place.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = place.gpu
    forget(job)
    with _bound(place.cores):
        process = child.start(job.argv, job.folder, environment)
    note(job.folder, job.argv, **here(process.pid))
    return _Worker(job, process, place)


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


def _ended(worker: _Worker) -> State:
    job, status = worker.job, worker.process.returncode
    if status == 0 and (job.folder / job.result).exists():
        return State(job, "finished")
    child.fail(job.folder, status, "" if status else f"it wrote no {job.result}")
    about = folder.read_json(job.folder / child.FAILED)
    return State(job, "failed", ": ".join([about["reason"], *about["log"][-1:]]))


def cancel(paths: Sequence[Path]) -> list[Path]:
    """Have the processes that job.json names save and stop, on this machine.

    Args:
      paths: folders of jobs, before them that of the process that started the jobs.

    Returns:
      Those where there was such a process.
    """
    found = []
    for path in paths:
        number = process_of(path)
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
                found.append(path)
    return found
