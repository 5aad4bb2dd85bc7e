"""Decoding against an independent half-pixel bilinear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dancejax import multiformation
from dancejax.errors import UserError


def enlarge(tile, height, width):
    """Bilinear with half-pixel centres and the edge repeated, pixel by pixel."""
    th, tw, _ = tile.shape

    def taps(position, old, new):
        source = min(max((position + 0.5) * old / new - 0.5, 0), old - 1)
        low = int(np.floor(source))
        return low, min(low + 1, old - 1), source - low

    out = np.empty((height, width, tile.shape[2]))
    for y in range(height):
        y0, y1, fy = taps(y, th, height)
        for x in range(width):
            x0, x1, fx = taps(x, tw, width)
            top = (1 - fx) * tile[y0, x0] + fx * tile[y0, x1]
            bottom = (1 - fx) * tile[y1, x0] + fx * tile[y1, x1]
            out[y, x] = (1 - fy) * top + fy * bottom
    return out


def reference(images, factor):
    n, h, w, c = images.shape
    th, tw = -(-h // factor), -(-w // factor)
    padded = np.full((n, th * factor, tw * factor, c), 0.5)
    padded[:, :h, :w] = images
    return np.stack([
        enlarge(image[i * th : (i + 1) * th, j * tw : (j + 1) * tw], h, w)
        for image in padded
        for i in range(factor)
        for j in range(factor)
    ])  # fmt: skip


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 7, 1), (28, 28, 1), (9, 6, 3), (32, 32, 3)])
def test_decode_is_half_pixel_bilinear(factor, shape):
    images = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    found = multiformation.decode(jnp.array(images), factor)
    np.testing.assert_allclose(found, reference(images, factor), atol=2e-6)


encode, decode = (
    jax.jit(f, static_argnums=1) for f in (multiformation.encode, multiformation.decode)
)


def test_factor_one_changes_nothing():
    images = jax.random.uniform(jax.random.key(0), (3, 5, 5, 1))
    np.testing.assert_array_equal(multiformation.decode(images, 1), images)
    np.testing.assert_array_equal(multiformation.encode(images, 1), images)


@given(st.sampled_from([2, 3]), st.sampled_from([6, 12, 28]), st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_constant_tiles_come_back(factor, side, stored):
    values = np.random.default_rng(side).random(stored * factor**2).astype(np.float32)
    images = np.broadcast_to(values[:, None, None, None], (len(values), side, side, 1))
    packed = encode(jnp.array(images), factor)
    assert packed.shape == (stored, side, side, 1)
    if side % factor == 0:
        np.testing.assert_allclose(decode(packed, factor), images, atol=1e-6)


def test_encoding_halves_by_antialiased_bilinear():
    """By two: weights 1 3 3 1 over 8 inside, as a triangle of twice the width."""
    row = np.random.default_rng(0).random(8).astype(np.float32)
    images = np.broadcast_to(row[None, None, :, None], (4, 8, 8, 1))
    packed = np.asarray(multiformation.encode(jnp.array(images), 2))[0, 0, :4, 0]
    expected = [np.dot([1, 3, 3, 1], row[i - 1 : i + 3]) / 8 for i in (2, 4)]
    np.testing.assert_allclose(packed[1:3], expected, rtol=1e-5)


def test_gradient_is_the_transpose():
    """Decoding is affine, so that <decode(x + d) - decode(x), g> = <d, gradient>."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, d = (jax.random.normal(k, (2, 7, 7, 3)) for k in keys[:2])
    g = jax.random.normal(keys[2], (8, 7, 7, 3))
    out, vjp = jax.vjp(lambda p: multiformation.decode(p, 2), x)
    moved = multiformation.decode(x + d, 2) - out
    np.testing.assert_allclose(jnp.vdot(moved, g), jnp.vdot(d, vjp(g)[0]), rtol=1e-4)


def test_factors_and_counts_that_do_not_fit():
    with pytest.raises(UserError, match="factor"):
        multiformation.check_factor(0, 28, 28)
    with pytest.raises(UserError, match="choose a factor of at most 14"):
        multiformation.check_factor(15, 28, 28)
    multiformation.check_factor(14, 28, 28)
    with pytest.raises(ValueError, match="3 images do not fill"):
        multiformation.encode(jnp.zeros((3, 8, 8, 1)), 2)


@pytest.mark.parametrize(("side", "factor"), [(28, 2), (32, 2), (7, 2), (16, 3)])
def test_reductions_keep_single_pixels_or_their_means(side, factor):
    images = np.random.default_rng(0).random((factor**2, side, side, 1)).astype(np.float32)
    tile = -(-side // factor)
    for reduction in ("nearest", "mean"):
        stored = np.asarray(multiformation.encode(jnp.asarray(images), factor, reduction=reduction))
        assert stored.shape == (1, side, side, 1)
        for row in range(tile):
            for column in range(tile):
                (y0, y1), (x0, x1) = (
                    (i * side // tile, -(-(i + 1) * side // tile)) for i in (row, column)
                )
                block = images[0, y0:y1, x0:x1, 0]
                expected = block[0, 0] if reduction == "nearest" else block.mean()
                np.testing.assert_allclose(stored[0, row, column, 0], expected, rtol=1e-5)


def test_unknown_reduction():
    with pytest.raises(UserError, match="reduction"):
        multiformation.encode(jnp.zeros((4, 8, 8, 1)), 2, reduction="cubic")
