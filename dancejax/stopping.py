"""Stop signals in programs: a clean end wherever they come, after saving inside loops that save.

Imports the standard library only, so that a program can call `install` before its long imports.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
GRACE_SECONDS = 2.0
"""How long the main thread may take to end, as when a compiler keeps it from seeing the signal."""
SENTENCE = "Stopped. What is finished is saved; give the same command again to go on."


class Stopped(SystemExit):
    """A stop signal outside of the loops that save. Uncaught, it ends the program quietly."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class _Program:
    """What the handler, its watching thread and the loops know of one another."""

    def __init__(self) -> None:
        self.installed = False
        self.loops = 0
        self.pending = 0
        self.said = False


_program = _Program()


def install() -> None:
    """End the program on SIGINT, SIGTERM and SIGHUP from here on, with status 128 + the signal.

    The first signal raises `Stopped` in the main thread, or sets the flag of a loop that saves
    (`held`). In an import it ends the process where it stands, for an exception there can crash
    compiled modules. A second one ends the process at once, and so does the first where the main
    thread does not get to it. Without effect the second time and outside of the main thread.
    """
    if _program.installed or threading.current_thread() is not threading.main_thread():
        return
    _program.installed = True
    handled = listened()
    for signum in handled:
        signal.signal(signum, _raise)
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read, handled), daemon=True).start()
    sys.unraisablehook = _unraisable


def listened() -> list[int]:
    """Return the signals that stop a program: not SIGHUP where it is ignored, as under nohup."""
    return [
        signum
        for signum in SIGNALS
        if signum.name != "SIGHUP" or signal.getsignal(signum) != signal.SIG_IGN
    ]


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Mark a loop that looks at its own stop flag: the process is not ended by the first signal."""
    _program.loops += 1
    try:
        yield
    finally:
        _program.loops -= 1


def pending() -> int:
    """Return the signal that a loop of this program has seen, but not obeyed; else 0."""
    return _program.pending


def leave_pending(signum: int) -> None:
    """Remember a signal that came in a loop's last steps, for the program's next loop."""
    if _program.installed:
        _program.pending = signum


def say(sentence: str = SENTENCE) -> None:
    """Write on stderr, once for the process, that it was stopped."""
    if not _program.said:
        _program.said = True
        with contextlib.suppress(OSError):
            os.write(2, f"{sentence}\n".encode())


def _raise(signum: int, frame: FrameType | None) -> None:
    if _importing(frame):
        say()
        os._exit(128 + signum)
    raise Stopped(signum)


def _importing(frame: FrameType | None) -> bool:
    """Whether a frame is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def _watch(read: int, handled: list[int]) -> None:
    """End the process at a second signal, or if the main thread does not end after the first."""
    seen = 0
    while data := os.read(read, 1):
        if data[0] not in handled:
            continue
        seen += 1
        if seen > 1:
            os._exit(128 + data[0])
        if not _program.loops:
            threading.Thread(target=_end_later, args=(data[0],), daemon=True).start()


def _end_later(signum: int) -> None:
    time.sleep(GRACE_SECONDS)
    say()
    os._exit(128 + signum)


def _unraisable(about: Any) -> None:
    """End a program that was stopped inside of a callback, where Python drops exceptions."""
    if isinstance(about.exc_value, Stopped):
        say()
        os._exit(128 + about.exc_value.signum)
    sys.__unraisablehook__(about)
