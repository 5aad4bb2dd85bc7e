"""Files of runs, found below work folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path


def named(folders: Sequence[Path], name: str) -> Iterator[Path]:
    """Yield files of a name, once each, in a fixed order, hidden folders left out.

    Args:
      folders: where to look, and below.
      name: of the files.
    """
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob(name)):
            within = path.relative_to(folder).parts[:-1]
            hidden = any(part.startswith(".") for part in within)
            if not hidden and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path
