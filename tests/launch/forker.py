"""Runs launcher commands as programs, each in a fork of one process that has imported everything.

Reads commands from standard input, a JSON list of arguments a line, and answers each with a line,
[status, stdout, stderr].
"""

import json
import os
import runpy
import signal
import sys
import tempfile

from dancejax import condense, evaluate, experts, report, sweep  # noqa: F401

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


def start(arguments: list[str], stdout: int, stderr: int) -> int:
    """Forks a launcher that writes to these files; returns its process id."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        signal.alarm(LONGEST)
        os._exit(launch(arguments))
    return child


def run(arguments: list[str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = start(arguments, out.fileno(), err.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
