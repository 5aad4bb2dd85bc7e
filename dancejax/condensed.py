"""The artifact: a small labelled image set with all that is needed to use it.

A folder with images.npy (float32 [n, h, w, c], in [0, 1] units), labels.npy (int32 [n]),
manifest.json (format, pixel range, normalisation, classes, decoding, origin, settings, checksums)
and preview.png. Condensed sets and coresets have the same form. Nothing is pickled.
"""

import dataclasses
import hashlib
import io
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

import dancejax
from dancejax import figures, methods, multiformation, names, runs
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import disk, integrity, parallel
from dancejax.training import protocols
from dancejax.types import Json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1
SOFT_LABELS = "soft_labels.npy"
_LIBRARIES = ("jax", "flax", "optax", "numpy")
RESIZED = (
    "images of another size: the shorter side resized to it, bilinear, antialiased, and the centre "
    "cut out (ImageOps.fit of Pillow)"
)
SHA256_OF = (
    "the text 'DTYPE SHAPE' as NumPy writes both (dtype.str and str(shape), for instance "
    "'<f4 (10, 32, 32, 3)'), then the array's bytes in C order; not the file"
)


@dataclasses.dataclass(frozen=True)
class CondensedSet:
    """Stored images and all that is needed to use them.

    Attributes:
      images: float32 [n, h, w, c] in [0, 1] units before normalisation. Methods that work in
        normalised space may leave the range; the manifest's pixel_range says so.
      labels: int32 [n] in 0..len(classes)-1.
      classes: names of the classes.
      mean, std: c numbers each, for networks that see (pixel - mean) / std.
      factor: each stored image decodes into factor**2 training images.
      method: what made the set.
      source: name, fingerprint and split of the data set it was made from.
      settings: of the method.
      origin: of a set read back from an export, the set that was exported: its "fingerprint", "ipc"
        and "factor", and the "form" of the export.
      soft_labels: float16 [factor**2 * n, len(classes)], shares of the classes of each training
        image, in the order of `decoded`; None where there are none.

    Raises:
      UserError: shapes, types or values are not as described.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    factor: int
    method: str
    source: dict[str, Any]  # data set name and fingerprint
    settings: dict[str, Any]
    origin: dict[str, Any] | None = None
    soft_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.float32 or len(images) == 0:
            raise UserError(
                f"images must be float32 [n, h, w, c], not {images.dtype}{list(images.shape)}."
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int32:
            raise UserError(f"labels must be int32 [{len(images)}], one per image.")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise UserError(f"labels must lie between 0 and {len(self.classes) - 1}.")
        if not np.isfinite(images).all():
            raise UserError("the images hold values that are not finite (NaN or infinity).")
        if len(self.mean) != images.shape[3] or len(self.std) != images.shape[3]:
            raise UserError(f"mean and std need one value per channel ({images.shape[3]}).")
        multiformation.check_factor(self.factor, *images.shape[1:3])
        if self.soft_labels is not None:
            self._check_soft(self.soft_labels)

    def _check_soft(self, soft: np.ndarray) -> None:
        shape = (len(self.images) * self.factor**2, len(self.classes))
        if soft.shape != shape or soft.dtype != np.float16:
            raise UserError(
                f"soft labels must be float16 {list(shape)}, a row for each training image, not "
                f"{soft.dtype}{list(soft.shape)}."
            )
        shares = soft.astype(np.float32)
        if not (shares >= 0).all() or not np.allclose(shares.sum(1), 1, atol=0.01):
            raise UserError("soft labels must be shares of the classes, which add up to 1.")

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        tiles = f", factor {self.factor}" if self.factor > 1 else ""
        return (
            f"CondensedSet({self.source.get('name', '?')!r} by {self.method}: {self.ipc} images of "
            f"{height}x{width}x{channels} a class{tiles}, {self.num_classes} classes)"
        )

    def _repr_html_(self) -> str:
        """Show some images of each class and the facts in a notebook."""
        rows = ", ".join(map(names.short, self.classes[: figures.MOST_CLASSES]))
        return figures.html(figures.grid(self, most=5), repr(self), f"Rows: {rows}")

    def save(self, path: str | Path) -> None:
        """Write the set to a folder; see the function `save`."""
        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "CondensedSet":
        """Read a set from a folder and verify it; see the function `load`."""
        return load(path)

    def show(self) -> "Figure | None":
        """Show the stored images, a row for each class, and choose no plotting backend.

        Returns:
          None where IPython runs, which displays the picture, else the figure.
        """
        figure = figures.grid_figure(self)
        if "IPython" in sys.modules:
            from IPython import display, get_ipython

            if get_ipython() is not None:
                display.display(display.Image(figures.png(figure)))
                return None
        return figure

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        return tuple(self.images.shape[1:])

    @property
    def method_title(self) -> str:
        """The method's name as people write it."""
        return methods.title(self.method)

    @property
    def ipc(self) -> int:
        """Stored images per class (of the largest class); of an export, those of its origin."""
        if self.origin is not None:
            return int(self.origin["ipc"])
        return int(np.bincount(self.labels).max())

    def decoded(self) -> tuple[jax.Array, jax.Array]:
        """Decode the stored images.

        Returns:
          Training images float32 [factor**2 * n, h, w, c] in [0, 1] units and labels int32
          [factor**2 * n]; the images of each stored one follow each other.
        """
        images = multiformation.decode(jax.numpy.asarray(self.images), self.factor)
        return images, jax.numpy.repeat(self.labels, self.factor**2)


def save(condensed: CondensedSet, path: str | Path) -> None:
    """Write a set to a folder of its own; a set that is there already is replaced whole.

    Args:
      condensed: the set.
      path: the folder. With several processes the first one writes.

    Raises:
      UserError: the folder holds something else, or the disk does not take it.
    """
    if parallel.is_primary():
        check_place(path)
        _write(condensed, Path(path).absolute())
    parallel.barrier(f"saved {path}")


_FILES = frozenset({"images.npy", "labels.npy", SOFT_LABELS, "manifest.json", "preview.png"})
_OF_SYSTEMS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers put into folders."""


def check_place(path: str | Path) -> None:
    """Raise UserError if something is in a set's place that `save` must not replace."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; a set is saved to a folder of its own: name another.")
    for other in sorted(path.iterdir()) if path.exists() else []:
        if other.is_dir() or other.name not in _FILES | _OF_SYSTEMS:
            raise UserError(
                f"{path} holds {other.name!r}, which is no part of a condensed set and would be "
                "lost; choose another folder, or move that away."
            )


def _write(condensed: CondensedSet, path: Path) -> None:
    temporary, old = (path.with_name(f".{path.name}.{kind}") for kind in ("tmp", "old"))
    for stale in (temporary, old):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        np.save(temporary / "images.npy", condensed.images, allow_pickle=False)
        np.save(temporary / "labels.npy", condensed.labels, allow_pickle=False)
        if condensed.soft_labels is not None:
            np.save(temporary / SOFT_LABELS, condensed.soft_labels, allow_pickle=False)
        figures.save_grid(temporary / "preview.png", condensed)
        runs.write_json(temporary / "manifest.json", integrity.seal(manifest(condensed)))
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        why = disk.reason(error, path.parent)
        raise UserError(f"cannot save the set to {path} ({why}); make room.") from error
    finally:  # nothing is there any more where it became the set
        shutil.rmtree(temporary, ignore_errors=True)


def manifest(condensed: CondensedSet) -> Json:
    """Return what manifest.json of a set says, before sealing: plain JSON values."""
    low, high = float(condensed.images.min()), float(condensed.images.max())
    return {
        "format": FORMAT,
        "kind": "dancejax condensed set",
        "method": condensed.method,
        "images": {
            "file": "images.npy",
            "sha256": integrity.digest(condensed.images),
            "shape": list(condensed.images.shape),
            "dtype": "float32",
            "layout": "NHWC",
        },
        "labels": {"file": "labels.npy", "sha256": integrity.digest(condensed.labels)},
        **({} if condensed.soft_labels is None else {"soft_labels": _about_soft(condensed)}),
        "sha256_of": SHA256_OF,
        "pixel_range": {
            "units": "[0, 1] before normalisation",
            "min": low,
            "max": high,
            "inside": bool(low >= 0 and high <= 1),
        },
        "normalisation": {
            "formula": "(pixel - mean) / std",
            "mean": list(condensed.mean),
            "std": list(condensed.std),
        },
        "decoding": {
            "factor": condensed.factor,
            "rule": "cut into factor x factor tiles (pad with 0.5 at bottom and right if needed), "
            "resize each to full size, bilinear, half-pixel centres",
            "order": "a stored image's tiles follow each other, row by row from the top left",
            "images_per_stored_image": condensed.factor**2,
        },
        "classes": list(condensed.classes),
        "ipc": condensed.ipc,
        "source": condensed.source,
        "settings": condensed.settings,
        "training_recipe": training_recipe(condensed),
        **({} if condensed.origin is None else {"origin": condensed.origin}),
        "versions": {
            "dancejax": dancejax.__version__,
            "python": sys.version.split()[0],
            **{name: metadata.version(name) for name in _LIBRARIES},
        },
    }


def _about_soft(condensed: CondensedSet) -> Json:
    assert condensed.soft_labels is not None
    return {
        "file": SOFT_LABELS,
        "sha256": integrity.digest(condensed.soft_labels),
        "shape": list(condensed.soft_labels.shape),
        "dtype": "float16",
        "of": "shares of the classes of each training image, in the order of decoding",
    }


def training_recipe(condensed: CondensedSet) -> Json:
    """Return how networks are trained on a set by the published protocol of its method."""
    name = methods.protocol_of(condensed.method)
    config = protocols.protocol(
        name,
        str(condensed.source.get("name", "")),
        side=min(condensed.image_shape[:2]),
        num_classes=condensed.num_classes,
        **protocols.size_of(condensed),
    )
    return {"protocol": name, **dataclasses.asdict(config)}


def load(path: str | Path) -> CondensedSet:
    """Read a set from a folder and verify it.

    Args:
      path: a folder that `save` wrote.

    Returns:
      The set, bit-equal to what was saved.

    Raises:
      UserError: it is missing, damaged, edited or of another format.
    """
    path = Path(path)
    if not (path / "manifest.json").is_file():
        raise UserError(f"{path} is not a condensed set: it has no manifest.json.")
    about = integrity.read_manifest(path / "manifest.json")
    if about.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {about.get('format')!r}; this version reads format {FORMAT}."
        )
    try:
        return CondensedSet(
            images=_read_array(path / "images.npy", about["images"]["sha256"]),
            labels=_read_array(path / "labels.npy", about["labels"]["sha256"]),
            classes=tuple(about["classes"]),
            mean=tuple(about["normalisation"]["mean"]),
            std=tuple(about["normalisation"]["std"]),
            factor=about["decoding"]["factor"],
            method=about["method"],
            source=about["source"],
            settings=about["settings"],
            origin=about.get("origin"),
            soft_labels=_read_array(path / SOFT_LABELS, about["soft_labels"]["sha256"])
            if "soft_labels" in about
            else None,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}/manifest.json lacks or garbles {error}.") from error


def describe(train: CondensedSet | Dataset) -> Json:
    """What evaluations say of a set that networks are trained on."""
    if isinstance(train, Dataset):
        name, made = train.name, train.fingerprint
        return {"name": name, "method": "whole", "ipc": None, "fingerprint": made}
    name, made = train.source["name"], fingerprint(train)
    about = {"name": name, "method": train.method, "ipc": train.ipc, "fingerprint": made}
    return about if train.origin is None else {**about, "origin": train.origin}


def fingerprint(condensed: CondensedSet) -> str:
    """Return the sha256 (hex) of the stored pixels, labels (soft ones, too) and the way they are
    decoded."""
    parts: tuple[str, ...] = (
        integrity.digest(condensed.images),
        integrity.digest(condensed.labels),
    )
    if condensed.soft_labels is not None:
        parts += (integrity.digest(condensed.soft_labels),)
    return hashlib.sha256(f"{parts} {condensed.factor}".encode()).hexdigest()


def dataset_source(dataset: Dataset) -> Json:
    """Return the name, fingerprint and split of a data set that a set is made from."""
    return {"name": dataset.name, "fingerprint": dataset.fingerprint, "split": dataset.split_name}


def describe_source(dataset: Dataset) -> Json:
    """Return the manifest's entry for the data set that a set is made from."""
    stated = None if dataset.provenance is None else dataset.provenance._asdict()
    return {
        **dataset_source(dataset),
        "images": len(dataset),
        "image_shape": list(dataset.image_shape),
        "flip": dataset.flip,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "resized": RESIZED,
        **({} if stated is None else {"provenance": {k: v for k, v in stated.items() if v}}),
    }


def _read_array(path: Path, sha256: str) -> np.ndarray:
    try:
        data = path.read_bytes()
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; the condensed set is not complete.") from error
    except Exception as error:  # NumPy raises many kinds for damaged headers
        raise UserError(f"{path} is damaged: it can't be read as an array.") from error
    if integrity.digest(array) != sha256:
        raise UserError(f"{path} is damaged: its checksum does not fit the manifest.")
    return array
