"""What each operation does, how often it is drawn, and that a siamese pair gets the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dancejax import augment
from dancejax.errors import UserError

ALL = "color_crop_cutout_flip_scale_rotate"
IMAGE = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)
NEUTRAL = augment.Draw(
    brightness=jnp.zeros(()),
    saturation=jnp.ones(()),
    contrast=jnp.ones(()),
    flip=jnp.zeros((), bool),
    shift=jnp.zeros(2, jnp.int32),
    scale=jnp.ones(2),
    angle=jnp.zeros(()),
    cutout=jnp.zeros((), bool),
    centre=jnp.zeros(2, jnp.int32),
)

apply = jax.jit(augment.apply, static_argnums=2)
cutmix = jax.jit(augment.cutmix, static_argnums=2)
independent = jax.jit(augment.independent, static_argnums=(2, 3))
siamese = jax.jit(augment.siamese, static_argnums=(2, 3))


def draws(strategy, mode, count=2000, side=16):
    keys = jax.random.split(jax.random.key(7), count)
    return jax.tree.map(
        np.asarray, jax.vmap(lambda k: augment.draw(k, strategy, mode, side, side))(keys)
    )


def active(drawn):
    return {
        "color": drawn.contrast != 1,
        "crop": (drawn.shift != 0).any(-1),
        "cutout": drawn.cutout,
        "flip": drawn.flip,
        "scale": (drawn.scale != 1).any(-1),
        "rotate": drawn.angle != 0,
    }


def test_neutral_draw_changes_nothing():
    np.testing.assert_allclose(apply(NEUTRAL, IMAGE, ALL), IMAGE, atol=1e-5)
    exact = apply(NEUTRAL, IMAGE, "crop_cutout_flip_scale_rotate")
    np.testing.assert_array_equal(exact, IMAGE)


@pytest.mark.parametrize("strategy", ["flip", "flip_rotate"])
def test_flip_reverses_columns(strategy):
    found = apply(NEUTRAL._replace(flip=jnp.array(True)), IMAGE, strategy)
    np.testing.assert_array_equal(found, IMAGE[:, ::-1])


@pytest.mark.parametrize("strategy", ["crop", "crop_scale"])
@pytest.mark.parametrize("shift", [(2, -1), (0, 2), (-2, -2)])
def test_crop_shifts_whole_pixels_and_puts_in_zeros(strategy, shift):
    found = apply(NEUTRAL._replace(shift=jnp.array(shift)), IMAGE, strategy)
    expected = np.zeros_like(IMAGE)
    for y in range(16):
        for x in range(16):
            if 0 <= y + shift[0] < 16 and 0 <= x + shift[1] < 16:
                expected[y, x] = IMAGE[y + shift[0], x + shift[1]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("centre", [(0, 0), (8, 8), (16, 3), (5, 16)])
def test_cutout_zeroes_a_clipped_square_of_half_the_side(centre):
    params = NEUTRAL._replace(cutout=jnp.array(True), centre=jnp.array(centre))
    found = np.asarray(apply(params, IMAGE, "cutout"))
    expected = IMAGE.copy()
    low = [max(0, c - 4) for c in centre]
    expected[low[0] : centre[0] + 4, low[1] : centre[1] + 4] = 0
    np.testing.assert_array_equal(found, expected)


def test_colour_is_brightness_then_saturation_then_contrast():
    params = NEUTRAL._replace(
        brightness=jnp.array(0.3), saturation=jnp.array(1.7), contrast=jnp.array(0.6)
    )
    x = IMAGE.astype(np.float64) + 0.3
    grey = x.mean(-1, keepdims=True)
    x = (x - grey) * 1.7 + grey
    x = (x - x.mean()) * 0.6 + x.mean()
    np.testing.assert_allclose(apply(params, IMAGE, "color"), x, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "angle"), [((1.2, 0.9), 0.0), ((1.0, 1.0), 0.2), ((0.85, 1.1), 0)]
)
def test_scale_and_rotation_against_scipy(scale, angle):
    params = NEUTRAL._replace(scale=jnp.array(scale), angle=jnp.array(angle))
    found = np.asarray(apply(params, IMAGE, "scale_rotate"))
    sin, cos = np.sin(angle), np.cos(angle)
    matrix = np.diag(scale) @ np.array([[cos, sin], [-sin, cos]])
    middle = np.array([7.5, 7.5])
    for channel in range(3):
        padded = np.pad(IMAGE[..., channel], 2)  # zeros outside, also for the taps at the border
        expected = ndimage.affine_transform(
            padded, matrix, middle + 2 - matrix @ middle, output_shape=(16, 16), order=1,
            mode="constant",
        )  # fmt: skip
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-4)


def test_draws_keep_to_their_ranges():
    drawn = draws("color_crop_cutout_flip", "multi")
    assert -0.5 <= drawn.brightness.min() < -0.45 and 0.45 < drawn.brightness.max() <= 0.5
    assert drawn.saturation.min() >= 0 and 1.9 < drawn.saturation.max() <= 2
    assert 0.5 <= drawn.contrast.min() < 0.55 and 1.45 < drawn.contrast.max() <= 1.5
    assert set(np.unique(drawn.shift)) == {-2, -1, 0, 1, 2}
    assert drawn.centre.min() == 0 and drawn.centre.max() == 16
    assert abs(drawn.flip.mean() - 0.5) < 0.05
    drawn = draws("scale", "single")
    assert 1 / 1.2 - 1e-6 <= drawn.scale.min() < 0.85 and 1.18 < drawn.scale.max() <= 1.2 + 1e-6
    drawn = draws("rotate", "single")
    assert np.rad2deg(np.abs(drawn.angle)).max() <= 15 + 1e-4
    assert np.rad2deg(drawn.angle).min() < -14 and np.rad2deg(drawn.angle).max() > 14
    assert set(np.unique(draws("crop", "single", side=28).shift)) == set(range(-4, 5))


def test_single_draws_one_operation_uniformly():
    drawn = active(draws(ALL, "single", 6000))
    counts = sum(mask.astype(int) for mask in drawn.values())
    assert counts.max() == 1
    # A crop of no pixels (1 in 25) and a flip not done (1 in 2) show nothing.
    shares = {"crop": 24 / 25, "flip": 0.5}
    for name, mask in drawn.items():
        expected = shares.get(name, 1.0) / 6
        assert abs(mask.mean() - expected) < 4 * np.sqrt(expected / 6000), name


def test_multi_draws_all_listed_and_one_move():
    drawn = active(draws(ALL, "multi", 6000))
    assert drawn["color"].all() and drawn["cutout"].all()
    assert abs(drawn["flip"].mean() - 0.5) < 0.03
    moves = drawn["crop"].astype(int) + drawn["scale"] + drawn["rotate"]
    assert moves.max() == 1
    for name, share in (("crop", 24 / 25 / 3), ("scale", 1 / 3), ("rotate", 1 / 3)):
        assert abs(drawn[name].mean() - share) < 0.03
    none = active(draws("color", "multi", 100))
    assert not any(mask.any() for name, mask in none.items() if name != "color")


@pytest.mark.parametrize("mode", augment.MODES)
def test_siamese_batches_get_the_same_and_one_image_that_of_its_batch(mode):
    images = jnp.array(np.random.default_rng(1).normal(size=(4, 16, 16, 3)), jnp.float32)
    for seed in range(8):
        key = jax.random.key(seed)
        batch = siamese(key, images, ALL, mode)
        for i in range(4):
            alone = siamese(key, images[i : i + 1], ALL, mode)
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-5)


def test_independent_draws_differ_from_image_to_image():
    images = jnp.broadcast_to(jnp.array(IMAGE), (16, *IMAGE.shape))
    out = np.asarray(independent(jax.random.key(0), images, "color_crop", "multi"))
    assert len(np.unique(out.reshape(16, -1), axis=0)) == 16


@pytest.mark.parametrize("strategy", ["color_crop_cutout_flip", ALL])
def test_gradients_are_those_of_an_affine_map(strategy):
    """Every operation is affine in the pixels: the directional derivative is the difference."""
    direction = jax.random.normal(jax.random.key(3), IMAGE.shape)
    for seed in range(4):
        params = augment.draw(jax.random.key(seed), strategy, "multi", 16, 16)
        out, vjp = jax.vjp(lambda x, p=params: apply(p, x, strategy), jnp.array(IMAGE))
        moved = apply(params, IMAGE + direction, strategy) - out
        weights = jax.random.normal(jax.random.key(9), IMAGE.shape)
        expected = jnp.vdot(direction, vjp(weights)[0])
        np.testing.assert_allclose(jnp.vdot(moved, weights), expected, rtol=1e-3, atol=1e-2)


def test_unknown_names_are_said():
    with pytest.raises(UserError, match="blur"):
        augment.parse("color_blur")
    with pytest.raises(UserError, match="both"):
        augment.draw(jax.random.key(0), "color", "both", 8, 8)
    assert augment.parse("") == ()
    assert augment.without("color_crop_cutout", "cutout") == "color_crop"


def test_cutmix_takes_a_box_of_the_stated_area_from_the_partner():
    images = jnp.arange(6.0)[:, None, None, None] * jnp.ones((6, 16, 16, 1))
    shares = []
    for seed in range(60):
        mixed, partner, lam = cutmix(jax.random.key(seed), images, 1.0)
        assert sorted(np.asarray(partner)) == list(range(6))
        for i, image in enumerate(np.asarray(mixed)[..., 0]):
            assert set(np.unique(image)) <= {float(i), float(partner[i])}
            if partner[i] != i:
                np.testing.assert_allclose((image == i).mean(), lam, atol=1e-6)
        shares.append(float(lam))
    assert min(shares) < 0.3 and max(shares) > 0.9
    assert 0.45 < np.mean(shares) < 0.75  # 0.5, and more where boxes are cut at the border


def test_cutmix_is_used_with_its_probability():
    images = jnp.arange(4.0)[:, None, None, None] * jnp.ones((4, 8, 8, 1))
    mixed, _, lam = cutmix(jax.random.key(0), images, 0.0)
    np.testing.assert_array_equal(mixed, images)
    assert float(lam) == 1
    keys = jax.random.split(jax.random.key(1), 2000)
    lams = jax.vmap(lambda k: cutmix(k, images, 0.5)[2])(keys)
    assert 0.4 < float((lams < 1).mean()) < 0.52  # half, less the empty boxes
