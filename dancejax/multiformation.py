"""Decode stored images into training images and lay real images into stored ones, as tiles.

Called "multi-formation" in IDC (Kim et al., ICML 2022) and "partition and expansion" in IDM (Zhao
et al., CVPR 2023).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dancejax.errors import UserError


def check_factor(factor: int, height: int, width: int) -> None:
    """Raise UserError unless factor is 1 or cuts tiles of at least 2 pixels a side.

    Args:
      factor: tiles a side.
      height: of the images, pixels.
      width: likewise.
    """
    if factor < 1:
        raise UserError(f"factor must be at least 1, not {factor}.")
    if factor > 1 and min(height, width) // factor < 2:
        raise UserError(
            f"factor {factor} cuts {height}x{width} images into tiles of less than 2 pixels; "
            f"choose a factor of at most {max(1, min(height, width) // 2)}."
        )


def decode(images: jax.Array, factor: int, *, pad_value: float = 0.5) -> jax.Array:
    """Cut each image into factor x factor tiles and resize each tile to full size.

    Differentiable; bilinear with half-pixel centres.

    Args:
      images: float [n, h, w, c].
      factor: tiles a side, l in IDM and DANCE; 1 returns the images.
      pad_value: fills up the bottom and right where factor does not divide a side; 0.5 is the
        middle of pixels in [0, 1].

    Returns:
      [factor**2 * n, h, w, c]; the tiles of an image follow each other, row by row.

    Raises:
      UserError: a factor below 1, or one that cuts tiles of less than 2 pixels a side.

    References:
      Zhao et al., "Improved Distribution Matching for Dataset Condensation", CVPR 2023, section
      "partition and expansion augmentation".
    """
    chex.assert_rank(images, 4)
    n, h, w, c = images.shape
    check_factor(factor, h, w)
    if factor == 1:
        return images
    pads = ((0, 0), (0, -h % factor), (0, -w % factor), (0, 0))
    padded = jnp.pad(images, pads, constant_values=pad_value)
    th, tw = padded.shape[1] // factor, padded.shape[2] // factor
    tiles = padded.reshape(n, factor, th, factor, tw, c).transpose(0, 1, 3, 2, 4, 5)
    tiles = tiles.reshape(n * factor**2, th, tw, c)
    return jax.image.resize(tiles, (n * factor**2, h, w, c), "bilinear", antialias=False)


REDUCTIONS = ("antialias", "nearest", "mean")
"""Ways of shrinking an image to a tile, see `encode`."""


def encode(images: jax.Array, factor: int, *, reduction: str = "antialias") -> jax.Array:
    """Shrink images and lay factor**2 of them into each stored image ("mix" initialisation).

    Args:
      images: [factor**2 * n, h, w, c].
      factor: tiles a side. Where it does not divide a side, the last tiles are cut at the border.
      reduction: "antialias" is bilinear with antialiasing, the smoothest; "nearest" takes one pixel
        of each factor x factor (DANCE, NCFM), the sharpest; "mean" is their mean (IDM).

    Returns:
      [n, h, w, c], in `decode`'s order.

    Raises:
      UserError: an unknown reduction, or a factor that does not suit the images.
      ValueError: a number of images that does not fill stored images.
    """
    chex.assert_rank(images, 4)
    if reduction not in REDUCTIONS:
        raise UserError(f"unknown reduction {reduction!r}; choose one of {', '.join(REDUCTIONS)}.")
    total, h, w, c = images.shape
    check_factor(factor, h, w)
    if factor == 1:
        return images
    n = total // factor**2
    if n * factor**2 != total:
        raise ValueError(f"{total} images do not fill stored images of {factor**2} tiles")
    th, tw = -(-h // factor), -(-w // factor)
    if reduction == "antialias":
        tiles = jax.image.resize(images, (total, th, tw, c), "bilinear", antialias=True)
    else:
        rows, columns = (_reduction(reduction, *sides) for sides in ((h, th), (w, tw)))
        exact = jax.lax.Precision.HIGHEST
        tiles = jnp.einsum("ah,nhwc,bw->nabc", rows, images, columns, precision=exact)
    grid = tiles.reshape(n, factor, factor, th, tw, c).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(n, factor * th, factor * tw, c)[:, :h, :w]


def _reduction(kind: str, size: int, target: int) -> np.ndarray:
    """Weights [target, size] that shrink a side: one pixel each, or the mean of those it covers."""
    weights = np.zeros((target, size), np.float32)
    for i in range(target):
        first, last = i * size // target, -(-(i + 1) * size // target)
        weights[i, first : first + 1 if kind == "nearest" else last] = 1
    return weights / weights.sum(1, keepdims=True)
