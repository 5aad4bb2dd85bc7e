"""NumPy arrays in one .npz file."""

from pathlib import Path

import numpy as np

from dancejax import names
from dancejax.exchange import files
from dancejax.exchange.form import About, Arrays, Form


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write images, labels and what is needed to use them to set.npz or test.npz.

    Args:
      path: an empty folder.
      images: float [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
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


def read(path: Path, about: About, split: str) -> Arrays:
    """Read set.npz or test.npz."""
    arrays = files.named_arrays(path / ("set.npz" if split == "train" else "test.npz"))
    return np.ascontiguousarray(arrays["images"], np.float32), arrays["labels"]


def _use(about: About) -> str:
    return "`numpy.load('set.npz')` has images [n, h, w, c], labels, classes, mean, std, factor."


FORM = Form(
    title="float32 arrays",
    write=write,
    read=read,
    use=_use,
    stored=True,
    test="in `test.npz`",
    parts=("set.npz",),
)
