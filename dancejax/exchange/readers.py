"""Reading exports back."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dancejax import condensed, runs
from dancejax.condensed import CondensedSet
from dancejax.data import folder, pixels, tfds_source
from dancejax.errors import UserError
from dancejax.exchange import torchfile

FORMAT = 1
DESCRIPTION = "dancejax.json"
METADATA = "dancejax"
"""The key of the description inside of .safetensors files."""
Arrays = tuple[np.ndarray, np.ndarray]
"""Images float32 [n, h, w, c] in [0, 1] units, and labels int64 [n]."""


def is_export(path: Path) -> bool:
    """Whether a folder is one that `export` wrote."""
    return (Path(path) / DESCRIPTION).is_file()


def read(path: Path) -> CondensedSet:
    """Reads an export of `export`, of any form; raises UserError for another folder or damage.

    Where the images are not those of the set that was exported to the last bit (decoded, or of 8
    bits), the set's `origin` says which one that was.
    """
    path = Path(path)
    about = description(path)
    with _Garbled(path / DESCRIPTION):
        return _condensed(_read_form(path, about), about)


def description(path: Path) -> dict[str, Any]:
    """Returns what dancejax.json of an export says; raises UserError if it is no export."""
    about = runs.read_json(path / DESCRIPTION)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path / DESCRIPTION} is not the description of an export.")
    return about


def read_test(path: Path) -> Arrays:
    """Reads the test images that lie beside an export's training images.

    Raises UserError for an export without them, or damage.
    """
    path = Path(path)
    about = description(path)
    if not about.get("test"):
        raise UserError(f"{path} has no test images; export with --with_test.")
    with _Garbled(path / DESCRIPTION):
        return _read_form(path, about, "test")


def read_own(path: Path) -> CondensedSet | None:
    """Reads a set of ours from whatever part of an export a user may name, else returns None.

    The folder, its images, its file of arrays, or a .safetensors file that was taken from it and
    holds the description itself.
    """
    if is_export(path):
        return read(path)
    parts = ("images", "set.npz", "set.safetensors")
    if path.name in parts and is_export(path.parent):
        return read(path.parent)
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "null"))
    except Exception:  # whoever reads the arrays says what is wrong
        return None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        return None
    with _Garbled(path):
        return _condensed(_from_arrays(path, about), about)


class _Garbled:
    """Turns what a description lacks, or holds in a wrong type, into a UserError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | IndexError):
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"{self._path} lacks or garbles something ({what}).") from error


def _condensed(arrays: Arrays, about: dict[str, Any]) -> CondensedSet:
    normalisation = about["normalisation"]
    found = CondensedSet(
        images=arrays[0],
        labels=arrays[1].astype(np.int32),
        classes=tuple(about["classes"]),
        mean=tuple(normalisation["mean"]),
        std=tuple(normalisation["std"]),
        factor=about["factor_left"],
        method=about["method"],
        source=about["source"],
        settings=about["settings"],
    )
    known = {"ipc": about["ipc"], "factor": about["decoding"]["factor"]}
    origin = about.get("origin") or {"fingerprint": about.get("fingerprint"), **known}
    if origin["fingerprint"] == condensed.fingerprint(found):
        return found
    return dataclasses.replace(found, origin={**origin, "form": about["form"]})


def _read_form(path: Path, about: dict[str, Any], split: str = "train") -> Arrays:
    form = about["form"]
    channels = len(about["normalisation"]["mean"])
    if form in ("png", "ddranking"):
        root = path / ("images" if split == "train" else split)
        images, labels = _described_folders(root, about, channels)
    elif form == "tfds":
        name = tfds_name(about)
        found = tfds_source.find(name, path)
        if found is None:
            raise UserError(f"{path} has no TFDS data set {name}; export it again.")
        arrays = tfds_source.read(found, name, split, image_size=None)
        images, labels = arrays.images.astype(np.float32) / 255, arrays.labels
    elif form == "huggingface":
        images, labels = _read_parquet(path / "data" / f"{split}-00000-of-00001.parquet", channels)
    else:
        stem = "set" if split == "train" else split
        kind = "npz" if form == "npz" else "safetensors"
        images, labels = _from_arrays(path / f"{stem}.{kind}", about)
    wanted = about["test"]["images"] if split == "test" else about.get("count", len(images))
    if len(images) != wanted:
        raise UserError(f"{path} has {len(images)} of {wanted} images; export it again.")
    return images, labels


def tfds_name(about: dict[str, Any]) -> str:
    """The name of an export's TFDS data set; of older ones that do not say it, by their rule."""
    if "tfds_name" in about:
        return str(about["tfds_name"])
    plain = re.sub(r"\W+", "_", about["source"]["name"].lower()).strip("_")
    return f"{plain}_{about['method']}_ipc{about['ipc']}"


def _from_arrays(path: Path, about: dict[str, Any]) -> Arrays:
    arrays = named_arrays(path)
    images, labels = arrays["images"], arrays["labels"]
    if about["form"] == "torch":
        mean, std = (np.array(about["normalisation"][k], np.float32) for k in ("mean", "std"))
        images = images.transpose(0, 2, 3, 1) * std + mean
    return np.ascontiguousarray(images, np.float32), labels


def _described_folders(root: Path, about: dict[str, Any], channels: int) -> Arrays:
    """A folder for each class, named in the description; before that they were sorted."""
    if "folders" not in about:
        _, images, labels = class_folders(root, channels)
        return images, labels
    files: list[pixels.Encoded] = []
    numbers: list[int] = []
    for label, name in enumerate(about["folders"]):
        found = sorted((root / name).glob("*.png"))
        files += [(str(path), path) for path in found]
        numbers += [label] * len(found)
    return _decode(files, channels, root.name), np.array(numbers, np.int64)


def class_folders(root: Path, channels: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(names, images float32 in [0, 1], label of each) of folders of images, sorted by name."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; check the path.")
    found, files = folder.class_files(root)
    images = _decode([(str(path), path) for path in files.paths], channels, root.name)
    return list(found), images, files.labels


def _decode(files: list[pixels.Encoded], channels: int, title: str) -> np.ndarray:
    if not files:
        raise UserError(f"the folder {title} of the export has no images; export it again.")
    images = pixels.decode_all([files], len(files), channels=channels, image_size=None, title=title)
    return images.astype(np.float32) / 255


def named_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, .safetensors or PyTorch file; no code in them is run."""
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path.")
    try:
        match path.suffix.lower():
            case ".npz":
                # NumPy leaves a path that it can't read open.
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            case ".safetensors":
                return dict(safetensors.numpy.load_file(path))
            case ".pt" | ".pth":
                return _torch_arrays(path)
    except UserError:
        raise
    except Exception as error:  # the readers raise many types for broken files
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); it is damaged or holds more than "
            "arrays."
        ) from error
    raise UserError(f"{path} is neither .npz nor .safetensors, .pt or .pth.")


def _torch_arrays(path: Path) -> dict[str, np.ndarray]:
    value = torchfile.load(path)
    # The published scripts of the field store {"data": [[images, labels], ...]}, best last.
    if isinstance(value, dict) and isinstance(value.get("data"), list) and value["data"]:
        value = value["data"][-1]
    if isinstance(value, list | tuple) and len(value) == 2:
        value = {"images": value[0], "labels": value[1]}
    if isinstance(value, np.ndarray):
        value = {"tensor": value}
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; it must hold images and labels.")
    return {str(name): array for name, array in value.items() if isinstance(array, np.ndarray)}


def _read_parquet(path: Path, channels: int) -> Arrays:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("reading Parquet needs pyarrow; pip install pyarrow.") from error
    try:
        table = pq.read_table(path)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); export again.") from error
    rows = table.column("image").to_pylist()
    images = _decode([(row["path"], row["bytes"]) for row in rows], channels, path.name)
    return images, np.array(table.column("label").to_pylist(), np.int64)
