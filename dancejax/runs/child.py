"""A program as a child process: its log, its failure, and a cluster's signals handed to it.

Imports the standard library only: a job of a cluster that unpickles `Child` loads no JAX and holds
no accelerator, which is the child's.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

LOG, FAILED = "log.txt", "failed.json"
LINES = 5
"""Last lines of its log that the record of a failure has."""
LINGER = 120.0
"""Seconds to wait for the cluster's own end of a job whose child it has stopped."""
_PAUSE = 0.2
_CLUSTER = (signal.SIGUSR1, signal.SIGUSR2)
"""Either of them is submitit's."""


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

    @property
    def ended(self) -> bool:
        """Whether its result or its failure is there."""
        return any((self.folder / name).exists() for name in (self.result, FAILED))


class Batch(NamedTuple):
    """Jobs that one process does, one after another.

    Attributes:
      jobs: one or more.
      base: the command of a program with all of them, which does some by their names in --cells.
    """

    jobs: tuple[Job, ...]
    base: tuple[str, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        """The command; a job that is alone has its own."""
        if len(self.jobs) == 1:
            return self.jobs[0].argv
        return (*self.base, f"--cells={','.join(job.name for job in self.jobs)}")

    @property
    def folder(self) -> Path:
        """Where the process has its log."""
        return self.jobs[0].folder

    def left(self) -> "Batch":
        """Those that have neither ended nor failed."""
        return self._replace(jobs=tuple(job for job in self.jobs if not job.ended))

    def after(self, status: int) -> "Batch":
        """Record what the end of the process, with this status, means; return what is to be done.

        It ended in the first job that has no end of its own, which has failed. The others have not
        begun.
        """
        left = self.left().jobs
        if not left and status and len(self.jobs) == 1:
            left = self.jobs  # it broke after its result, which is not to be relied on
        if not left:
            return self._replace(jobs=())
        reason = "" if status else f"it wrote no {left[0].result}"
        fail(left[0].folder, status, reason, log=self.folder)
        return self._replace(jobs=left[1:])


class Child:
    """Programs run as child processes in a job of a cluster, as submitit calls it.

    The child is the program; this process is submitit's, whose handlers listen for the cluster's
    signals. Before the time limit submitit calls `checkpoint`, which has the child save and end,
    and puts the job into the queue again. A child that breaks in one of several jobs is followed by
    another one for the rest.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Do the jobs that have not ended; exit with status 1 if one of them failed."""
        batch = self.batch.left()
        while batch.jobs:
            try:
                status = self._run(batch)
            except RuntimeError as error:  # submitit's, when it does not call again
                fail(batch.left().folder, 1, str(error), log=batch.folder)
                sys.exit(1)
            if status == 128 + signal.SIGTERM:  # the cluster's: it ends this process, too
                time.sleep(LINGER)
            batch = batch.after(status)
        if any((job.folder / FAILED).exists() for job in self.batch.jobs):
            sys.exit(1)

    def _run(self, batch: Batch) -> int:
        """Run a program to its end, and return its status."""
        # Slurm sends its signals to the child, too, which USR2 would kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, _CLUSTER)
        self._process = process = start(batch.argv, batch.folder)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CLUSTER)
        # Neither wait() nor anything else that locks: a handler may come in between.
        while process.poll() is None:
            time.sleep(_PAUSE)
        return process.returncode

    def checkpoint(self) -> object:
        """Have the child save and end; return what submitit is to call next, the same."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._process.pid, signal.SIGTERM)
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Child(self.batch))

    __submitit_checkpoint__ = checkpoint


def start(
    argv: tuple[str, ...], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with its output at the end of the folder's log.

    A terminal's Ctrl-C reaches who started it alone, who hands it on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).unlink(missing_ok=True)
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def fail(folder: Path, status: int, reason: str = "", *, log: Path | None = None) -> None:
    """Record that a program failed: failed.json with its status and the last lines of its log.

    Args:
      folder: of the job.
      status: of the process.
      reason: why ("": by the status).
      log: the folder with the log, if it is another one.
    """
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    about = {"status": status, "reason": reason or ended, "log": last_lines(log or folder)}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FAILED}.tmp"
    temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / FAILED)


def last_lines(folder: Path, count: int = LINES) -> list[str]:
    """Return the last lines of a folder's log that say something; none without a log."""
    try:
        with open(folder / LOG, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2**14))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-count:]
