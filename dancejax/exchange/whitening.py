"""ZCA whitening of a data set's pixels, in which some published sets are kept."""

from typing import NamedTuple

import numpy as np

from dancejax.data.dataset import Dataset
from dancejax.errors import UserError

EPSILON = 0.1
"""What published setups add to the variances (MTT and its successors)."""
MOST_NUMBERS = 3 * 64 * 64
"""Numbers an image up to which there is room for their covariance."""
_AT_ONCE = 5000


class Whitening(NamedTuple):
    """x -> U (S + EPSILON)^(-1/2) U' (x - mean), of flat images.

    Attributes:
      mean: of the training images, float64 [d].
      directions: U, of the covariance's eigenvectors as columns, float64 [d, d].
      variances: S, their eigenvalues, float64 [d].
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def whiten(self, images: np.ndarray) -> np.ndarray:
        """Whitened images, float32 [n, h, w, c], of ones [n, h, w, c]."""
        flat = images.reshape(len(images), -1) - self.mean
        return self._scaled(flat, (self.variances + EPSILON) ** -0.5, images.shape)

    def undo(self, images: np.ndarray) -> np.ndarray:
        """The images [n, h, w, c] whose whitened ones are given, float32."""
        flat = images.reshape(len(images), -1).astype(np.float64)
        found = self._scaled(flat, (self.variances + EPSILON) ** 0.5, images.shape)
        return found + self.mean.reshape(images.shape[1:]).astype(np.float32)

    def _scaled(self, flat: np.ndarray, scales: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        turned = (flat @ self.directions * scales) @ self.directions.T
        return turned.astype(np.float32).reshape(shape)


def fit(
    dataset: Dataset, mean: np.ndarray, std: np.ndarray, *, most: int | None = None
) -> Whitening:
    """Whitening by the images of a training set, a matter of seconds to a minute.

    Args:
      dataset: the training set.
      mean, std: of a normalisation before, float [c]; 0 and 1 for none.
      most: images that are looked at, the first ones; None: all.

    Raises:
      UserError: images of more than MOST_NUMBERS numbers.

    References:
      Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
      appendix A.1.
    """
    count = min(len(dataset), most or len(dataset))
    width = int(np.prod(dataset.image_shape))
    if width > MOST_NUMBERS:
        raise UserError(
            f"images of {'x'.join(map(str, dataset.image_shape))} are too large for whitening, "
            f"which takes up to {MOST_NUMBERS} numbers an image; convert the set to pixels where "
            "it was made."
        )
    # Sums of float32 products in blocks; the blocks are added in float64.
    first, second = np.zeros(width), np.zeros((width, width))
    for start in range(0, count, _AT_ONCE):
        images = dataset.images[start : min(start + _AT_ONCE, count)] / np.float32(255)
        flat = ((images - mean) / std).astype(np.float32).reshape(len(images), -1)
        first += flat.sum(0, dtype=np.float64)
        second += flat.T @ flat
    center = first / count
    covariance = (second - count * np.outer(center, center)) / max(1, count - 1)
    variances, directions = np.linalg.eigh(covariance)
    return Whitening(center, directions, np.maximum(variances, 0))
