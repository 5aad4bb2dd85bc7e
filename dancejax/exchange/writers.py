"""Exports of a condensed set, each with a description of its pixels and a README."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from dancejax import condensed, names, runs
from dancejax.condensed import CondensedSet
from dancejax.data import pixels, tfds_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.exchange import cards, readers
from dancejax.exchange.readers import DESCRIPTION, FORMAT, METADATA, Arrays
from dancejax.runs import disk

EIGHT_BIT = ("png", "ddranking", "tfds", "huggingface")
FORMS = ("png", "npz", "safetensors", "torch", "ddranking", "tfds", "huggingface")
"""png: a folder for each class. npz, safetensors: float32 arrays. torch: safetensors with
normalised NCHW tensors. ddranking: what that package's evaluation takes. tfds: a prepared TFDS data
set. huggingface: a dataset folder with Parquet and a card."""
WITH_TEST = ("png", "npz", "safetensors", "torch", "huggingface")
"""Those that can hold the test images, too."""
_DATA = (
    "form",
    "pixels",
    "images",
    "factor_left",
    "classes",
    "normalisation",
    "fingerprint",
    "test",
)
"""What makes two exports the same; the rest is about them."""


def export(
    made: CondensedSet,
    path: Path,
    form: str,
    *,
    decoded: bool = True,
    licence: str = "unknown",
    accuracy: str | None = None,
    evaluation: dict[str, Any] | None = None,
    test: Dataset | None = None,
) -> dict[str, Any]:
    """Writes a set in one of FORMS to the new folder `path`, and reads it back.

    The 8-bit forms round to 1/255 and cut off what is not in [0, 1]; the description says how much
    that was.

    Args:
      made: the set.
      path: a folder that is not there yet; it appears whole and verified, or not at all.
      form: one of FORMS.
      decoded: the training images, factor**2 of each stored one; else the stored ones, which
        readers have to decode.
      licence: of the source data, an identifier such as "mit".
      accuracy: a sentence for the README.
      evaluation: a result of `evaluate` for the description.
      test: the test images, to lie beside the training images (forms of WITH_TEST).

    Returns:
      The description; "largest_difference" is that of a pixel read back, in [0, 1] units.

    Raises:
      UserError: for an unknown form, one that needs decoded images or has no place for test images,
        a folder that is there already, or a disk that does not take it.
    """
    path = Path(path).absolute()
    if path.exists():
        raise UserError(f"{path} is there already; remove it or choose another folder.")
    about, train = _plan(made, form, decoded, test)
    texts = {"licence": licence, "accuracy": accuracy, "evaluation": evaluation}
    clear(path)
    temporary = runs.open_workdir(_temporary(path))
    try:
        needed = train[0].size * (1 if form in EIGHT_BIT else 4)
        runs.check_space(temporary, needed + (test.images.size if test else 0))
        _WRITERS[form](temporary, *train, about)
        if test is not None:
            _WRITERS[form](temporary, *_test_arrays(test), {**about, "split": "test"})
        _write_texts(temporary, {**about, **texts})
        worst = verify(temporary, train, about, test)
        temporary.rename(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own for a disk that is full
        why = disk.reason(error, path.parent)
        raise UserError(f"cannot write {path} ({why}); make room.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {**about, **texts, "largest_difference": worst}


def ensure(made: CondensedSet, path: Path, form: str, **options: Any) -> dict[str, Any]:
    """Exports as `export` does, but leaves a finished export of the same set alone.

    It is read back all the same, and what it says of licence and accuracy is renewed. Raises
    UserError as `export` does, and where the folder holds another export or something else.
    """
    path = Path(path).absolute()
    if not path.exists():
        return export(made, path, form, **options)
    if not readers.is_export(path):
        raise UserError(f"{path} is there and is no export; remove it or choose another folder.")
    test = options.get("test")
    about, train = _plan(made, form, options.get("decoded", True), test)
    found = readers.description(path)
    wanted = json.loads(json.dumps(about))
    differing = [k for k in _DATA if k in found and found[k] != wanted.get(k)]
    if bool(found.get("test")) != bool(wanted.get("test")) and "test" not in differing:
        differing.append("test")
    if differing:
        raise UserError(
            f"{path} holds another export, different in {', '.join(differing)}; remove it, or "
            "choose another folder."
        )
    worst = verify(path, train, found, test)
    texts = {
        "licence": options.get("licence", "unknown"),
        "accuracy": options.get("accuracy"),
        "evaluation": options.get("evaluation"),
    }
    if {name: found.get(name) for name in texts} != json.loads(json.dumps(texts)):
        _write_texts(path, {**found, **texts})
    return {**found, **texts, "largest_difference": worst}


def clear(path: Path) -> None:
    """Removes what a killed `export` to a folder has left beside it."""
    shutil.rmtree(_temporary(path), ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _write_texts(folder: Path, about: dict[str, Any]) -> None:
    runs.write_json(folder / DESCRIPTION, about)
    runs.write_bytes(folder / "README.md", cards.card(about).encode())


def _plan(
    made: CondensedSet, form: str, decoded: bool, test: Dataset | None
) -> tuple[dict[str, Any], Arrays]:
    """The description of an export and its training images, checked."""
    if form not in FORMS:
        raise UserError(f"unknown form {form!r}; choose one of {', '.join(FORMS)}.")
    if not decoded and form in ("torch", "ddranking", "tfds", "huggingface"):
        raise UserError(f"{form} is for tools that do not decode; export decoded images.")
    if test is not None and form not in WITH_TEST:
        raise UserError(
            f"{form} has no place for test images; choose among {', '.join(WITH_TEST)}."
        )
    if test is not None and (test.classes, test.image_shape) != (made.classes, made.image_shape):
        raise UserError(
            f"the test images of {test.name} ({test.num_classes} classes, "
            f"{list(test.image_shape)}) are not those of the set ({made.num_classes} classes, "
            f"{list(made.image_shape)}); give the data set it was made from."
        )
    images, labels = _arrays(made, decoded)
    return describe(made, form, images, decoded, test), (images, labels)


def describe(
    made: CondensedSet,
    form: str,
    images: np.ndarray,
    decoded: bool,
    test: Dataset | None = None,
) -> dict[str, Any]:
    """What dancejax.json of an export says, but for licence and accuracy."""
    manifest = condensed.manifest(made)
    eight = form in EIGHT_BIT
    scale = "float32 in [0, 1] units before normalisation"
    if eight:
        scale = "8 bit, 0 to 255 for [0, 1] before normalisation"
    elif form == "torch":
        scale = "float32, normalised, NCHW"
    fingerprint = condensed.fingerprint(made)
    own = {"fingerprint": fingerprint, "ipc": made.ipc, "factor": made.factor}
    origin = made.origin or own
    about = {
        "format": FORMAT,
        "kind": "dancejax export",
        "form": form,
        "pixels": scale,
        "count": len(images),
        "outside_of_range": {
            "share": float(np.mean((images < 0) | (images > 1))), "cut_off": eight,
        },
        "normalisation": manifest["normalisation"],
        "images": "decoded" if decoded else "stored",
        "decoding": manifest["decoding"],
        "factor_left": 1 if decoded else made.factor,
        "fingerprint": fingerprint,
        "origin": {k: origin[k] for k in ("fingerprint", "ipc", "factor")},
        **{
            name: manifest[name]
            for name in (
                "method", "ipc", "classes", "source", "settings", "training_recipe", "versions",
            )
        },
    }  # fmt: skip
    if test is not None:
        about["test"] = {
            "name": test.name, "fingerprint": test.fingerprint, "images": len(test),
        }  # fmt: skip
    if form == "png":
        about["folders"] = names.folders(made.classes)
    elif form == "ddranking":
        digits = len(str(made.num_classes - 1))
        about["folders"] = [f"{i:0{digits}d}" for i in range(made.num_classes)]
    elif form == "tfds":
        about["tfds_name"] = names.identifier(f"{made.source['name']}_{made.method}_ipc{made.ipc}")
    return about


def verify(path: Path, train: Arrays, about: dict[str, Any], test: Dataset | None) -> float:
    """Reads an export back; raises UserError unless it is what was to be written.

    Returns the largest difference of a training pixel, in [0, 1] units.
    """
    back = readers.read(path)
    cut_off = about["outside_of_range"]["cut_off"]
    worst = _difference(train, (back.images, back.labels), cut_off)
    if test is not None and worst is not None:
        same = _difference(_test_arrays(test), readers.read_test(path), cut_off)
        worst = None if same is None else worst
    if worst is None:
        raise UserError(f"{path} does not read back as it was written; check the disk.")
    return worst


def _difference(wanted: Arrays, found: Arrays, cut_off: bool) -> float | None:
    """The largest difference of a pixel; None if it is more than the form's rounding."""
    images, labels = wanted
    order, found_order = (np.argsort(x, kind="stable") for x in (labels, found[1]))
    if not np.array_equal(labels[order], found[1][found_order]):
        return None
    images = np.clip(images, 0, 1) if cut_off else images
    if images.shape != found[0].shape:
        return None
    worst = float(np.abs(images[order] - found[0][found_order]).max())
    allowed = 0.51 / 255 if cut_off else 1e-5 * max(1.0, float(np.abs(images).max()))
    return worst if worst <= allowed else None


def _arrays(made: CondensedSet, decoded: bool) -> Arrays:
    if not decoded:
        return made.images, made.labels.astype(np.int64)
    images, labels = made.decoded()
    return np.asarray(images, np.float32), np.asarray(labels, np.int64)


def _test_arrays(test: Dataset) -> Arrays:
    return test.images.astype(np.float32) / 255, test.labels.astype(np.int64)


def eight_bit(images: np.ndarray) -> np.ndarray:
    """[0, 1] units to uint8, rounded, what is outside cut off."""
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8)


About = dict[str, Any]
"""The description; "split" is there for the test images."""


def _write_folders(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    values, root = eight_bit(images), path / ("test" if "split" in about else "images")
    for label, name in enumerate(about["folders"]):
        (root / name).mkdir(parents=True)
        for number, image in enumerate(values[labels == label]):
            (root / name / f"{number:05d}.png").write_bytes(pixels.to_png(image))
    (path / "classes.txt").write_text(
        "".join(f"{name}\n" for name in names.unique(about["classes"])), encoding="utf-8"
    )


def _write_npz(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    normalisation = about["normalisation"]
    np.savez(
        path / ("test.npz" if "split" in about else "set.npz"),
        images=images,
        labels=labels,
        classes=np.array(names.unique(about["classes"])),
        mean=np.array(normalisation["mean"], np.float32),
        std=np.array(normalisation["std"], np.float32),
        factor=np.array(1 if "split" in about else about["factor_left"]),
    )


def _write_safetensors(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    tensors = {"images": np.ascontiguousarray(images, np.float32), "labels": labels}
    test = "split" in about
    # By way of bytes: the library's own files are nobody else's to read (mode 0600).
    data = safetensors.numpy.save(tensors, None if test else {METADATA: json.dumps(about)})
    (path / ("test.safetensors" if test else "set.safetensors")).write_bytes(data)


def _write_torch(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    normalisation = about["normalisation"]
    mean, std = (np.array(normalisation[k], np.float32) for k in ("mean", "std"))
    _write_safetensors(path, ((images - mean) / std).transpose(0, 3, 1, 2), labels, about)


def _write_tfds(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    classes = names.unique(about["classes"])
    tfds_source.write(path, about["tfds_name"], eight_bit(images), labels, classes)


def _write_huggingface(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("a Hugging Face dataset needs pyarrow; pip install pyarrow.") from error
    rows = [
        {"bytes": pixels.to_png(image), "path": f"{number:05d}.png"}
        for number, image in enumerate(eight_bit(images))
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": names.unique(about["classes"]), "_type": "ClassLabel"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    table = table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (path / "data").mkdir(exist_ok=True)
    split = about.get("split", "train")
    pq.write_table(table, path / "data" / f"{split}-00000-of-00001.parquet")


_WRITERS: dict[str, Callable[[Path, np.ndarray, np.ndarray, About], None]] = {
    "png": _write_folders,
    "npz": _write_npz,
    "safetensors": _write_safetensors,
    "torch": _write_torch,
    "ddranking": _write_folders,
    "tfds": _write_tfds,
    "huggingface": _write_huggingface,
}
