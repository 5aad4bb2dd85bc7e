"""Folders that dancejax itself writes, which are never data: work folders, condensed sets, runs."""

import os
from pathlib import Path

_MARKS = (".lock", "config.json", "metrics.jsonl", "result.json", "checkpoints")
_CONDENSED = ("manifest.json", "images.npy", "labels.npy")
_PARTS = frozenset(
    {
        *_MARKS,
        ".writable",
        "condensed",
        "evaluation",
        "experts",
        "losses.png",
        "pictures",
        "random",
        "report",
        "split.json",
        "tensorboard",
        "training",
        "wandb",
        "wandb.json",
    }
)
"""What a work folder may hold before anything tells it for sure."""
_EVIDENCE = {
    "condensed": ("manifest.json",),
    "pictures": ("evolution.gif", "before_after.png", "step_000000.png"),
    "random": ("condensed",),
    "report": ("report.html", "report.md"),
}
_DEPTH = 4


def is_own(folder: Path) -> bool:
    """Whether dancejax wrote a folder, or it holds nothing but such folders.

    A class folder that has one file named as ours is still a class.
    """
    return _is_own(folder, _DEPTH)


def is_part(folder: Path) -> bool:
    """Whether a folder in a data folder that was taken for a work folder, too, is the latter's."""
    if _marks(folder.parent) < 2:
        return False
    if folder.name in _EVIDENCE:
        return any((folder / name).exists() for name in _EVIDENCE[folder.name])
    return folder.name in _PARTS or folder.name.startswith("evaluation_")


def _marks(folder: Path) -> int:
    return sum((folder / mark).exists() for mark in _MARKS)


def _is_own(folder: Path, depth: int) -> bool:
    marks = _marks(folder)
    if marks >= 2 or all((folder / name).is_file() for name in _CONDENSED):
        return True
    if marks:
        return all(name in _PARTS for name in os.listdir(folder))
    return depth > 0 and _holds_runs(folder, depth)


def _holds_runs(folder: Path, depth: int) -> bool:
    """Whether all that a folder holds are work folders; "runs" may be empty."""
    inner = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                return False
            inner.append(Path(entry.path))
    if not inner:
        return folder.name == "runs"
    return all(_is_own(path, depth - 1) for path in inner)
