"""A run's folder: settings, metrics and results as JSON; progress on stderr; stopping."""

import contextlib
import errno
import glob
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from dancejax import parallel, paths, stopping
from dancejax.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


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


def say(text: str) -> None:
    """Write a line to stderr. Where nothing takes it any more, as a lost connection, drop it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def check_workdir(path: str | os.PathLike[str]) -> Path:
    """Return a run's folder as an absolute path, without making it.

    Raises:
      UserError: it can't be made or written to, or another process has it.
    """
    workdir = paths.expand(path, "the work folder").absolute()
    try:
        there = next(p for p in (workdir, *workdir.parents) if p.exists())
        reason = ""
        if not there.is_dir():
            reason = os.strerror(errno.ENOTDIR)
        elif not os.access(there, os.W_OK | os.X_OK):
            reason = os.strerror(errno.EACCES)
        elif workdir.exists():
            held = lock(workdir) if (workdir / ".lock").exists() else None
            if held is not None:
                held.close()
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UserError(
            f"cannot write to the folder {workdir} ({reason}); choose another --workdir."
        )
    return workdir


def open_workdir(path: str | os.PathLike[str]) -> Path:
    """Makes a run's folder; raises UserError if it can't be made or written to."""
    workdir = paths.expand(path, "the work folder").absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.write_text("")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to the folder {workdir} ({error.strerror}); choose another --workdir."
        ) from error
    return workdir


def lock(workdir: Path) -> TextIO | None:
    """Keeps other processes of this machine out of a folder as long as what it returns is open.

    The system lets go when the process ends, however it ends. Raises UserError if another process
    has the folder. None where there are no such locks, and for all but the first of several
    processes.
    """
    if fcntl is None or not parallel.is_primary():
        return None
    try:
        file = open(workdir / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"cannot write to the folder {workdir} ({error.strerror}); choose another --workdir."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{workdir} is in use by {owner}; wait for it, stop it, or choose another --workdir."
        ) from error
    except OSError:  # a file system without locks
        file.close()
        return None
    with contextlib.suppress(OSError):  # a full disk: the lock holds, only its owner's name is lost
        # Past the buffer, whose content would be written again, and fail again, as the file closes.
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()}\n".encode())
    return file


def check_space(folder: Path, needed: float) -> None:
    """Raises UserError if a folder's disk has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 2**20:.0f} MB left, about {needed / 2**20:.0f} MB are needed; "
            "make room or choose another --workdir."
        )


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically: the file is either the old one or the new one, whole."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically; raises UserError with the reason if the system refuses.

    With several processes the first one writes.
    """
    if not parallel.is_primary():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            stale.unlink(missing_ok=True)  # of a process that was killed while it wrote
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}); make room or choose another folder."
        ) from error
    finally:  # a stop, too, may come in between
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Reads JSON; raises UserError if the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; check the path.") from error
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: it is not valid JSON.") from error


class MetricsLog:
    """metrics.jsonl: one JSON object a line, with its `step`. Without a folder it drops lines.

    tensorboard: write events into the folder tensorboard, too. Raises UserError where the package
    for that is missing.
    """

    def __init__(self, workdir: Path | None, *, tensorboard: bool = False) -> None:
        self._path = workdir / "metrics.jsonl" if workdir and parallel.is_primary() else None
        self._events: _Events | None = None
        if tensorboard and self._path is not None:
            self._events = _Events(self._path.parent / "tensorboard")

    def rewind(self, kind: str, step: int) -> None:
        """Drops this kind's lines after `step` and a torn last line: the run goes on from there."""
        if self._path is None or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
                continue
            if entry.get("kind") != kind or entry["step"] <= step:
                kept.append(line + "\n")
        write_bytes(self._path, "".join(kept).encode())

    def write(self, kind: str, step: int, **values: Any) -> None:
        if self._path is None:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            if self._events is not None:
                self._events.write(kind, step, values)
        except OSError as error:
            raise UserError(
                f"cannot write to {self._path.parent} ({error.strerror}); make room, or choose "
                "another --workdir."
            ) from error

    def close(self) -> None:
        """Ends the events for TensorBoard."""
        if self._events is not None:
            with contextlib.suppress(OSError):  # each line was flushed when it was written
                self._events.close()


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 2 h 47 min, 13 d 21 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


class _Events:
    """A file of events for TensorBoard, written at once and not by a thread, which would hang
    where the disk is full. Raises UserError where tensorboardX is missing."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import event_file_writer, summary
        except ImportError as error:
            raise UserError(
                "--tensorboard needs the package tensorboardX; pip install tensorboardX."
            ) from error
        self._modules = event_file_writer.event_pb2, summary
        try:
            folder.mkdir(exist_ok=True)
            self._writer = event_file_writer.EventsWriter(str(folder / "events"))
        except OSError as error:
            raise UserError(
                f"cannot write to {folder} ({error.strerror}); make room, or choose another "
                "--workdir."
            ) from error

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write scalars as KIND/NAME; raises OSError."""
        event_pb2, summary = self._modules
        for name, value in values.items():
            event = event_pb2.Event(summary=summary.scalar(f"{kind}/{name}", value))
            event.step, event.wall_time = step, time.time()
            self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        """End the file; raises OSError."""
        self._writer.close()


class Progress:
    """A bar with rate and time left on a terminal; elsewhere lines now and then and at the end."""

    def __init__(self, name: str, total: int, *, start: int = 0, enabled: bool = True) -> None:
        self._bar: Any = None
        self._enabled = enabled = enabled and parallel.is_primary()
        self._name, self._total, self._done, self._start = name, total, start, start
        self._text = ""
        self._began = self._last = time.monotonic()
        if enabled and sys.stderr is not None and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=start, desc=name, dynamic_ncols=True)

    def update(self, done: int, **values: float) -> None:
        """Shows that `done` of the total are done, with the newest values beside."""
        steps, self._done = done - self._done, done
        if values:
            self._text = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
        if self._bar is not None:
            with contextlib.suppress(OSError):  # the terminal is gone
                self._bar.set_postfix_str(self._text, refresh=False)
                self._bar.update(steps)
        elif self._enabled and time.monotonic() - self._last > 30:
            self._print()

    @property
    def done(self) -> int:
        """How many of the total are done."""
        return self._done

    def _print(self) -> None:
        self._last = time.monotonic()
        parts = [f"{self._name}: {self._done}/{self._total}"]
        if self._done > self._start:
            rate = (self._done - self._start) / max(1e-9, self._last - self._began)
            parts += [f"{rate:.3g}/s", f"{duration((self._total - self._done) / rate)} left"]
        parts += [self._text] if self._text else []
        say(", ".join(parts))

    def close(self) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
        elif self._enabled:
            self._print()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Every:
    """Says when some seconds have passed since it last said so."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True
