"""Differentiable Siamese augmentation (DSA, Zhao and Bilen, ICML 2021) and CutMix.

One augmentation is a `Draw` of numbers, neutral where an operation was not chosen, so that applying
it needs no branches: colour, then one affine resampling (flip with crop, scale or rotation), then
cutout. Images are normalised, so that the zeros put in by crop, scale, rotation and cutout are the
mean colour.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from dancejax.errors import UserError

Array = jax.Array

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
MODES = ("single", "multi")
_BRIGHTNESS, _SATURATION, _CONTRAST = 1.0, 2.0, 0.5
_CROP, _CUTOUT, _SCALE, _ROTATE = 0.125, 0.5, 1.2, 15.0


class Draw(NamedTuple):
    """The random numbers of one augmentation, all without or all with the same leading axes.

    Attributes:
      brightness: added, in [-0.5, 0.5]; 0 is neutral.
      saturation: factor around the mean over channels, in [0, 2]; 1 is neutral.
      contrast: factor around the mean over the image, in [0.5, 1.5]; 1 is neutral.
      flip: whether to mirror left and right, bool.
      shift: whole pixels in y and x, [2], up to an eighth of each side; 0 is neutral.
      scale: factors of the sampling grid in y and x, [2], in [1/1.2, 1.2]; 1 is neutral.
      angle: radians, up to 15 degrees either way; 0 is neutral.
      cutout: whether to cut a box of half of each side out, bool.
      centre: of that box, whole pixels in y and x, [2].
    """

    brightness: Array
    saturation: Array
    contrast: Array
    flip: Array
    shift: Array
    scale: Array
    angle: Array
    cutout: Array
    centre: Array


def check_mode(mode: str) -> None:
    """Raise UserError unless `mode` is one of MODES."""
    if mode not in MODES:
        raise UserError(f"unknown augmentation mode {mode!r}; choose one of {', '.join(MODES)}.")


def parse(strategy: str) -> tuple[str, ...]:
    """Split a strategy into its operations.

    Args:
      strategy: names of OPERATIONS joined by underscores, for instance "color_crop_cutout"; empty
        for no augmentation.

    Raises:
      UserError: an unknown operation.
    """
    operations = tuple(part for part in strategy.lower().split("_") if part)
    for operation in operations:
        if operation not in OPERATIONS:
            raise UserError(
                f"unknown augmentation {operation!r} in {strategy!r}; "
                f"join some of {', '.join(OPERATIONS)} with underscores."
            )
    return operations


def without(strategy: str, *operations: str) -> str:
    """Remove operations from a strategy."""
    return "_".join(part for part in parse(strategy) if part not in operations)


def draw(
    key: Array,
    strategy: str,
    mode: str,
    height: int,
    width: int,
    *,
    choice: Array | None = None,
) -> Draw:
    """Draw the random numbers of one augmentation.

    Args:
      key: PRNG key.
      strategy: operations joined by underscores.
      mode: "single" (DM, IDM) applies one operation of the strategy; "multi" (IDC, M3D, DANCE)
        applies flip, color and cutout where listed, and one of crop, scale and rotate.
      height: of the images, pixels.
      width: likewise.
      choice: PRNG key that chooses among the operations; None takes `key`.

    Raises:
      UserError: an unknown operation or mode.

    References:
      Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021;
      "multi" is that of IDC (Kim et al., ICML 2022).
    """
    operations = parse(strategy)
    check_mode(mode)
    keys = jax.random.split(key, 9)
    pool = [o for o in operations if mode == "single" or o in ("crop", "scale", "rotate")]
    k_chosen = keys[0] if choice is None else jax.random.split(choice, 9)[0]
    chosen = jax.random.randint(k_chosen, (), 0, max(1, len(pool)))

    def active(operation: str) -> Array:
        if operation in pool:
            return chosen == pool.index(operation)
        return jnp.asarray(operation in operations)

    def neutral(operation: str, value: Array, otherwise: float) -> Array:
        return jnp.where(active(operation), value, otherwise)

    u = jax.random.uniform(keys[1], (3,))
    limits = jnp.array([int(height * _CROP + 0.5), int(width * _CROP + 0.5)])
    sides = jnp.array([height, width])
    box = jnp.array([_cutout_side(height), _cutout_side(width)])
    turn = jnp.deg2rad(_ROTATE) * jax.random.uniform(keys[5], (), minval=-1.0, maxval=1.0)
    return Draw(
        brightness=neutral("color", (u[0] - 0.5) * _BRIGHTNESS, 0.0),
        saturation=neutral("color", u[1] * _SATURATION, 1.0),
        contrast=neutral("color", u[2] + _CONTRAST, 1.0),
        flip=active("flip") & jax.random.bernoulli(keys[2]),
        shift=neutral("crop", jax.random.randint(keys[3], (2,), -limits, limits + 1), 0),
        scale=neutral(
            "scale", jax.random.uniform(keys[4], (2,), minval=1 / _SCALE, maxval=_SCALE), 1.0
        ),
        angle=neutral("rotate", turn, 0.0),
        cutout=active("cutout"),
        centre=jax.random.randint(keys[6], (2,), 0, sides + 1 - box % 2),
    )


def apply(params: Draw, image: Array, strategy: str) -> Array:
    """Apply a draw to one image; operations that are not listed cost nothing.

    Args:
      params: a draw without leading axes.
      image: float [h, w, c], normalised.
      strategy: operations joined by underscores, as the draw was made with.

    Returns:
      float [h, w, c].
    """
    chex.assert_rank(image, 3)
    operations = parse(strategy)
    if "color" in operations:
        image = _color(params, image)
    if "scale" in operations or "rotate" in operations:
        image = _resample(params, image)
    else:
        if "flip" in operations:
            image = jnp.where(params.flip, image[:, ::-1], image)
        if "crop" in operations:
            image = _crop(params.shift, image)
    if "cutout" in operations:
        image = jnp.where(_cutout_mask(params, *image.shape[:2])[..., None], 0.0, image)
    return image


def siamese(key: Array, images: Array, strategy: str, mode: str) -> Array:
    """Augment all images in the same random way.

    With the same key, two batches get the same augmentation: a class's real and synthetic images.

    Args:
      key: PRNG key.
      images: float [n, h, w, c], normalised.
      strategy: as in `draw`.
      mode: likewise.

    Returns:
      float [n, h, w, c].

    References:
      Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.
    """
    chex.assert_rank(images, 4)
    params = draw(key, strategy, mode, *images.shape[1:3])
    return jax.vmap(lambda image: apply(params, image, strategy))(images)


def independent(
    key: Array, images: Array, strategy: str, mode: str, *, draw_by: str = "image"
) -> Array:
    """Augment each image by random numbers of its own, as in training a network.

    Args:
      key: PRNG key.
      images: float [n, h, w, c], normalised.
      strategy: as in `draw`.
      mode: likewise.
      draw_by: "image", or "batch" where all images get the same choice among the operations, as in
        the authors' setups. Its marginal distribution is the same.

    Returns:
      float [n, h, w, c].
    """
    chex.assert_rank(images, 4)
    keys = jax.random.split(key, images.shape[0])
    choice = jax.random.fold_in(key, images.shape[0]) if draw_by == "batch" else None
    h, w = images.shape[1:3]
    params = jax.vmap(lambda k: draw(k, strategy, mode, h, w, choice=choice))(keys)
    return jax.vmap(lambda p, image: apply(p, image, strategy))(params, images)


def cutmix(key: Array, images: Array, probability: float) -> tuple[Array, Array, Array]:
    """Replace a box in every image of a batch by the same box of another image.

    The loss is lam * loss(labels) + (1 - lam) * loss(labels[partner]).

    Args:
      key: PRNG key.
      images: float [n, h, w, c].
      probability: in [0, 1], of mixing the batch at all. The box, one for the batch, has an area of
        1 - lam before it is clipped at the border, with lam ~ Beta(1, 1).

    Returns:
      (images [n, h, w, c], index of each image's partner, int32 [n], and lam, the exact share of an
      image that is its own, a scalar in [0, 1]).

    References:
      Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
      Features", ICCV 2019.
    """
    chex.assert_rank(images, 4)
    n, h, w, _ = images.shape
    k_use, k_lam, k_centre, k_partner = jax.random.split(key, 4)
    use = jax.random.bernoulli(k_use, probability)
    side = jnp.sqrt(1 - jax.random.uniform(k_lam))
    sides = jnp.array([h, w])
    half = jnp.floor(sides * side).astype(jnp.int32) // 2
    centre = jax.random.randint(k_centre, (2,), 0, sides)
    low, high = jnp.clip(centre - half, 0, sides), jnp.clip(centre + half, 0, sides)
    mask = _box_mask(low, high, h, w) & use
    partner = jax.random.permutation(k_partner, n)

    def mix(images: Array) -> Array:
        return jnp.where(mask[None, :, :, None], images[partner], images)

    # A branch of its own, too, since XLA:CPU would compute an augmentation before it anew for
    # each pixel that is gathered, at nine times the cost.
    mixed = jax.lax.cond(use, mix, lambda images: images, images)
    return mixed, partner, 1 - jnp.mean(mask.astype(jnp.float32))


def _color(params: Draw, image: Array) -> Array:
    image = image + params.brightness
    grey = jnp.mean(image, axis=-1, keepdims=True)
    image = (image - grey) * params.saturation + grey
    mean = jnp.mean(image)
    return (image - mean) * params.contrast + mean


def _crop(shift: Array, image: Array) -> Array:
    h, w, _ = image.shape
    py, px = int(h * _CROP + 0.5), int(w * _CROP + 0.5)
    padded = jnp.pad(image, ((py, py), (px, px), (0, 0)))
    return jax.lax.dynamic_slice(padded, (py + shift[0], px + shift[1], 0), image.shape)


def _resample(params: Draw, image: Array) -> Array:
    """Flip, crop, scale and rotation as one bilinear sampling with zeros outside."""
    h, w, _ = image.shape
    middle_y, middle_x = (h - 1) / 2, (w - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(h) - middle_y, jnp.arange(w) - middle_x, indexing="ij")
    sin, cos = jnp.sin(params.angle), jnp.cos(params.angle)
    source_y = (sin * x + cos * y) * params.scale[0] + params.shift[0] + middle_y
    source_x = (cos * x - sin * y) * params.scale[1] + params.shift[1]
    source_x = jnp.where(params.flip, -source_x, source_x) + middle_x
    return _bilinear(image, source_y, source_x)


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    h, w, _ = image.shape
    y0, x0 = jnp.floor(y), jnp.floor(x)
    fy, fx = y - y0, x - x0
    total = jnp.zeros(())
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            iy, ix = y0.astype(jnp.int32) + dy, x0.astype(jnp.int32) + dx
            inside = (iy >= 0) & (iy < h) & (ix >= 0) & (ix < w)
            taken = image[jnp.clip(iy, 0, h - 1), jnp.clip(ix, 0, w - 1)]
            total = total + jnp.where(inside, wy * wx, 0.0)[..., None] * taken
    return total


def _cutout_side(side: int) -> int:
    return int(side * _CUTOUT + 0.5)


def _cutout_mask(params: Draw, h: int, w: int) -> Array:
    box = jnp.array([_cutout_side(h), _cutout_side(w)])
    low = params.centre - box // 2
    return _box_mask(low, low + box, h, w) & params.cutout


def _box_mask(low: Array, high: Array, h: int, w: int) -> Array:
    rows = (jnp.arange(h) >= low[0]) & (jnp.arange(h) < high[0])
    columns = (jnp.arange(w) >= low[1]) & (jnp.arange(w) < high[1])
    return rows[:, None] & columns[None, :]
