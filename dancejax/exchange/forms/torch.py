"""Normalised NCHW tensors in one .safetensors file, as PyTorch's networks take them."""

from pathlib import Path

import numpy as np

from dancejax.exchange.form import About, Arrays, Form
from dancejax.exchange.forms import tensors


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write normalised images [n, c, h, w] and labels.

    Args:
      path: an empty folder.
      images: float32 [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
    mean, std = _constants(about)
    tensors.write(path, ((images - mean) / std).transpose(0, 3, 1, 2), labels, about)


def read(path: Path, about: About, split: str) -> Arrays:
    """Read the tensors, and undo the normalisation."""
    mean, std = _constants(about)
    images, labels = tensors.read(path, about, split)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1) * std + mean), labels


def _constants(about: About) -> tuple[np.ndarray, np.ndarray]:
    mean, std = (np.array(about["normalisation"][k], np.float32) for k in ("mean", "std"))
    return mean, std


def _use(about: About) -> str:
    return (
        "`safetensors.torch.load_file('set.safetensors')` has images [n, c, h, w], which are "
        "normalised already, and labels."
    )


FORM = Form(
    title="normalised NCHW tensors, for safetensors.torch.load_file",
    write=write,
    read=read,
    use=_use,
    pixels="float32, normalised, NCHW",
    test="in `test.safetensors`, normalised as the training images are",
    parts=("set.safetensors",),
)
