"""What the stored images start from, before the first iteration."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import coreset, keys, multiformation
from dancejax.choices import INITS as INITS
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError

_REAL = {
    "real": (False, "antialias"),
    "real_mean": (False, "mean"),
    "real_nearest": (False, "nearest"),
    "first_nearest": (True, "nearest"),
}
"""Starts from real images: whether those are the first of each class, and how they are reduced."""


def initial_pixels(
    dataset: Dataset,
    ipc: int,
    factor: int,
    *,
    init: str | CondensedSet = "real",
    seed: int = 0,
) -> jax.Array:
    """Make the stored images that condensation starts from.

    Args:
      dataset: what is condensed.
      ipc: stored images per class.
      factor: tiles a side of a stored image; each tile is another real image ("mix").
      init: one of INITS; or a condensed set or coreset of the data set, whose stored images are
        taken if it has the same factor, else ipc * factor**2 of its training images per class.
      seed: of what is random in it.

    Returns:
      float32 [C, ipc, h, w, c] in [0, 1].

    Raises:
      UserError: an IPC, factor or start that does not fit.
    """
    coreset.check_ipc(dataset, ipc)
    h, w, c = dataset.image_shape
    multiformation.check_factor(factor, h, w)
    shape = (dataset.num_classes, ipc, h, w, c)
    if isinstance(init, CondensedSet):
        return _from_set(init, dataset, ipc, factor).reshape(shape)
    if init == "noise":
        return jax.random.uniform(keys.root(seed, keys.INITIAL_PIXELS), shape)
    if init not in _REAL:
        raise UserError(f"unknown initialisation {init!r}; choose one of {', '.join(INITS)}.")
    first, reduction = _REAL[init]
    choose = coreset.first_indices if first else partial(coreset.random_indices, seed=seed)
    chosen = choose(dataset, ipc * factor**2)
    images = jnp.asarray(dataset.images[chosen.reshape(-1)], jnp.float32) / 255
    return multiformation.encode(images, factor, reduction=reduction).reshape(shape)


def _from_set(made: CondensedSet, dataset: Dataset, ipc: int, factor: int) -> jax.Array:
    """The stored images [C * ipc, h, w, c] of a start, by class."""
    if made.classes != dataset.classes or made.image_shape != dataset.image_shape:
        raise UserError(
            f"the set to start from has {made.num_classes} classes of {list(made.image_shape)} "
            f"images, {dataset.name} has {dataset.num_classes} of {list(dataset.image_shape)} or "
            "names them otherwise; give a set of this data set."
        )
    same = made.factor == factor
    images, labels = (made.images, made.labels) if same else made.decoded()
    each = ipc if same else ipc * factor**2
    counts = np.bincount(labels, minlength=dataset.num_classes)
    if counts.min() < each:
        raise UserError(
            f"the set to start from has {counts.min()} images in a class, {each} are needed for "
            f"{ipc} stored images of factor {factor}; choose a smaller --ipc or another set."
        )
    labels = np.asarray(labels)
    order = np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(len(counts))])
    chosen = jnp.clip(jnp.asarray(images)[order], 0, 1)
    return chosen if same else multiformation.encode(chosen, factor)
