"""Runs many launcher commands, each in a fork of one process that has imported everything.

Reads a JSON list of argument lists from standard input; prints a JSON list of [status, stderr].
"""

import json
import os
import runpy
import sys
import tempfile

from dancejax import condense, evaluate, experts, sweep  # noqa: F401


def launch(arguments: list[str]) -> int:
    """Runs a launcher in this process, as its main program; returns its exit status."""
    name, *flags = arguments
    sys.argv = [name, *flags]
    status = 0
    try:
        runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def run(arguments: list[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(launch(arguments))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return status, output.read()


if __name__ == "__main__":
    print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
