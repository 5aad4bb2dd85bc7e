"""A run's folder: made, locked, and written to atomically; results as JSON."""

import contextlib
import errno
import glob
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from dancejax.errors import UserError
from dancejax.runs import parallel, paths

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def check_workdir(path: str | os.PathLike[str], *, shared: bool = False) -> Path:
    """Return a run's folder as an absolute path, without making it.

    Args:
      path: of the folder.
      shared: whether another process may have it.

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
        elif not shared and (workdir / ".lock").exists():
            taken = lock(workdir)
            if taken is not None:
                taken.close()
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
        _take(file)
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


@contextlib.contextmanager
def owned(workdir: Path) -> Iterator[None]:
    """Make a folder, and keep other processes of this machine out of it while the body runs.

    Raises:
      UserError: another process has it, or it cannot be written to.
    """
    with lock(open_workdir(workdir)) or contextlib.nullcontext():
        yield


def _take(file: TextIO) -> None:
    """Take a lock; raise BlockingIOError if it stays another's: `held` has it for a moment only."""
    until = time.monotonic() + 0.2
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        time.sleep(0.02)


def held(workdir: Path) -> bool:
    """Return whether a process has a folder; False where there are no such locks."""
    if fcntl is None or not (workdir / ".lock").exists():
        return False
    try:
        with open(workdir / ".lock", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_space(folder: Path, needed: float) -> None:
    """Raises UserError if a folder's disk has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 2**20:.0f} MB left, about {needed / 2**20:.0f} MB are needed; "
            "make room or choose another --workdir."
        )


def write_json(path: Path, value: object) -> None:
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
