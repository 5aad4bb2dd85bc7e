"""Runs launcher commands as programs, each in a fork of one process that has imported everything.

Reads commands from standard input, the arguments of `run` as JSON a line, and answers each with a
line, [status, stdout, stderr].
"""

import importlib
import json
import os
import pkgutil
import runpy
import signal
import sys
import tempfile
import time
from typing import TextIO

import jax
import matplotlib.pyplot  # noqa: F401
import PIL.Image  # noqa: F401
import sklearn.manifold  # noqa: F401

import dancejax
from launch import common, flagtypes, guard  # noqa: F401

for module in pkgutil.walk_packages(dancejax.__path__, "dancejax."):
    if module.name.rpartition(".")[2] != "__main__":
        importlib.import_module(module.name)  # the rooms import their modules only when asked

LONGEST = 300
"""Seconds until a command is taken for stuck."""


def launch(arguments: list[str]) -> int:
    """Runs a launcher in this process, as its main program; returns its exit status."""
    name, *flags = arguments
    sys.argv = [name, *flags]
    status = 0
    try:
        runpy.run_module(
            f"launch.{name}" if name else "launch", run_name="__main__", alter_sys=True
        )
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def start(
    arguments: list[str],
    stdout: int,
    stderr: int,
    environment: dict[str, str] | None = None,
    folder: str = ".",
) -> int:
    """Forks a launcher that writes to these files; returns its process id."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        signal.alarm(LONGEST)
        os.environ.update(environment or {})
        if environment and "JAX_PLATFORMS" in environment:  # read when it was imported
            jax.config.update("jax_platforms", environment["JAX_PLATFORMS"])
        os._exit(launch(arguments))
    return child


def send_once(child: int, signum: int, once: str, said: TextIO) -> None:
    """Sends a signal as soon as the child has said a text, or made the file of that path."""
    deadline = time.monotonic() + LONGEST
    while (
        time.monotonic() < deadline
        and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        said.seek(0)
        if once in said.read() or os.path.exists(once):
            os.kill(child, signum)
            return
        time.sleep(0.01)


def run(
    arguments: list[str],
    stdout: str | None = None,
    environment: dict[str, str] | None = None,
    stop: tuple[int, str] | None = None,
    folder: str = ".",
) -> tuple[int, str, str]:
    """(status, stdout, stderr). stdout: a file that takes it. stop: (signal, the text or path of
    `send_once`). folder: to run in."""
    with tempfile.TemporaryFile("w+") as out, tempfile.NamedTemporaryFile("w+") as err:
        target = os.open(stdout, os.O_WRONLY) if stdout else out.fileno()
        child = start(arguments, target, err.fileno(), environment, folder)
        if stop is not None:
            with open(err.name) as said:  # a place in the file of its own
                send_once(child, *stop, said)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
