"""metrics.jsonl, and the same for TensorBoard and Weights & Biases."""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.runs.folder import read_json, write_bytes, write_json


class Tracker(Protocol):
    """What is told of metrics and pictures beside metrics.jsonl; any call may raise OSError."""

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step."""

    def picture(self, kind: str, step: int, path: Path) -> None:
        """Take a picture of a step, a PNG file."""

    def close(self) -> None:
        """End what is open."""


class MetricsLog:
    """metrics.jsonl: one JSON object a line, with its `step`. Without a folder it drops lines.

    Args:
      workdir: the run's folder.
      tensorboard: whether to write events into the folder tensorboard, too.
      wandb: whether to log into a run of Weights & Biases, too.

    Raises:
      UserError: the package for that is missing, or it cannot begin.
    """

    def __init__(
        self, workdir: Path | None, *, tensorboard: bool = False, wandb: bool = False
    ) -> None:
        self._path = workdir / "metrics.jsonl" if workdir and parallel.is_primary() else None
        self._trackers: list[Tracker] = []
        if self._path is not None:
            if tensorboard:
                self._trackers.append(_Events(self._path.parent / "tensorboard"))
            if wandb:
                self._trackers.append(_WandbRun(self._path.parent))

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
        with self._room():
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            for tracker in self._trackers:
                tracker.write(kind, step, values)

    def picture(self, kind: str, step: int, path: Path) -> None:
        """Shows the trackers a picture that lies in the run's folder, a PNG file."""
        with self._room():
            for tracker in self._trackers:
                tracker.picture(kind, step, path)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Says in one sentence that the folder takes no more."""
        try:
            yield
        except OSError as error:
            where = self._path.parent if self._path else "the run's folder"
            raise UserError(
                f"cannot write to {where} ({error.strerror}); make room, or choose another "
                "--workdir."
            ) from error

    def close(self) -> None:
        """Ends what TensorBoard and Weights & Biases read."""
        for tracker in self._trackers:
            with contextlib.suppress(OSError):  # each line was flushed when it was written
                tracker.close()


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

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write scalars as KIND/NAME; raises OSError."""
        event_pb2, summary = self._modules
        for name, value in values.items():
            event = event_pb2.Event(summary=summary.scalar(f"{kind}/{name}", value))
            event.step, event.wall_time = step, time.time()
            self._writer.write_event(event)
        self._writer.flush()

    def picture(self, kind: str, step: int, path: Path) -> None:
        """Write a picture as KIND/images; raises OSError."""
        event_pb2, summary = self._modules
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        image = summary.image(f"{kind}/images", pixels, dataformats="HWC")
        event = event_pb2.Event(summary=image)
        event.step, event.wall_time = step, time.time()
        self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        """End the file; raises OSError."""
        self._writer.close()


class _WandbRun:
    """A run of Weights & Biases, the same one whenever the run in the folder goes on.

    Its number is kept in wandb.json. Project, entity and mode (offline, say) are those of wandb's
    own environment variables; the project is otherwise "dancejax". A step that is taken again after
    an interruption is logged again, with the same values.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("--wandb needs the package wandb; pip install wandb.") from error
        kept = folder / "wandb.json"
        if not kept.exists():
            write_json(kept, {"id": uuid.uuid4().hex[:8]})
        about = folder / "config.json"
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "dancejax"),
                name=folder.name,
                id=str(read_json(kept)["id"]),
                resume="allow",
                dir=folder,
                config=read_json(about) if about.exists() else {},
                settings=wandb.Settings(console="off", silent=True, init_timeout=60),
            )
        except (wandb.Error, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"Weights & Biases cannot begin ({reason}); log in by `wandb login`, set "
                "WANDB_MODE=offline to send the run later by `wandb sync`, or leave --wandb out."
            ) from error
        self._image = wandb.Image
        self._kinds: set[str] = set()

    def _log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        kind = kind.replace(" ", "_")
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._run.log({**named, f"{kind}/step": step})

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log scalars as KIND/NAME against KIND/step."""
        self._log(kind, step, values)

    def picture(self, kind: str, step: int, path: Path) -> None:
        """Log a picture as KIND/images."""
        self._log(kind, step, {"images": self._image(str(path))})

    def close(self) -> None:
        """Send what is left, or leave it in the folder wandb."""
        self._run.finish()
