"""Progress on stderr: a bar with rate and time left, or lines now and then."""

import contextlib
import sys
import time
from typing import Any

from dancejax.runs import parallel


def say(text: str) -> None:
    """Write a line to stderr. Where nothing takes it any more, as a lost connection, drop it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


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


class Progress:
    """A bar with rate and time left on a terminal; elsewhere lines now and then and at the end."""

    def __init__(self, name: str, total: int, *, start: int = 0, enabled: bool = True) -> None:
        self._bar: Any = None
        self._enabled = enabled = enabled and parallel.is_primary()
        self._name, self._total, self._done, self._start = name, total, start, start
        self._text = ""
        self._began = self._last = time.monotonic()
        if enabled and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

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
