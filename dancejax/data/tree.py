"""What a folder of images holds: entries that count, links followed, the rest counted."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dancejax.data import own
from dancejax.data.foreign import hint
from dancejax.data.pixels import EXTENSIONS
from dancejax.errors import UserError
from dancejax.runs.notes import say_once
from dancejax.text import printable_names

_SYSTEM = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "desktop.ini",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
"""What systems put into folders of their own accord."""
_NAMED = 5


class Files(NamedTuple):
    """Image files, by class and then by path."""

    paths: list[Path]
    labels: np.ndarray  # int32 [N]


class Tree:
    """A folder of images, each folder in it read once.

    Links are followed, also out of the folder. Hidden entries, systems' own and folders that
    dancejax wrote are passed over; files of other types are counted, and `say_passed_over` says so.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[Path, tuple[list[Path], list[Path]]] = {}
        self._others: Counter[str] = Counter()

    def folders(self, parent: Path) -> list[Path]:
        """The folders in a folder, sorted by name."""
        return self._entries(parent)[0]

    def files(self, parent: Path) -> list[Path]:
        """The image files in a folder itself, sorted by name."""
        return [path for path in self._entries(parent)[1] if _is_image(path)]

    def unwrapped(self, folder: Path) -> Path:
        """The folder itself, or the one in it where that is all it holds, and holds folders."""
        seen = {folder}
        while True:
            folders, files = self._entries(folder)
            if len(folders) != 1 or any(map(_is_image, files)) or not self.folders(folders[0]):
                return folder
            folder = folders[0]
            if len(seen) > 20:
                raise UserError(
                    f"{self.root} holds folders in folders without end; give a deeper one."
                )
            seen.add(folder)

    def classes(self, parent: Path) -> tuple[tuple[str, ...], Files]:
        """Class names and image files of the class folders in a folder.

        Raises UserError for fewer than two classes, or one without images.
        """
        folders = self.folders(parent)
        if len(folders) < 2:
            raise UserError(
                hint(parent)
                or f"{parent} has {len(folders)} class folder(s); at least two classes are needed."
            )
        if loose := self.files(parent):
            say_once(f"{parent}: passed over {len(loose)} image(s) that lie in no class folder")
        return printable_names([f.name for f in folders]), self.files_of(folders)

    def files_of(self, folders: Sequence[Path]) -> Files:
        """The image files of class folders and below, labelled in their order."""
        paths: list[Path] = []
        labels: list[int] = []
        for label, folder in enumerate(folders):
            if not folder.is_dir():
                raise UserError(f"Class folder {folder} is missing; add it with its images.")
            before = self._others.copy()
            found = list(self._images(folder, _above(self.root, folder)))
            if not found:
                others = sorted(self._others - before)
                only = f", only {', '.join(others[:_NAMED])} files" if others else ""
                raise UserError(
                    hint(folder)
                    or f"Class folder {folder} has no images that are read here{only} "
                    f"({', '.join(sorted(EXTENSIONS))}); add some or remove it."
                )
            paths += found
            labels += [label] * len(found)
        return Files(paths, np.array(labels, np.int32))

    def say_passed_over(self) -> None:
        """Say on stderr how many files of which other types class folders hold, if any."""
        if not self._others:
            return
        kinds = self._others.most_common()
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds[:_NAMED])
        more = f" and {len(kinds) - _NAMED} other types" if len(kinds) > _NAMED else ""
        say_once(
            f"{self.root}: passed over {self._others.total()} file(s) that are no images of a "
            f"type read here: {listed}{more}"
        )

    def _images(self, folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
        """Image files in a folder and below, sorted by name."""
        above = self._entered(folder, above)
        folders, files = self._entries(folder)
        inner = set(folders)
        for path in sorted([*folders, *files]):
            if path in inner:
                yield from self._images(path, above)
            elif _is_image(path):
                yield path
            else:
                self._others[path.suffix.lower() or "without an extension"] += 1

    def _entered(
        self, folder: Path, above: frozenset[tuple[int, int]]
    ) -> frozenset[tuple[int, int]]:
        """The folders on the way to a folder's content, by number; a loop of links is an error."""
        state = folder.stat()
        number = (state.st_dev, state.st_ino)
        leads_up = folder.is_symlink() and self.root.resolve().is_relative_to(folder.resolve())
        if number in above or leads_up:
            raise UserError(
                f"{folder} is a link to a folder that holds it, without end; remove the link."
            )
        return above | {number}

    def _entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """(folders, other entries) of a folder that count, sorted by name."""
        if folder in self._read:
            return self._read[folder]
        folders, files = [], []
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                continue
            path = Path(entry.path)
            if entry.is_symlink() and not path.exists():
                raise UserError(f"{path} is a broken link; remove it.")
            if not entry.is_dir():
                if _is_image(path) and not entry.is_file():  # a pipe would be waited for
                    raise UserError(f"{path} is called an image but is not a file; remove it.")
                files.append(path)
            elif own.is_part(path) or own.is_own(path):
                say_once(f"{self.root}: passed over {path}, which dancejax wrote")
            else:
                folders.append(path)
        self._read[folder] = (folders, files)
        return folders, files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _above(root: Path, folder: Path) -> frozenset[tuple[int, int]]:
    """Numbers of the root and of the folders between it and a class folder."""
    between = [path for path in folder.parents if path == root or root in path.parents]
    states = [path.stat() for path in between]
    return frozenset((state.st_dev, state.st_ino) for state in states)
