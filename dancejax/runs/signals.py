"""Stop signals inside loops that save: a flag that the loop looks at."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from dancejax import stopping
from dancejax.runs.progress import say


class Interrupted(Exception):
    """A signal asked the run to stop; what was computed is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class StopFlag:
    """Set by SIGINT, SIGTERM and SIGHUP inside `stop_on_signals`; loops look at it each step."""

    signum = 0

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signum:
            raise Interrupted(self.signum)


_FIRST: list[Callable[[], None]] = []


def when_it_begins(first: Callable[[], None]) -> None:
    """Have something done as the next loop begins, when all that can be refused was checked."""
    _FIRST.append(first)


def begin() -> None:
    """Do what `when_it_begins` was given, once."""
    while _FIRST:
        _FIRST.pop(0)()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGINT, SIGTERM and SIGHUP into a flag; a second signal ends the process at once.

    SIGHUP only where it is not ignored, as under nohup. Outside of the main thread signals are
    somebody else's and the flag stays as it is. In a program (`stopping.install`) a signal that
    comes too late for one loop stops the next.

    Raises:
      Interrupted: a signal came too late for the loop before.
    """
    if stopping.pending():
        raise Interrupted(stopping.pending())
    begin()
    flag = StopFlag()
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            # None: a library's, which Python can't put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def handle(signum: int, frame: Any) -> None:
        flag.signum = signum
        say(f"\n{signal.Signals(signum).name}: saving, then stopping")
        restore()

    if threading.current_thread() is threading.main_thread():
        for signum in stopping.listened():
            previous[signum] = signal.signal(signum, handle)
    try:
        with stopping.held():
            yield flag
        if flag.signum:
            stopping.leave_pending(flag.signum)
    finally:
        restore()
