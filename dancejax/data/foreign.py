"""Data sets in others' formats: what they are, and how to bring them here."""

import os
from collections.abc import Iterator
from pathlib import Path

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_DEPTH = 2


def hint(path: Path) -> str | None:
    """Say what a file or folder is and how to convert it; None for what is not recognised.

    Looks at names only, of a folder's files and those two levels below.
    """
    if path.is_file():
        return _of(path, path)
    for file in _files(path, _DEPTH):
        if found := _of(file, path):
            return found
    return None


def _of(file: Path, given: Path) -> str | None:
    name, suffix = file.name, file.suffix.lower()
    if suffix == ".parquet":
        return f"{given} holds Parquet files, as Hugging Face has them; give hf:{file.parent}."
    if suffix == ".arrow":
        return f"{given} holds a data set as Hugging Face saves it; give hf:{file.parent}."
    if ".tfrecord" in name:
        return (
            f"{given} is in the tfrecord format, which needs TensorFlow; prepare the data set by "
            "TFDS with file_format='array_record', or store it as .npz."
        )
    if name.endswith(".npz"):
        return f"{given} holds the file {name}; give that file's path."
    if suffix == ".npy":
        return (
            f"{given} holds arrays in .npy files; numpy.savez('set.npz', images=numpy.load(...), "
            "labels=numpy.load(...)) makes them one file that is read here."
        )
    if suffix in _ARCHIVES:
        return f"{given} is or holds the archive {name}; unpack it, and give the unpacked folder."
    return None


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Files of a folder, then of those below, sorted."""
    try:
        paths = sorted(Path(entry.path) for entry in os.scandir(folder))
        folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
        yield from (path for path in paths if path.is_file())
    except OSError:
        return
    if depth:
        for inner in folders[:20]:
            yield from _files(inner, depth - 1)
