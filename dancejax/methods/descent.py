"""Steps of the pixels: gradients class by class, in blocks, and the order of the updates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from dancejax import networks
from dancejax.methods import base
from dancejax.methods.base import Array, Metrics, State
from dancejax.methods.optimizers import SGD, Optimizer
from dancejax.runs import backend, parallel
from dancejax.types import Tree

ClassLoss = Callable[[Array, Any, Any], tuple[Array, Metrics]]
Gradients = Callable[[Array, Array], tuple[Metrics, Array]]


class Descent(NamedTuple):
    """How the pixels take steps.

    Attributes:
      optimizer: which optimiser takes them.
      learning_rate: in the method's own pixel space.
      momentum: in [0, 1).
      order: one of `base.ORDERS`.
    """

    optimizer: Optimizer = SGD
    learning_rate: float = 1.0
    momentum: float = 0.5
    order: str = "joint"

    @property
    def transformation(self) -> optax.GradientTransformation:
        """The optax transformation."""
        return self.optimizer.make(self.learning_rate, self.momentum)


def init(descent: Descent, pixels: Array) -> optax.OptState:
    """Return the optimiser's state before the first iteration.

    Args:
      descent: the steps of a method.
      pixels: [C, ...], in the method's own space.
    """
    return descent.transformation.init(pixels)


def descend(
    descent: Descent, pixels: Array, opt_state: optax.OptState, gradients: Gradients
) -> tuple[Array, optax.OptState, Metrics]:
    """Take the steps that one pass over the classes makes.

    In the order "joint" that is one step with the gradients of all classes. In the order
    "classwise" it is one step of the whole tensor for each class, with that class's gradient and
    zeros for the others, so that momentum carries every class on during the others' steps.

    Args:
      descent: the optimiser, its rates and the order of its steps.
      pixels: float32 [C, IPC, h, w, c].
      opt_state: the optimiser's state, from `init`.
      gradients: (pixels [k, IPC, h, w, c], classes int32 [k]) -> (metrics, each [k], gradients
        [k, IPC, h, w, c]), those of each class by its own pixels alone.

    Returns:
      (pixels, optimiser state, metrics, each [C]).

    References:
      IDM (Zhao et al., CVPR 2023) and DANCE (Zhang et al., IJCAI 2024): the authors' code steps
      class by class; DM (Zhao and Bilen, WACV 2023) sums the classes.
    """
    if descent.order == "joint":
        metrics, grads = gradients(pixels, _classes(pixels))
        updates, opt_state = descent.transformation.update(grads, opt_state, pixels)
        return optax.apply_updates(pixels, updates), opt_state, metrics
    if descent.optimizer.name == SGD.name:
        return _classwise_sgd(descent, pixels, opt_state, gradients)
    return classwise(descent.transformation, pixels, opt_state, gradients)


def classwise(
    optimizer: optax.GradientTransformation,
    pixels: Array,
    opt_state: optax.OptState,
    gradients: Gradients,
) -> tuple[Array, optax.OptState, Metrics]:
    """Take one step of the whole tensor for each class in turn, with any optimiser.

    With batch norm, the statistics are those of one class's batch at a time.

    Args:
      optimizer: an optax transformation.
      pixels: as in `descend`.
      opt_state: likewise.
      gradients: likewise.

    Returns:
      (pixels, optimiser state, metrics, each [C]).
    """

    def step(
        carry: tuple[Array, optax.OptState], label: Array
    ) -> tuple[tuple[Array, optax.OptState], Metrics]:
        pixels, opt_state = carry
        own = lax.dynamic_slice_in_dim(pixels, label, 1)
        metrics, grads = gradients(own, label[None])
        grads = lax.dynamic_update_slice_in_dim(jnp.zeros_like(pixels), grads, label, 0)
        updates, opt_state = optimizer.update(grads, opt_state, pixels)
        return (optax.apply_updates(pixels, updates), opt_state), metrics

    (pixels, opt_state), metrics = lax.scan(step, (pixels, opt_state), _classes(pixels))
    return pixels, opt_state, jax.tree.map(lambda x: x[:, 0], metrics)


def _classwise_sgd(
    descent: Descent, pixels: Array, opt_state: optax.OptState, gradients: Gradients
) -> tuple[Array, optax.OptState, Metrics]:
    """`classwise` for SGD with momentum, without a loop.

    Class c is where momentum has carried it in c steps without a gradient, takes its own step, and
    is carried on by the C - 1 - c steps of the others; so all classes are computed at once.
    """
    rate, momentum = descent.learning_rate, descent.momentum
    count = pixels.shape[0]
    before = jnp.arange(count).reshape(-1, *[1] * (pixels.ndim - 1))
    after = count - 1 - before
    first, *rest = opt_state
    trace = first.trace

    def carried(steps: Array) -> Array:
        """momentum + ... + momentum^steps."""
        return momentum * (1 - momentum**steps) / (1 - momentum)

    own = pixels - rate * carried(before) * trace
    metrics, grads = gradients(own, _classes(pixels))
    trace = grads + momentum * (momentum**before * trace)
    own = own - rate * trace - rate * carried(after) * trace
    return own, (first._replace(trace=momentum**after * trace), *rest), metrics


def class_gradients(
    loss: ClassLoss,
    pixels: Array,
    each: Tree,
    shared: Tree,
    size: int | None,
    *,
    pieces: int = 1,
) -> tuple[Metrics, Array]:
    """Compute the gradients of a loss that is independent from class to class.

    The classes are spread over the devices of the ambient mesh (`parallel.use`) and taken in blocks
    of `size`, which bounds the memory; the result is the same.

    Args:
      loss: (pixels [k, IPC, h, w, c], each, shared) -> (losses [k], metrics, each [k]).
      pixels: float32 [C, IPC, h, w, c].
      each: what else the loss needs of each class, of which it sees that of its k: one number, [C],
        as the class's own, or something of each image, [C, n, ...], cut as the pixels are.
      shared: all other arrays that the loss uses.
      size: classes per block; None takes all at once on one device.
      pieces: for a loss that is a mean over a class's stored images, into how many equal parts to
        cut each class; must divide IPC.

    Returns:
      (metrics, each [C]; gradients, float32 [C, IPC, h, w, c]).
    """

    def cut(x: Array) -> Array:
        if x.ndim == 1:
            return jnp.repeat(x, pieces)
        count, images, *shape = x.shape
        return x.reshape(count * pieces, images // pieces, *shape)

    def block(taken: tuple[Array, Any], shared: Any) -> tuple[Metrics, Array]:
        def total(p: Array) -> tuple[Array, Metrics]:
            losses, metrics = loss(p, taken[1], shared)
            return jnp.sum(losses), metrics

        grads, metrics = jax.grad(total, has_aux=True)(taken[0])
        return metrics, parallel.mean_over_sharers(grads)

    metrics, grads = parallel.map_blocks(
        block, jax.tree.map(cut, (pixels, each)), shared, size=size, axis=parallel.CLASSES
    )
    metrics = jax.tree.map(lambda x: x.reshape(-1, pieces).mean(1), metrics)
    return metrics, grads.reshape(pixels.shape) / pieces


def image_pieces(network: nn.Module, state: State, config: base.Config) -> int:
    """Return into how many parts to cut a class for a loss that is a mean over its images.

    The parts suit the backend. With a random subset of a class's images it is 1, since the subset
    is drawn from all of them.
    """
    ipc = state.pixels.shape[1]
    decoded = ipc * config.factor**2
    if config.batch_syn is not None and config.batch_syn < decoded:
        return 1
    shape = base.image_shape(state)
    wanted = networks.images_per_block(network, decoded, shape) // config.factor**2
    return next(ipc // part for part in range(max(1, wanted), 0, -1) if ipc % part == 0)


def block_size(
    network: nn.Module, state: State, config: base.Config, class_chunk: int | None
) -> int | None:
    """Return how many classes to compute at once.

    Args:
      network: the network that sees the images.
      state: of the run.
      config: the method's settings.
      class_chunk: the number that the caller asks for; None takes what suits the backend.

    Returns:
      Classes per block; None for batch norm, which takes its statistics from the batch of all
      classes, so that it can't be cut.
    """
    count, ipc = state.pixels.shape[:2]
    if networks.uses_batch_statistics(network, base.image_shape(state)):
        return None
    if class_chunk is not None:
        return class_chunk
    syn = ipc * config.factor**2
    if config.batch_syn is not None:
        syn = min(syn, config.batch_syn)
    size, _ = networks.activation_bytes(network, base.image_shape(state))
    return backend.classes_per_call(count, config.batch_real, syn, size)


def _classes(pixels: Array) -> Array:
    """The classes' numbers, int32 [C]."""
    return jnp.arange(pixels.shape[0], dtype=jnp.int32)
