"""What every method is made of: a small tuple of pure functions over one state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from dancejax import augment, backend, multiformation
from dancejax.data import sampling
from dancejax.data.sampling import ClassData
from dancejax.experts import ExpertPool

Array = jax.Array
Metrics = dict[str, Array]


class Context(NamedTuple):
    """What stays the same during a run, on the device."""

    real: ClassData
    mean: Array  # [c]
    std: Array  # [c]
    experts: ExpertPool | None = None


class State(NamedTuple):
    """All that a run needs to go on: saving it is saving the run."""

    step: Array  # int32, iterations done
    key: Array  # the run's key; iteration t uses fold_in(key, t)
    pixels: Array  # float32 [C, IPC, h, w, c], in the method's own space
    opt_state: optax.OptState
    extra: Any = ()  # the method's own


class Method(NamedTuple):
    """A condensation method, as an optax transformation is: pure functions and their settings.

    init: (key, pixels in [0, 1], context) -> State
    update: (State, Context) -> (State, metrics, each [C] or scalar): one iteration
    pixels: (State, Context) -> [C, IPC, h, w, c] in [0, 1] units, as they are stored
    """

    name: str
    config: Any
    factor: int
    needs_experts: bool
    init: Callable[[Array, Array, Context], State]
    update: Callable[[State, Context], tuple[State, Metrics]]
    pixels: Callable[[State, Context], Array]


ClassLoss = Callable[[Array, Array], Array]


def class_gradients(loss: ClassLoss, pixels: Array, classes_per_call: int) -> tuple[Array, Array]:
    """Losses [C] and gradients [C, ...] of a loss that is independent from class to class.

    loss: (pixels [k, IPC, h, w, c], classes int32 [k]) -> [k]. The classes are taken in blocks of
    `classes_per_call`, so that memory is bounded by the block; the result is the same.
    """
    count = pixels.shape[0]
    classes = jnp.arange(count, dtype=jnp.int32)

    def block(taken: tuple[Array, Array]) -> tuple[Array, Array]:
        def total(p: Array) -> tuple[Array, Array]:
            losses = loss(p, taken[1])
            return jnp.sum(losses), losses

        grads, losses = jax.grad(total, has_aux=True)(taken[0])
        return losses, grads

    size = min(classes_per_call, count)
    if size == count:
        return block((pixels, classes))
    blocks = -(-count // size)
    filled = jnp.minimum(jnp.arange(blocks * size), count - 1).reshape(blocks, size)
    losses, grads = lax.map(block, (pixels[filled], classes[filled]))
    return losses.reshape(-1)[:count], grads.reshape(-1, *pixels.shape[1:])[:count]


def block_size(network: nn.Module, pixels: Array, batch: int, wanted: int | None) -> int:
    """Classes per block: as wanted, else what the backend likes for `batch` images per class.

    Batch norm takes its statistics from the batch of all classes, which can't be cut.
    """
    if getattr(network, "norm", None) == "batch":
        return pixels.shape[0]
    return wanted or backend.classes_per_call(pixels.shape[0], batch)


def real_batch(key: Array, step: Array, context: Context, classes: Array, batch: int) -> Array:
    """Normalised real images of some classes, [k, batch, h, w, c]."""
    images = sampling.class_batch(key, step, context.real, classes, batch)
    return sampling.normalise(images, context.mean, context.std)


def decode_classes(pixels: Array, factor: int, *, pad_value: float = 0.5) -> Array:
    """[k, IPC, h, w, c] -> [k, factor**2 * IPC, h, w, c]."""
    flat = pixels.reshape(-1, *pixels.shape[2:])
    decoded = multiformation.decode(flat, factor, pad_value=pad_value)
    return decoded.reshape(pixels.shape[0], -1, *pixels.shape[2:])


def subsample(keys: Array, images: Array, limit: int) -> Array:
    """At most `limit` random images per class, [k, m, h, w, c] -> [k, min(m, limit), h, w, c]."""
    if images.shape[1] <= limit:
        return images

    def one(key: Array, own: Array) -> Array:
        return own[jax.random.permutation(key, own.shape[0])[:limit]]

    return jax.vmap(one)(keys, images)


def class_keys(key: Array, classes: Array) -> Array:
    """One key per class, from its number, so that blocks of classes do not matter."""
    return jax.vmap(lambda label: jax.random.fold_in(key, label))(classes)


def siamese_classes(keys: Array, images: Array, strategy: str, mode: str) -> Array:
    """One augmentation per class, [k, n, h, w, c]; the same keys give another batch the same."""
    return jax.vmap(lambda k, x: augment.siamese(k, x, strategy, mode))(keys, images)


def flatten_classes(images: Array) -> Array:
    """[k, n, h, w, c] -> [k * n, h, w, c]."""
    return images.reshape(-1, *images.shape[2:])
