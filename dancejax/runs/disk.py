"""What a failed write to a disk means, whichever library it failed in."""

import shutil
from pathlib import Path

_FULL = 2**20
"""Bytes left from which on the disk is taken for the reason of a failure that does not say so."""


def reason(error: BaseException, folder: Path) -> str:
    """Return in a few words why something could not be written.

    Libraries have their own exceptions for a full disk, and NumPy's OSError has no errno.

    Args:
      error: what was raised.
      folder: where it was written to; it, or one above it, is there.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if shutil.disk_usage(folder).free < _FULL:
        return "no space left on the disk"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
