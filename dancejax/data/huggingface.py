"""Hugging Face data sets on the hub and on the disk, through the package `datasets`.

The package is imported late, here and in `tables`; no code of a data set is run.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dancejax.data import pixels, tables
from dancejax.data.tables import Tables
from dancejax.errors import UserError
from dancejax.runs import paths
from dancejax.runs.notes import say_once
from dancejax.text import printable

PREFIX = "hf:"
_SAVED = ({"dataset_dict.json"}, {"dataset_info.json", "state.json"})
"""What `save_to_disk` leaves in a folder, of several splits and of one."""


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """A Hugging Face data set, and which of its parts are meant; `data.load` takes one.

    Attributes:
      path: a name on the hub, a Parquet file, or a folder: of Parquet files, of images
        (imagefolder), a clone of a repository, or what `save_to_disk` wrote.
      config: the configuration (None: the only one, or the default).
      splits: names of the splits for training and for testing. Of one name alone, and where nothing
        is given and there is no test split with labels, about a fifth is drawn for testing.
      columns: names of the columns with the images and with the labels; empty: guessed.
    """

    path: str
    config: str | None = None
    splits: Sequence[str] = ()
    columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.path:
            raise UserError(f"{PREFIX} names no data set; write {PREFIX}NAME or {PREFIX}FOLDER.")
        if len(self.splits) > 2 or isinstance(self.splits, str):
            raise UserError("splits are one name for training, or two: for training and testing.")
        tables.check_columns(self.columns)

    @property
    def title(self) -> str:
        """As errors name it."""
        return f"{PREFIX}{self.path}"

    @property
    def name(self) -> str:
        """The data set's name: of the folder or file, or on the hub without its owner."""
        local = self.local()
        if local is None:
            return self.path.rpartition("/")[2]
        resolved = Path(os.path.realpath(local))
        return (resolved.stem if resolved.is_file() else resolved.name) or "images"

    def local(self) -> Path | None:
        """The file or folder; None for a name on the hub.

        Raises:
          UserError: the path can be no name, and there is nothing.
        """
        path = paths.expand(self.path, self.title)
        if path.exists():
            return path
        if self.path.startswith((".", "~", os.sep)) or path.suffix == ".parquet":
            raise UserError(f"There is no file or folder {path}; check the path.")
        return None


def is_dataset(path: Path) -> bool:
    """Return whether a path is a Parquet file, what `save_to_disk` wrote, or Parquet in a folder.

    Files beside Parquet files that say something about them do not count.
    """
    if path.is_file():
        return path.suffix.lower() == ".parquet"
    if _is_saved(path):
        return True
    found = False
    for _, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        kinds = {Path(name).suffix.lower() for name in names}
        if kinds & pixels.EXTENSIONS:
            return False
        found = found or ".parquet" in kinds
    return found


def _is_saved(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in _SAVED)


def find(source: HuggingFace) -> Tables:
    """Find a data set's splits and columns, and say which on stderr.

    Raises:
      UserError: the package is missing, the data set cannot be found or read, or it has no images
        with labels.
    """
    datasets = tables.package()
    with _quiet():
        loaded = _load(source, datasets)
    found = tables.choose(loaded, source.title, source.splits, source.columns)
    files = {Path(f["filename"]) for table in found.splits.values() for f in table.cache_files}
    local = source.local()
    where = source.path if local is None else os.path.realpath(local)
    key = ("huggingface", where, source.config or "", *source.splits, found.image, found.label)
    name = source.path if local is None else source.name
    return found._replace(files=tuple(sorted(files)), key=key, name=name, licence=_licence(source))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars, and warnings of requests that are tried again."""
    import datasets
    import huggingface_hub

    modules = (datasets.utils.logging, huggingface_hub.logging)
    before = [module.get_verbosity() for module in modules]
    bars = datasets.utils.is_progress_bar_enabled()
    try:
        for module in modules:
            module.set_verbosity_error()
        datasets.utils.disable_progress_bars()
        yield
    finally:
        for module, level in zip(modules, before, strict=True):
            module.set_verbosity(level)
        if bars:
            datasets.utils.enable_progress_bars()


def _load(source: HuggingFace, datasets: Any) -> Any:
    local = source.local()
    try:
        if local is None:
            say_once(f"{source.title} is no file or folder here; asking the Hugging Face hub")
            return datasets.load_dataset(source.path, source.config)
        if local.is_file():
            files = {"train": str(local)}
            return datasets.load_dataset("parquet", source.config, data_files=files)
        if _is_saved(local):
            return datasets.load_from_disk(str(local))
        return datasets.load_dataset(os.path.realpath(local), source.config)
    except Exception as error:  # the package and those below it raise many types
        raise _not_loaded(source, local, error) from error


def _licence(source: HuggingFace) -> str | None:
    """What the card in the folder, or that came with the data set from the hub, says; if there."""
    import huggingface_hub

    local = source.local()
    if local is None:
        path = huggingface_hub.try_to_load_from_cache(source.path, "README.md", repo_type="dataset")
    else:
        path = str(local / "README.md") if (local / "README.md").is_file() else None
    if not isinstance(path, str):
        return None
    try:
        found = huggingface_hub.DatasetCard.load(path, ignore_metadata_errors=True).data.license
    except Exception:  # a README of another kind
        return None
    return ", ".join(map(str, found)) if isinstance(found, list) else found


def _not_loaded(source: HuggingFace, local: Path | None, error: Exception) -> UserError:
    """What went wrong, in one sentence."""
    from huggingface_hub.errors import HFValidationError

    cause: BaseException = error
    while cause.__cause__ is not None and type(error).__name__ == "DatasetGenerationError":
        cause = cause.__cause__
    reason = printable(" ".join(str(cause).split()))[:200].rstrip(". ")
    if local is None and isinstance(error, ConnectionError):
        return UserError(
            f"{source.title} is no file or folder here, and the Hugging Face hub cannot be reached "
            "or does not keep it in its cache here; check the name and the network."
        )
    if local is None and isinstance(error, FileNotFoundError | HFValidationError):
        return UserError(
            f"{source.title} is no file or folder here, and no data set of the Hugging Face hub "
            "that can be read from here; check the name, and log in if it is a private one."
        )
    if "onfig name is missing" in reason or "BuilderConfig" in reason:
        return UserError(f"{source.title} needs another config (--hf_config): {reason}.")
    return UserError(
        f"{source.title} cannot be read as a Hugging Face data set ({type(cause).__name__}: "
        f"{reason})."
    )
