"""Whether another program's arrays are what their owner says they are: units and collages.

Pixels in wrong units still train networks, only badly, so that nobody would see why a set is worth
little. What the numbers would be under each reading is compared with the data set they came from.
"""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import multiformation
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.exchange import whitening
from dancejax.exchange.whitening import Whitening

_DOUBTFUL, _BETTER = 0.5, 0.4
"""Distance from which a reading is in doubt, and share of it at which another is far better."""
_TILES = 0.6
"""Share of the whole images' distance from the data set below which tiles are what it is made of.
Of plain images it is above 0.7 (CIFAR-10, MNIST, Fashion-MNIST), of MNIST's collages 0.3."""
_SEAM = 1.5
"""How many times the change beside the lines between tiles the change across them is, from which
on they are seams; 0.9 to 1.1 in plain images of CIFAR-10, 2 and more in collages."""


_FOR_WHITENING = 5000
"""Images that are enough to see whether pixels are whitened."""


class Units(NamedTuple):
    """What numbers of pixels mean."""

    values: str  # one of PIXELS
    mean: np.ndarray  # float32 [c], of the normalisation
    std: np.ndarray  # float32 [c]
    whitening: Whitening | None = None  # where values are "whitened"; after the normalisation


def to_unit(images: np.ndarray, units: Units) -> np.ndarray:
    """Bring images to [0, 1] units.

    Args:
      images: [n, h, w, c] in the given units.
      units: what their numbers mean.

    Returns:
      float32 [n, h, w, c].
    """
    images = images.astype(np.float32)
    if units.values == "byte":
        return images / 255
    if units.whitening is not None:
        images = units.whitening.undo(images)
    normalised = units.values in ("normalised", "whitened")
    return images * units.std + units.mean if normalised else images


def check_units(images: np.ndarray, units: Units, dataset: Dataset, path: Path) -> None:
    """Check that no other reading of the pixels fits the data set far better.

    Args:
      images: as they are in the file, [n, h, w, c].
      units: what they are, as the user says.
      dataset: what the set was condensed from.
      path: of the file, for the error.

    Raises:
      UserError: another reading does, or there are values that are not finite.
    """
    if not np.isfinite(images.astype(np.float32)).all():
        raise UserError(f"{path} has values that are not finite (NaN or infinity).")
    half = np.full(images.shape[3], 0.5, np.float32)
    usual = (np.array(dataset.mean, np.float32), np.array(dataset.std, np.float32))
    readings = {
        "--pixel_values=unit": Units("unit", half, half),
        "--pixel_values=byte": Units("byte", half, half),
        "--pixel_values=normalised": Units("normalised", *usual),
        "--pixel_values=normalised --mean=0.5 --std=0.5, which is [-1, 1]": Units(
            "normalised", half, half
        ),
    }
    own = _distance(to_unit(images, units), dataset)
    if own <= _DOUBTFUL:
        return
    if math.prod(images.shape[1:]) <= whitening.MOST_NUMBERS and images.shape[1:] == (
        dataset.image_shape
    ):
        zero, one = np.zeros_like(half), np.ones_like(half)
        some = whitening.fit(dataset, zero, one, most=_FOR_WHITENING)
        readings["--pixel_values=whitened"] = Units("whitened", zero, one, some)
    found = {
        name: _distance(to_unit(images, reading), dataset) for name, reading in readings.items()
    }
    best = min(found, key=lambda name: found[name])
    if found[best] < _BETTER * own:
        raise UserError(
            f"the numbers in {path} run from {images.min():.3g} to {images.max():.3g}; taken as "
            f"{units.values!r} they are far from {dataset.name}, but they fit with {best}. If "
            "they are right all the same, give --nocheck_pixels."
        )


def _distance(images: np.ndarray, dataset: Dataset) -> float:
    """How far the channels' means and deviations are from a data set's, and pixels from [0, 1]."""
    flat = images.reshape(-1, images.shape[3]).astype(np.float64)
    mean, std = np.array(dataset.mean), np.array(dataset.std)
    shift = np.abs(flat.mean(0) - mean) / std
    scale = np.abs(np.log(np.maximum(flat.std(0), 1e-6) / std))
    low, high = np.quantile(flat, [0.01, 0.99])
    outside = max(0.0, -low, high - 1)
    return float(np.mean(np.minimum(shift, 9) + np.minimum(scale, 9)) + min(outside, 9))


def check_factor(images: np.ndarray, factor: int | None, dataset: Dataset, path: Path) -> int:
    """Return the factor of a set; without one given, images must not look like collages.

    Args:
      images: [n, h, w, c] in [0, 1] units, of the data set's shape.
      factor: tiles a side as the user says, None where they said nothing.
      dataset: what the set was condensed from.
      path: of the file, for the error.

    Raises:
      UserError: no factor is given, and the images look like collages.
    """
    if factor is not None:
        return factor
    found = collage(images, dataset)
    if found > 1:
        raise UserError(
            f"the images in {path} look like collages of {found}x{found} images of {dataset.name} "
            f"each; give --factor={found} if they are, --factor=1 if they are plain images."
        )
    return 1


def collage(images: np.ndarray, dataset: Dataset) -> int:
    """Return how many tiles a side images seem to have: 1, 2 or 3.

    Tiles that look much more like images of the data set than the whole image does make a collage
    (things that are centred: digits, clothes), and so do pixels that change much more across the
    lines where tiles would meet than beside them (photographs).

    Args:
      images: float [n, h, w, c] in [0, 1] units.
      dataset: what they were condensed from.
    """
    typical = _Typical(dataset)
    whole = typical.distance(images)
    for factor in (2, 3):
        if min(images.shape[1:3]) // factor < 4:
            break
        tiles = np.asarray(multiformation.decode(jnp.asarray(images), factor))
        ratio = typical.distance(tiles) / max(whole, 1e-6)
        if ratio < _TILES or (ratio < 1 and seam(images, factor) > _SEAM):
            return factor
    return 1


class _Typical:
    """What images of a data set look like: mean and covariance of small versions of some."""

    def __init__(self, dataset: Dataset) -> None:
        rng = np.random.default_rng(0)
        some = np.sort(rng.permutation(len(dataset))[:2000])
        small = _small(dataset.images[some] / np.float32(255))
        self._mean = small.mean(0)
        covariance = np.atleast_2d(np.cov(small.T))
        size = len(covariance)
        floor = max(float(np.trace(covariance)) / size, 1e-6)
        self._inverse = np.linalg.inv(covariance + 0.05 * floor * np.eye(size))

    def distance(self, images: np.ndarray) -> float:
        """Median over the images of the Mahalanobis distance a dimension."""
        off = _small(images) - self._mean
        squares = np.einsum("ni,ij,nj->n", off, self._inverse, off) / off.shape[1]
        return float(np.median(np.sqrt(squares)))


def _small(images: np.ndarray) -> np.ndarray:
    """[n, h, w, c] -> 8x8 pixels, flat."""
    shape = (len(images), 8, 8, images.shape[3])
    resized = jax.image.resize(jnp.asarray(images, jnp.float32), shape, "bilinear", antialias=True)
    return np.asarray(resized).reshape(len(images), -1).astype(np.float64)


def seam(images: np.ndarray, factor: int) -> float:
    """Return how much pixels change across the lines that would cut images into tiles.

    Relative to the change one pixel before and after those lines: about 1 in plain images. The
    smaller one of the two directions counts, since tiles meet in both.

    Args:
      images: float [n, h, w, c].
      factor: tiles a side.
    """
    ratios = []
    for axis in (1, 2):
        side = images.shape[axis]
        change = np.abs(np.diff(images.astype(np.float32), axis=axis)).mean((0, 3))
        change = change.mean(1 if axis == 1 else 0)  # at each of the side - 1 borders of pixels
        lines = [-(-side // factor) * i - 1 for i in range(1, factor)]
        across = np.mean([change[i] for i in lines])
        beside = np.mean([change[i + j] for i in lines for j in (-2, -1, 1, 2)])
        ratios.append(float(across / beside) if beside > 0 else math.inf * bool(across))
    return float(np.nanmin(ratios)) if not np.isnan(ratios).all() else 1.0
