"""Pictures of a run: what the images were and became, and where their features lie."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from dancejax import interpolate, methods, names, runs, training
from dancejax.choices import EMBEDDINGS as EMBEDDINGS
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.training.experts import Experts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = {"pca": "first two principal components", "tsne": "t-SNE in two dimensions"}
_COLOURS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)
"""Tol's muted colours, which the colour-blind can tell apart."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def pair(before: bytes, after: bytes) -> bytes:
    """Two PNG pictures of one height side by side, as a PNG."""
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in (before, after)]
    gap = 12
    width, height = sum(i.width for i in images) + gap, max(i.height for i in images)
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(images[0], (0, 0))
    canvas.paste(images[1], (images[0].width + gap, 0))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


_BAND = 18
"""Height in pixels of the line of text above a film."""


def animation(pictures: Sequence[Path], *, seconds: float = 0.5) -> bytes:
    """Make a film of pictures, each beside what has changed since the first.

    The start and the end look much alike, so that the right half shows the difference: grey where
    nothing has changed, brighter or darker by the same factor in all pictures.

    Args:
      pictures: PNG files, at least two; the smaller are filled up with white at the right and
        below, since a picture is as wide as the words above it.
      seconds: a picture stands; the first and the last stand longer.

    Returns:
      A GIF that repeats.

    Raises:
      UserError: there are fewer than two pictures.
    """
    if len(pictures) < 2:
        raise UserError("an animation needs at least two pictures; condense with --picture_every.")
    plain = _of_one_size([np.asarray(Image.open(path).convert("RGB")) for path in pictures])
    changes = [values - plain[0] for values in plain]
    gain = _gain(changes[-1])
    left, right = _extent(changes)
    frames = [
        _frame(values, 128 + gain * change[:, left:right], gain)
        for values, change in zip(plain, changes, strict=True)
    ]
    usual, pause = int(1000 * seconds), int(1000 * max(2.5, 5 * seconds))
    shown = [pause, *[usual] * (len(frames) - 2), pause]
    # One palette for all frames, or the colours of what stands still would flicker.
    strip = Image.new("RGB", (frames[0].width, sum(frame.height for frame in frames)))
    for number, frame in enumerate(frames):
        strip.paste(frame, (0, sum(f.height for f in frames[:number])))
    palette = strip.quantize(255)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    reduced[0].save(buffer, "GIF", save_all=True, append_images=reduced[1:], duration=shown, loop=0)
    return buffer.getvalue()


def _of_one_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures [H, W, 3] in 0..255 as float32, white where they are smaller than the largest."""
    largest = np.max([picture.shape for picture in pictures], 0)
    return [
        np.pad(
            picture.astype(np.float32),
            [(0, int(missing)) for missing in largest - picture.shape],
            constant_values=255,
        )
        for picture in pictures
    ]


def _gain(change: np.ndarray) -> float:
    """A round factor, at least 1, that makes the larger changes [H, W, 3] fill the range."""
    moved = np.abs(change)[np.abs(change) > 1]
    large = float(np.percentile(moved, 95)) if moved.size else 127.0
    return float(max(1, round(127 / large)))


def _extent(changes: Sequence[np.ndarray], margin: int = 6) -> tuple[int, int]:
    """The columns between which pictures [H, W, 3] change, all of them where none does."""
    width = changes[0].shape[1]
    moved = np.flatnonzero(np.any([np.abs(c).max((0, 2)) > 1 for c in changes], 0))
    if not moved.size:
        return 0, width
    return max(0, int(moved[0]) - margin), min(width, int(moved[-1]) + 1 + margin)


def _frame(picture: np.ndarray, change: np.ndarray, gain: float) -> Image.Image:
    """A picture and its change [H, W, 3] in 0..255 side by side, with words above."""
    height, width = picture.shape[:2]
    canvas = Image.new("RGB", (width + 12 + change.shape[1], height + _BAND), "white")
    for left, values in ((0, picture), (width + 12, change)):
        canvas.paste(Image.fromarray(values.clip(0, 255).astype(np.uint8)), (left, _BAND))
    words = "right: change since the start" + (f", {gain:g} times" if gain > 1 else "")
    ImageDraw.Draw(canvas).text((6, 3), f"{words} (grey: none)", fill="black")
    return canvas


def save_evolution(folder: Path, target: Path) -> list[Path]:
    """Writes before_after.png and evolution.gif of the pictures that `condense` left in a folder.

    Returns the paths, none where there are fewer than two pictures.
    """
    pictures = sorted(folder.glob("step_*.png"))
    if len(pictures) < 2:
        return []
    both = pair(pictures[0].read_bytes(), pictures[-1].read_bytes())
    runs.write_bytes(target / "before_after.png", both)
    runs.write_bytes(target / "evolution.gif", animation(pictures))
    return [target / "before_after.png", target / "evolution.gif"]


def _scatter(axes: Any, number: int, real: np.ndarray, own: np.ndarray, name: str) -> None:
    """Draw a class: real images [n, 2] as dots, synthetic ones [m, 2] outlined."""
    axes.scatter(*real.T, s=14, color=_COLOURS[number], alpha=0.7, linewidths=0)
    axes.scatter(
        *own.T,
        s=46,
        color=_COLOURS[number],
        edgecolors="black",
        linewidths=0.8,
        marker=_MARKERS[number],
        label=names.short(name),
    )


def features_figure(
    dataset: Dataset,
    sets: dict[str, CondensedSet],
    experts: Experts,
    *,
    embedding: str = "tsne",
    per_class: int = 100,
    seed: int = 0,
) -> "Figure":
    """Draw features of real images and of condensed sets under a network, in two dimensions.

    One diagram for each set, all in one embedding: small dots are real images, large outlined
    markers synthetic ones (decoded); colour and marker tell up to ten classes apart, the largest
    ones where there are more.

    Args:
      dataset: the real images.
      sets: condensed sets by the names that diagrams get.
      experts: the first of them gives the features.
      embedding: "pca" or "tsne" (scikit-learn).
      per_class: real images of a class that are shown.
      seed: of their choice and of the embedding.

    Raises:
      UserError: an unknown embedding.
    """
    if embedding not in EMBEDDINGS:
        raise UserError(f"unknown embedding {embedding!r}; choose one of {', '.join(EMBEDDINGS)}.")
    from matplotlib.figure import Figure

    classes = np.sort(np.argsort(-dataset.class_counts, kind="stable")[:10])
    chosen = _some_of_each(dataset, classes, per_class, seed)
    images, labels = [dataset.images[chosen] / np.float32(255)], [dataset.labels[chosen]]
    for made in sets.values():
        decoded, numbers = (np.asarray(x) for x in made.decoded())
        kept = np.isin(numbers, classes)
        images.append(decoded[kept])
        labels.append(numbers[kept])
    points = [_features(x, dataset, experts) for x in images]
    flat = _embed(np.concatenate(points), embedding, seed)
    parts = np.split(flat, np.cumsum([len(p) for p in points])[:-1])
    figure = Figure(figsize=(5.2 * len(sets), 5), dpi=120, layout="constrained")
    panels: Any = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, (name, own, numbers) in zip(
        panels, zip(sets, parts[1:], labels[1:], strict=True), strict=True
    ):
        for i, c in enumerate(classes):
            _scatter(axes, i, parts[0][labels[0] == c], own[numbers == c], dataset.classes[c])
        title = f"{methods.title(name)}: real (dots), synthetic (outlined)"
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(
        f"features before the classifier of a network trained on all images, {_AXES[embedding]}",
        fontsize=9,
    )
    _legend(figure, panels[0])
    return figure


def _some_of_each(dataset: Dataset, classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw at most so many images of each of some classes, by their numbers."""
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(dataset.labels == c))[:count] for c in classes]
    return np.concatenate(each)


def _legend(figure: "Figure", axes: Any) -> None:
    """Say below the diagrams which class has which colour and marker."""
    legend = figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _features(images: np.ndarray, dataset: Dataset, experts: Experts) -> np.ndarray:
    """Features [n, d] of images [n, h, w, c] in [0, 1]."""
    data = training.TrainData(
        jnp.asarray(images),
        jnp.zeros(len(images), jnp.int32),
        jnp.asarray(dataset.mean, jnp.float32),
        jnp.asarray(dataset.std, jnp.float32),
    )
    variables = interpolate.select(experts.pool.final, 0)
    return np.asarray(training.predict(variables, data, network=experts.network)[1])


def _embed(points: np.ndarray, embedding: str, seed: int) -> np.ndarray:
    """[n, d] -> [n, 2]."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if embedding == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(points))
    reduced = PCA(min(50, *points.shape), random_state=seed).fit_transform(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    return np.asarray(TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(reduced))
