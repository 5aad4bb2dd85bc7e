"""What a call has beside its arguments: folder, devices, memory, checkpoints, progress."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from jax.sharding import Mesh

from dancejax import checks
from dancejax.choices import PLACEMENTS as PLACEMENTS
from dancejax.errors import UserError
from dancejax.runs import parallel, paths
from dancejax.runs.folder import open_workdir
from dancejax.runs.log import MetricsLog
from dancejax.runs.progress import Every, Progress
from dancejax.runs.signals import Interrupted, StopFlag, stop_on_signals


@dataclasses.dataclass(frozen=True)
class Run:
    """How a call is run: none of it changes what the call computes.

    Attributes:
      folder: where checkpoints, metrics and results are kept, so that the same call goes on after
        an interruption, bit for bit; None keeps everything in memory.
      progress: whether to show a bar, or lines now and then, on stderr.
      tensorboard: whether to log for TensorBoard, too.
      wandb: whether to log into a run of Weights & Biases, too.
      checkpoint_seconds: time between checkpoints, seconds.
      devices: how many devices share the work (None: all).
      networks_at_once: networks trained side by side at most (None: as many as suit the devices
        and their memory).
      placement: "device", or "host" for a data set larger than the device's memory, whose batches
        are sent ahead of each step.
      class_chunk: classes at once in condensation, which bounds the memory (None: as many as suit
        the device).
      log_every: iterations between lines of metrics.
      picture_every: iterations between pictures of the condensed set (0: none).
      keep_every: iterations between whole condensed sets in the folder kept (0: none).
    """

    folder: Path | None = None
    progress: bool = True
    tensorboard: bool = False
    wandb: bool = False
    checkpoint_seconds: float = 300.0
    devices: int | None = None
    networks_at_once: int | None = None
    placement: str = "device"
    class_chunk: int | None = None
    log_every: int = 10
    picture_every: int = 0
    keep_every: int = 0

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", paths.expand(self.folder, "the run's folder"))
        checks.number("checkpoint_seconds", self.checkpoint_seconds)
        checks.whole("log_every", self.log_every, 1)
        checks.whole("picture_every", self.picture_every, 0)
        checks.whole("keep_every", self.keep_every, 0)
        for name in ("networks_at_once", "class_chunk"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), 1)
        if self.placement not in PLACEMENTS:
            raise UserError(
                f"unknown placement {self.placement!r}; choose one of {', '.join(PLACEMENTS)}."
            )

    def within(self, name: str) -> "Run":
        """The same with a folder inside this one's; in memory, it stays so."""
        return dataclasses.replace(self, folder=self.folder and self.folder / name)

    def opened(self) -> "Run":
        """The same with its folder there, as an absolute path.

        Raises:
          UserError: the folder cannot be made or written to, or there are fewer devices.
        """
        parallel.check_devices(self.devices)
        return dataclasses.replace(self, folder=self.folder and open_workdir(self.folder))

    def log(self) -> MetricsLog:
        """The run's metrics.jsonl; without a folder it drops lines."""
        return MetricsLog(self.folder, tensorboard=self.tensorboard, wandb=self.wandb)

    @contextlib.contextmanager
    def working(
        self,
        name: str,
        total: int,
        axis: str,
        *,
        count: int | None = None,
        shared: int = 1,
        done: int = 0,
    ) -> Iterator["Session"]:
        """Use the devices, listen to stop signals and show progress, while the body runs.

        Args:
          name: what the progress is called.
          total: steps in all.
          axis: of the mesh, `parallel.CLASSES` or `parallel.NETWORKS`.
          count: pieces of work along that axis, which bounds the devices (None: no bound).
          shared: how many devices share the images of each class.
          done: steps that are done already.
        """
        devices = self.devices if count is None else parallel.devices_for(count, self.devices)
        with (
            parallel.use(axis, devices, shared=shared) as mesh,
            stop_on_signals() as stop,
            Progress(name, total, start=done, enabled=self.progress) as bar,
        ):
            yield Session(self, mesh, stop, bar)


class Session:
    """A run at work: its mesh of devices, its progress bar, and when to save and stop."""

    def __init__(self, run: Run, mesh: Mesh, stop: StopFlag, bar: Progress) -> None:
        self.run, self.mesh, self.bar = run, mesh, bar
        self._stop = stop
        self.start(0)

    def start(self, step: int) -> None:
        """Count the time to the next checkpoint from here on; `asked` is called after `step`."""
        self._saver = Every(self.run.checkpoint_seconds)
        self._agree = parallel.Agreement(step)

    def asked(self, step: int) -> tuple[int, bool]:
        """What all processes agree on after a step: (signal to stop by or 0, time to save)."""
        signum, due = self._agree(step, lambda: self._stop.signum, self._saver.due)
        return signum, bool(signum or due)

    def signal(self, step: int) -> int:
        """The signal to stop by, or 0, at a step where all processes ask."""
        (signum,) = parallel.Agreement(step)(step, lambda: self._stop.signum)
        return signum

    @staticmethod
    def interrupt(signum: int) -> None:
        """Raise Interrupted by a signal, if there is one."""
        if signum:
            raise Interrupted(signum)


QUIET = Run(progress=False)
"""In memory, without a word: what a call does without a run."""


def of(run: Run | str | os.PathLike[str] | None) -> Run:
    """A run as calls take it: a `Run`, the path of a folder for one, or None for `QUIET`.

    Raises:
      UserError: it is something else, or not the path of a folder.
    """
    if run is None:
        return QUIET
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | os.PathLike):
        raise UserError(f"run must be a Run or the path of a folder, not {run!r}.")
    return Run(Path(run))
