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

LOG, FAILED = "log.txt", "failed.json"
LINES = 5
"""Last lines of its log that the record of a failure has."""
LINGER = 120.0
"""Seconds to wait for the cluster's own end of a job whose child it has stopped."""
_PAUSE = 0.2
_CLUSTER = (signal.SIGUSR1, signal.SIGUSR2)
"""Either of them is submitit's."""


class Child:
    """A program run as a child process in a job of a cluster, as submitit calls it.

    The child is the program; this process is submitit's, whose handlers listen for the cluster's
    signals. Before the time limit submitit calls `checkpoint`, which has the child save and end,
    and puts the job into the queue again.
    """

    def __init__(self, argv: tuple[str, ...], folder: str) -> None:
        self.argv, self.folder = argv, folder
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the program to its end; exit with its status where that is not 0."""
        folder = Path(self.folder)
        # Slurm sends its signals to the child, too, which USR2 would kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, _CLUSTER)
        self._process = process = start(self.argv, folder)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _CLUSTER)
            # Neither wait() nor anything else that locks: a handler may come in between.
            while process.poll() is None:
                time.sleep(_PAUSE)
            status = process.returncode
            if status == 128 + signal.SIGTERM:  # the cluster's: it ends this process, too
                time.sleep(LINGER)
        except RuntimeError as error:  # submitit's, when it does not call again
            fail(folder, 1, str(error))
            sys.exit(1)
        if status:
            fail(folder, status)
            sys.exit(1)

    def checkpoint(self) -> object:
        """Have the child save and end; return what submitit is to call next, the same."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._process.pid, signal.SIGTERM)
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Child(self.argv, self.folder))

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


def fail(folder: Path, status: int, reason: str = "") -> None:
    """Record that a program failed: failed.json with its status and the last lines of its log."""
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    about = {"status": status, "reason": reason or ended, "log": last_lines(folder)}
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
