"""Data sets in others' formats: what they are, and how to bring them here."""

import os
from collections.abc import Iterator
from pathlib import Path

_FOUR = "numpy.savez('set.npz', x_train=a.data, y_train=a.targets, x_test=b.data, y_test=b.targets)"
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
    if name in ("data_batch_1", "batches.meta"):
        return f"{given} is CIFAR-10 as torchvision keeps it; {_torchvision('CIFAR10', file, 1)}"
    if name == "meta" and (file.parent / "train").is_file() and (file.parent / "test").is_file():
        return f"{given} is CIFAR-100 as torchvision keeps it; {_torchvision('CIFAR100', file, 1)}"
    if "-ubyte" in name:
        return f"{given} is MNIST as torchvision keeps it; {_torchvision('MNIST', file, 2)}"
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


def _torchvision(name: str, file: Path, above: int) -> str:
    root = file.parents[above] if len(file.parents) > above else file.parent
    return (
        "convert it to .npz in two lines: a, b = (torchvision.datasets."
        f"{name}('{root}', train=t) for t in (True, False)); {_FOUR}."
    )


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
