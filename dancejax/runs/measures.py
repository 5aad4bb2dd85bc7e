"""What a loop measures: means of its metrics, and seconds of its iterations."""

import contextlib
import time
from collections.abc import Iterator

import jax
import numpy as np

from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.types import Json


class Stopwatch:
    """Seconds that iterations take, without those of compiling, pictures and checkpoints."""

    def __init__(self) -> None:
        self.seconds = self.compile_seconds = 0.0
        self._since = 0.0

    def start(self, *, compile_seconds: float) -> None:
        self.compile_seconds, self._since = compile_seconds, time.monotonic()

    @contextlib.contextmanager
    def paused(self, last: jax.Array) -> Iterator[None]:
        """Leave out what happens inside.

        Args:
          last: an array [...] that the iterations so far come to, which is waited for.
        """
        jax.block_until_ready(last)
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began

    def stop(self, last: jax.Array) -> None:
        """End measuring.

        Args:
          last: an array [...] that all iterations come to, which is waited for.
        """
        jax.block_until_ready(last)
        if self._since:
            self.seconds = time.monotonic() - self._since


class Window:
    """Means of the metrics since the last line of the log; they survive a stop in between."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._pending: list[dict[str, jax.Array]] = []
        self._count, self._sums = 0, dict[str, float]()

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Take in an iteration's metrics, each [C] or a scalar; they stay on the device."""
        self._pending.append(metrics)

    def collect(self, step: int) -> None:
        """Add up what is pending after iteration `step`.

        Raises:
          UserError: naming the first metric that is not finite.
        """
        pending = parallel.fetch(self._pending)
        for number, metrics in enumerate(pending, step - len(pending) + 1):
            for name, value in metrics.items():
                _check_finite(name, np.asarray(value), number, self._classes)
                if name != "pixels":
                    mean = float(np.mean(value, dtype=np.float64))
                    self._sums[name] = self._sums.get(name, 0.0) + mean
        self._count += len(pending)
        self._pending = []

    def means(self, step: int) -> dict[str, float]:
        """The means, after which a new window begins."""
        self.collect(step)
        means = {name: value / self._count for name, value in self._sums.items()}
        self._count, self._sums = 0, {}
        return means

    def stored(self) -> Json:
        """What `restore` takes; JSON keeps every bit of a float."""
        return {"iterations": self._count, "sums": self._sums}

    def restore(self, stored: Json | None) -> None:
        if stored is not None:
            self._count, self._sums = stored["iterations"], dict(stored["sums"])


def _check_finite(name: str, value: np.ndarray, step: int, classes: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(value))
    if len(bad):
        where = f" of class {classes[bad[0][0]]!r}" if value.ndim else ""
        raise UserError(f"{name}{where} became not finite in iteration {step}; {_ADVICE}")


_ADVICE = "the last good checkpoint is kept; lower the learning rate of the pixels, or use float32."
