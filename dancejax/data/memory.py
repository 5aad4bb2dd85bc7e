"""The memory there is, looked at before arrays of a size that the user chose are made."""

import os
from pathlib import Path

from dancejax.errors import UserError

_GROUPS = (  # of version 2 and 1: limit, usage, statistics
    ("memory.max", "memory.current", "memory.stat"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
    ),
)


def available() -> int | None:
    """Return how many bytes can still be used, or None where the system does not say."""
    found = [size for size in (_machine(), _group()) if size is not None]
    return min(found, default=None)


def check(needed: int, content: str, advice: str) -> None:
    """Refuse what does not fit into the memory there is.

    Args:
      needed: bytes.
      content: what needs them, in the plural; the sentence begins with it.
      advice: what to do instead.

    Raises:
      UserError: there is less.
    """
    left = available()
    if left is not None and needed > left:
        raise UserError(
            f"{content} take {_readable(needed)} of memory and {_readable(left)} are free; {advice}"
        )


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.0f} PiB"


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves; its file cache counts as free."""
    for limit, usage, statistics in _GROUPS:
        try:
            most, used = (int((root / name).read_text()) for name in (limit, usage))
            values = dict(line.split() for line in (root / statistics).read_text().splitlines())
            cached = int(values.get("total_inactive_file", values.get("inactive_file", 0)))
            return max(0, most - used + cached)
        except (OSError, ValueError):  # "max": no limit
            continue
    return None
