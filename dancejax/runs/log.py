"""metrics.jsonl, and events for TensorBoard."""

import contextlib
import json
import time
from pathlib import Path

from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.runs.folder import write_bytes


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

    def write(self, kind: str, step: int, **values: float) -> None:
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
