"""Reading exports back, and condensed sets that other programs made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from dancejax import runs
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data import folder, pixels, tfds_source
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.exchange.writers import DESCRIPTION, FORMAT, tfds_name

PIXELS = ("unit", "byte", "normalised")
_IMAGES = ("images", "x", "x_train", "data", "image")
_LABELS = ("labels", "y", "y_train", "targets", "label")


def is_export(path: Path) -> bool:
    """Whether a folder is one that `export` wrote."""
    return (Path(path) / DESCRIPTION).is_file()


def read(path: Path) -> CondensedSet:
    """Reads an export of `export`, of any form; raises UserError for another folder or damage."""
    path = Path(path)
    about = runs.read_json(path / DESCRIPTION)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path / DESCRIPTION} is not the description of an export.")
    try:
        images, labels = _read_form(path, about)
        normalisation = about["normalisation"]
        return CondensedSet(
            images=images,
            labels=labels.astype(np.int32),
            classes=tuple(about["classes"]),
            mean=tuple(normalisation["mean"]),
            std=tuple(normalisation["std"]),
            factor=about["factor_left"],
            method=about["method"],
            source=about["source"],
            settings=about["settings"],
        )
    except KeyError as error:
        raise UserError(f"{path / DESCRIPTION} lacks {error}.") from error


def _read_form(path: Path, about: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    form = about["form"]
    channels = len(about["normalisation"]["mean"])
    if form in ("png", "ddranking"):
        _, images, labels = _class_folders(path / "images", channels)
        return images, labels
    if form == "tfds":
        found = tfds_source.find(tfds_name(about), path)
        if found is None:
            raise UserError(f"{path} has no TFDS data set {tfds_name(about)}; export it again.")
        arrays = tfds_source.read(found, tfds_name(about), "train", image_size=None)
        return arrays.images.astype(np.float32) / 255, arrays.labels
    if form == "huggingface":
        return _read_parquet(path / "data" / "train-00000-of-00001.parquet", channels)
    name = "set.npz" if form == "npz" else "set.safetensors"
    found_arrays = _named_arrays(path / name)
    images, labels = found_arrays["images"], found_arrays["labels"]
    if form == "torch":
        mean, std = (np.array(about["normalisation"][k], np.float32) for k in ("mean", "std"))
        images = images.transpose(0, 2, 3, 1) * std + mean
    return np.ascontiguousarray(images, np.float32), labels


def read_foreign(
    path: Path,
    dataset: ImageDataset,
    *,
    pixel_values: str = "unit",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    factor: int = 1,
    labels: Path | None = None,
    method: str = "foreign",
) -> CondensedSet:
    """Someone else's condensed set of a data set, to be evaluated as our own are.

    path: a folder with a folder of images for each class (named as the data set's classes, or such
    that their order is that of the labels), an .npz, a .safetensors or a PyTorch .pt or .pth file
    with images and labels, or with images alone and `labels` another such file. Images are
    [n, h, w, c] or [n, c, h, w]. pixel_values: "unit" is [0, 1], "byte" 0 to 255, "normalised"
    (pixel - mean) / std; mean and std are the data set's unless given. factor: tiles a side that
    each image is cut into. .pt files are read by PyTorch without running any code in them.
    Raises UserError for whatever does not fit the data set.
    """
    if pixel_values not in PIXELS:
        raise UserError(
            f"unknown pixel values {pixel_values!r}; choose one of {', '.join(PIXELS)}."
        )
    path, channels = Path(path), dataset.image_shape[2]
    if path.is_dir():
        names, images, numbers = _class_folders(path, channels)
        numbers = _match(names, dataset.classes, path)[numbers]
        pixel_values = "unit"
    else:
        images, numbers = _foreign_arrays(path, labels)
    images = _channels_last(images, channels, path).astype(np.float32)
    used_mean = np.array(dataset.mean if mean is None else mean, np.float32)
    used_std = np.array(dataset.std if std is None else std, np.float32)
    if len(used_mean) != channels or len(used_std) != channels or (used_std <= 0).any():
        raise UserError(f"mean and std need {channels} numbers each, and std positive ones.")
    if pixel_values == "byte":
        images = images / 255
    elif pixel_values == "normalised":
        images = images * used_std + used_mean
    _check_range(images, pixel_values, path)
    if images.shape[1:] != dataset.image_shape:
        raise UserError(
            f"{path} has images of {list(images.shape[1:])}, {dataset.name} of "
            f"{list(dataset.image_shape)}; give the --image_size they were made for."
        )
    found = np.unique(numbers)
    if len(numbers) != len(images) or found.min() < 0 or found.max() >= dataset.num_classes:
        raise UserError(
            f"{path} has {len(images)} images and {len(numbers)} labels from {found.min()} to "
            f"{found.max()}; there must be one each, from 0 to {dataset.num_classes - 1}."
        )
    settings = {"imported": path.name, "pixel_values": pixel_values, "factor": factor}
    return CondensedSet(
        images=images,
        labels=numbers.astype(np.int32),
        classes=dataset.classes,
        mean=tuple(used_mean.tolist()),
        std=tuple(used_std.tolist()),
        factor=factor,
        method=method,
        source=dataset_source(dataset),
        settings=settings,
    )


def _class_folders(root: Path, channels: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(names, images float32 in [0, 1], label of each) of folders of images, sorted by name."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; check the path.")
    names, files = folder.class_files(root)
    encoded = [(str(path), path) for path in files.paths]
    images = pixels.decode_all(
        [encoded], len(encoded), channels=channels, image_size=None, title=root.name
    )
    return list(names), images.astype(np.float32) / 255, files.labels


def _match(names: list[str], classes: tuple[str, ...], path: Path) -> np.ndarray:
    """The label of each folder: by its class name, else by order if there are as many."""
    if set(names) <= set(classes):
        return np.array([classes.index(name) for name in names])
    if len(names) == len(classes):
        return np.arange(len(names))
    raise UserError(
        f"{path} has {len(names)} folders that are not named as the {len(classes)} classes are; "
        "name them so, or give one for each class."
    )


def _foreign_arrays(path: Path, labels: Path | None) -> tuple[np.ndarray, np.ndarray]:
    arrays = _named_arrays(path)
    images = _pick(arrays, _IMAGES, path)
    if labels is not None:
        return images, _pick(_named_arrays(labels), _LABELS, labels).reshape(-1).astype(np.int64)
    if not set(_LABELS) & set(arrays):
        raise UserError(f"{path} has no labels; give them in a file of their own with --labels.")
    return images, _pick(arrays, _LABELS, path).reshape(-1).astype(np.int64)


def _pick(arrays: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    found = [name for name in names if name in arrays]
    if found:
        return arrays[found[0]]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise UserError(
        f"{path} has {', '.join(arrays) or 'no arrays'}; one must be called {names[0]}."
    )


def _named_arrays(path: Path) -> dict[str, np.ndarray]:
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
    try:
        import torch
    except ImportError as error:
        raise UserError(f"reading {path.name} needs PyTorch; pip install torch.") from error
    value = torch.load(path, map_location="cpu", weights_only=True)
    # The published scripts of the field store {"data": [[images, labels], ...]}, best last.
    if isinstance(value, dict) and isinstance(value.get("data"), list) and value["data"]:
        value = value["data"][-1]
    if isinstance(value, list | tuple) and len(value) == 2:
        value = {"images": value[0], "labels": value[1]}
    if isinstance(value, torch.Tensor):
        value = {"tensor": value}
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; it must hold images and labels.")
    tensors = {str(k): v for k, v in value.items() if isinstance(v, torch.Tensor)}
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def _channels_last(images: np.ndarray, channels: int, path: Path) -> np.ndarray:
    if images.ndim == 4 and images.shape[3] == channels:
        return images
    if images.ndim == 4 and images.shape[1] == channels:
        return images.transpose(0, 2, 3, 1)
    raise UserError(
        f"{path} has images of shape {list(images.shape)}; with {channels} channels they must be "
        "[n, h, w, c] or [n, c, h, w]."
    )


def _check_range(images: np.ndarray, pixel_values: str, path: Path) -> None:
    """Values far from [0, 1] mean that the wrong pixel_values were given."""
    if not np.isfinite(images).all():
        raise UserError(f"{path} has values that are not finite.")
    low, high = np.quantile(images, [0.01, 0.99])
    if low < -2 or high > 3 or (high < 0.05 and pixel_values == "byte"):
        raise UserError(
            f"the images in {path} run from {images.min():.3g} to {images.max():.3g} in units of "
            f"[0, 1]; they are hardly {pixel_values!r}: choose another of {', '.join(PIXELS)}."
        )


def _read_parquet(path: Path, channels: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("reading Parquet needs pyarrow; pip install pyarrow.") from error
    try:
        table = pq.read_table(path)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); export again.") from error
    rows = table.column("image").to_pylist()
    encoded = [(row["path"], row["bytes"]) for row in rows]
    images = pixels.decode_all(
        [encoded], len(encoded), channels=channels, image_size=None, title=path.name
    )
    labels = np.array(table.column("label").to_pylist(), np.int64)
    return images.astype(np.float32) / 255, labels
