"""Pictures of a run: right sizes, frames and points."""

import io

import numpy as np
import pytest
from PIL import Image

from dancejax import coreset, figures
from dancejax.errors import UserError
from dancejax.report import gallery
from dancejax.training import experts


def png(path, value, size=(40, 30)):
    Image.new("RGB", size, (value, 0, 255 - value)).save(path)
    return path


def test_before_and_after_stand_side_by_side(tmp_path):
    both = gallery.pair(
        png(tmp_path / "a.png", 10).read_bytes(), png(tmp_path / "b.png", 200).read_bytes()
    )
    image = np.asarray(Image.open(io.BytesIO(both)))
    assert image.shape == (30, 92, 3)
    assert image[5, 5, 0] == 10 and image[5, 80, 0] == 200 and image[5, 45].min() == 255


def test_the_animation_shows_every_picture_and_rests_at_both_ends(tmp_path):
    paths = [png(tmp_path / f"{value}.png", value) for value in (0, 90, 250)]
    film = Image.open(io.BytesIO(gallery.animation(paths, seconds=0.2)))
    assert film.n_frames == 3 and film.info["loop"] == 0
    durations = []
    for frame, value in enumerate((0, 90, 250)):
        film.seek(frame)
        durations.append(film.info["duration"])
        colour = film.convert("RGB").getpixel((5, 25))
        assert colour == pytest.approx((value, 0, 255 - value), abs=6)
    assert durations[1] == 200 and min(durations[0], durations[2]) >= 2500
    with pytest.raises(UserError, match="at least two pictures"):
        gallery.animation(paths[:1])


def test_the_animation_shows_what_changed_and_where(tmp_path):
    first = np.full((30, 40, 3), 100, np.uint8)
    last = first.copy()
    last[:, 20:] += 10
    for name, values in (("a", first), ("b", last)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    film = Image.open(io.BytesIO(gallery.animation([tmp_path / "a.png", tmp_path / "b.png"])))
    film.seek(1)
    pixels = np.asarray(film.convert("RGB")).astype(int)[-30:, :, 0]
    assert pixels.shape[1] < 2 * 40 + 12  # the columns that change, with a margin
    assert pixels[20, 54] == pytest.approx(128, abs=4)
    assert pixels[20, -1] == pytest.approx(128 + 13 * 10, abs=8)


def test_pictures_of_several_widths_make_one_film(tmp_path):
    """Words above a picture widen it: "iteration 5" is shorter than "iteration 50"."""
    paths = [png(tmp_path / "5.png", 10, (36, 30)), png(tmp_path / "50.png", 10, (40, 30))]
    film = Image.open(io.BytesIO(gallery.animation(paths)))
    assert film.n_frames == 2
    assert film.convert("RGB").getpixel((38, 40)) == pytest.approx((255, 255, 255), abs=6)


@pytest.mark.parametrize("embedding", gallery.EMBEDDINGS)
def test_features_of_real_and_synthetic_images(embedding, train, pool_folder):
    found = experts.load_pool(pool_folder)
    sets = {"first": coreset.random(train, 2), "second": coreset.random(train, 3, seed=1)}
    figure = gallery.features_figure(train, sets, found, embedding=embedding, per_class=5)
    panels = figure.get_axes()
    assert len(panels) == 2
    counts = [[len(c.get_offsets()) for c in axes.collections] for axes in panels]
    assert counts == [[5, 2] * 3, [5, 3] * 3]
    real = [panel.collections[0].get_offsets() for panel in panels]
    np.testing.assert_array_equal(*real)
    with Image.open(io.BytesIO(figures.png(figure))) as picture:
        assert picture.width > 1000


def test_a_real_image_lies_on_its_own_point(train, pool_folder):
    """A coreset's images are among the real ones: so are their features."""
    found = experts.load_pool(pool_folder)
    figure = gallery.features_figure(
        train, {"random": coreset.random(train, 1)}, found, embedding="pca", per_class=24,
    )  # fmt: skip
    (axes,) = figure.get_axes()
    for real, own in zip(axes.collections[::2], axes.collections[1::2], strict=True):
        distances = np.linalg.norm(real.get_offsets() - own.get_offsets(), axis=1)
        assert distances.min() < 1e-3 * np.ptp(real.get_offsets())


def test_unknown_embeddings_are_said(train, pool_folder):
    with pytest.raises(UserError, match="unknown embedding 'umap'"):
        gallery.features_figure(train, {}, experts.load_pool(pool_folder), embedding="umap")
