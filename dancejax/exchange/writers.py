"""Exports of a condensed set, each with a description of its pixels and a README."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from dancejax import condensed, runs
from dancejax.condensed import CondensedSet
from dancejax.data import pixels, tfds_source
from dancejax.errors import UserError

FORMAT = 1
DESCRIPTION = "dancejax.json"
EIGHT_BIT = ("png", "ddranking", "tfds", "huggingface")
FORMS = ("png", "npz", "safetensors", "torch", "ddranking", "tfds", "huggingface")
"""png: a folder for each class. npz, safetensors: float32 arrays. torch: safetensors with
normalised NCHW tensors. ddranking: what that package's evaluation takes. tfds: a prepared TFDS data
set. huggingface: a dataset folder with Parquet and a card."""


def export(
    made: CondensedSet,
    path: Path,
    form: str,
    *,
    decoded: bool = True,
    licence: str = "unknown",
    accuracy: str | None = None,
) -> dict[str, Any]:
    """Writes a set in one of FORMS to the new folder `path`; returns its description.

    decoded: the training images, factor**2 of each stored one; else the stored ones, which readers
    have to decode. licence: of the source data, an identifier such as "mit". accuracy: a sentence
    for the README. The 8-bit forms round to 1/255 and cut off what is not in [0, 1]; the
    description says how much that was. Raises UserError for an unknown form, a form that needs
    decoded images, or a folder that is there already.
    """
    if form not in FORMS:
        raise UserError(f"unknown form {form!r}; choose one of {', '.join(FORMS)}.")
    if not decoded and form in ("torch", "ddranking", "tfds", "huggingface"):
        raise UserError(f"{form} is for tools that do not decode; export decoded images.")
    path = Path(path).absolute()
    if path.exists():
        raise UserError(f"{path} is there already; remove it or choose another folder.")
    images, labels = _arrays(made, decoded)
    about = describe(made, form, images, decoded)
    temporary = runs.open_workdir(path.with_name(f".{path.name}.tmp"))
    try:
        _WRITERS[form](temporary, images, labels, about)
        runs.write_json(temporary / DESCRIPTION, about)
        card = _card(about, len(images), licence, accuracy)
        runs.write_bytes(temporary / "README.md", card.encode())
        temporary.rename(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); make room.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return about


def describe(made: CondensedSet, form: str, images: np.ndarray, decoded: bool) -> dict[str, Any]:
    """What dancejax.json of an export says."""
    manifest = condensed.manifest(made)
    eight = form in EIGHT_BIT
    scale = "float32 in [0, 1] units before normalisation"
    if eight:
        scale = "8 bit, 0 to 255 for [0, 1] before normalisation"
    elif form == "torch":
        scale = "float32, normalised, NCHW"
    outside = float(np.mean((images < 0) | (images > 1)))
    return {
        "format": FORMAT,
        "kind": "dancejax export",
        "form": form,
        "pixels": scale,
        "outside_of_range": {"share": outside, "cut_off": eight},
        "normalisation": manifest["normalisation"],
        "images": "decoded" if decoded else "stored",
        "decoding": manifest["decoding"],
        "factor_left": 1 if decoded else made.factor,
        **{
            name: manifest[name]
            for name in ("method", "ipc", "classes", "source", "settings", "versions")
        },
    }


def folder_names(classes: list[str] | tuple[str, ...]) -> list[str]:
    """A folder for each class, whose alphabetical order is that of the labels."""
    digits = len(str(len(classes) - 1))
    plain = [re.sub(r"[^\w.+-]+", "_", name) for name in classes]
    return [f"{i:0{digits}d}_{name}" for i, name in enumerate(plain)]


def _arrays(made: CondensedSet, decoded: bool) -> tuple[np.ndarray, np.ndarray]:
    if not decoded:
        return made.images, made.labels.astype(np.int64)
    images, labels = made.decoded()
    return np.asarray(images, np.float32), np.asarray(labels, np.int64)


def eight_bit(images: np.ndarray) -> np.ndarray:
    """[0, 1] units to uint8, rounded, what is outside cut off."""
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8)


def _png_folders(root: Path, images: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    values = eight_bit(images)
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number, image in enumerate(values[labels == label]):
            (root / name / f"{number:05d}.png").write_bytes(pixels.to_png(image))


def _write_png(path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]) -> None:
    _png_folders(path / "images", images, labels, folder_names(about["classes"]))


def _write_npz(path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]) -> None:
    normalisation = about["normalisation"]
    np.savez(
        path / "set.npz",
        images=images,
        labels=labels,
        classes=np.array(about["classes"]),
        mean=np.array(normalisation["mean"], np.float32),
        std=np.array(normalisation["std"], np.float32),
        factor=np.array(about["factor_left"]),
    )


def _write_safetensors(
    path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]
) -> None:
    tensors = {"images": np.ascontiguousarray(images), "labels": labels}
    metadata = {"dancejax": json.dumps(about)}
    safetensors.numpy.save_file(tensors, path / "set.safetensors", metadata)


def _write_torch(path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]) -> None:
    normalisation = about["normalisation"]
    mean, std = (np.array(normalisation[k], np.float32) for k in ("mean", "std"))
    _write_safetensors(path, ((images - mean) / std).transpose(0, 3, 1, 2), labels, about)


def _write_ddranking(
    path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]
) -> None:
    digits = len(str(len(about["classes"]) - 1))
    names = [f"{i:0{digits}d}" for i in range(len(about["classes"]))]
    _png_folders(path / "images", images, labels, names)


def _write_tfds(path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]) -> None:
    tfds_source.write(path, tfds_name(about), eight_bit(images), labels, about["classes"])


def tfds_name(about: dict[str, Any]) -> str:
    """The export's name as TFDS wants names."""
    plain = re.sub(r"\W+", "_", about["source"]["name"].lower()).strip("_")
    return f"{plain}_{about['method']}_ipc{about['ipc']}"


def _write_huggingface(
    path: Path, images: np.ndarray, labels: np.ndarray, about: dict[str, Any]
) -> None:
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
        "label": {"names": list(about["classes"]), "_type": "ClassLabel"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    table = table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (path / "data").mkdir()
    pq.write_table(table, path / "data" / "train-00000-of-00001.parquet")


_WRITERS: dict[str, Callable[[Path, np.ndarray, np.ndarray, dict[str, Any]], None]] = {
    "png": _write_png,
    "npz": _write_npz,
    "safetensors": _write_safetensors,
    "torch": _write_torch,
    "ddranking": _write_ddranking,
    "tfds": _write_tfds,
    "huggingface": _write_huggingface,
}

_USE = {
    "png": "Each class has a folder in `images/`, numbered in the order of the labels.",
    "npz": "`numpy.load('set.npz')` has images [n, h, w, c], labels, classes, mean, std, factor.",
    "safetensors": "`safetensors.numpy.load_file('set.safetensors')` has images [n, h, w, c] and "
    "labels.",
    "torch": "`safetensors.torch.load_file('set.safetensors')` has images [n, c, h, w], which are "
    "normalised already, and labels.",
    "ddranking": "`ddranking.metrics.LabelRobustScoreHard(...).compute_metrics("
    "image_path='images', syn_lr=0.01)`: its custom_train_trans must turn images to tensors and "
    "normalise them as above.",
    "tfds": "`tfds.data_source('{tfds}', split='train', data_dir=THIS_FOLDER)`.",
    "huggingface": "`datasets.load_dataset(THIS_FOLDER, split='train')`.",
}


def _card(about: dict[str, Any], count: int, licence: str, accuracy: str | None) -> str:
    source, normalisation = about["source"], about["normalisation"]
    outside = about["outside_of_range"]["share"]
    lines = [
        f"# {source['name']}, condensed by {about['method']}: {about['ipc']} images per class",
        "",
        f"{count} {about['images']} images of {len(about['classes'])} classes, made by dancejax "
        f"from the training split of {source['name']} (sha256 {source['fingerprint']}).",
        "",
        f"- Pixels: {about['pixels']}. {100 * outside:.2f} % of them were outside of [0, 1]"
        + (" and are cut off." if about["outside_of_range"]["cut_off"] else "."),
        f"- Normalisation for networks: {normalisation['formula']}, mean {normalisation['mean']}, "
        f"std {normalisation['std']}.",
    ]
    if about["factor_left"] > 1:
        lines.append(
            f"- To be decoded, factor {about['factor_left']}: {about['decoding']['rule']}."
        )
    lines += [
        f"- Licence of the source data: {licence}.",
        f"- Accuracy: {accuracy or 'not stated'}",
        f"- Use: {_USE[about['form']].format(tfds=tfds_name(about))}",
        "",
        "Classes: " + ", ".join(about["classes"]) + ".",
        "",
        f"All settings are in `{DESCRIPTION}`.",
    ]
    text = "\n".join(lines) + "\n"
    return _front_matter(about, licence) + text if about["form"] == "huggingface" else text


def _front_matter(about: dict[str, Any], licence: str) -> str:
    """The YAML head that the Hugging Face hub reads."""
    names = "\n".join(
        f"          '{i}': {json.dumps(name)}" for i, name in enumerate(about["classes"])
    )
    return f"""---
license: {json.dumps(licence)}
task_categories:
- image-classification
tags:
- dataset-condensation
- dataset-distillation
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{names}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---
"""
