"""The programs of dancejax.

As a program starts, standard streams that are closed lead nowhere and signals end it cleanly,
before the imports that take seconds.
"""

import os
import sys

from dancejax import stopping

from . import deferred


def _open_streams() -> None:
    """Give closed standard streams a place, before another file takes their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def begin() -> None:
    """Prepare a process that is a program of ours; without effect the second time."""
    _open_streams()
    stopping.install()
    deferred.install()


if sys.argv[:1] == ["-m"]:  # `python -m launch.NAME` is looking for NAME
    begin()
