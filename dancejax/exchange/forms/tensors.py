"""Tensors in one .safetensors file, which holds the description, too."""

import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from dancejax.exchange import files
from dancejax.exchange.form import About, Arrays, Form

METADATA = "dancejax"
"""The key of the description inside of the file."""


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write images and labels to set.safetensors or test.safetensors.

    Args:
      path: an empty folder.
      images: float32 [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
    tensors = {"images": np.ascontiguousarray(images, np.float32), "labels": labels}
    test = "split" in about
    # By way of bytes: the library's own files are nobody else's to read (mode 0600).
    data = safetensors.numpy.save(tensors, None if test else {METADATA: json.dumps(about)})
    (path / ("test.safetensors" if test else "set.safetensors")).write_bytes(data)


def read(path: Path, about: About, split: str) -> Arrays:
    """Read set.safetensors or test.safetensors of a folder, or a file that was one."""
    if path.is_dir():
        path = path / ("set.safetensors" if split == "train" else "test.safetensors")
    arrays = files.named_arrays(path)
    return np.ascontiguousarray(arrays["images"], np.float32), arrays["labels"]


def description(path: Path) -> About | None:
    """Return the description that a .safetensors file holds; None for any other file."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "null"))
    except Exception:  # whoever reads the arrays says what is wrong
        return None
    return about if isinstance(about, dict) else None


def _use(about: About) -> str:
    return "`safetensors.numpy.load_file('set.safetensors')` has images [n, h, w, c] and labels."


FORM = Form(
    title="float32 arrays",
    write=write,
    read=read,
    use=_use,
    stored=True,
    test="in `test.safetensors`",
    parts=("set.safetensors",),
)
