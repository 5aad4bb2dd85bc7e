"""What every method is made of: a small tuple of pure functions over one state."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import augment, multiformation, networks
from dancejax.data import sampling
from dancejax.data.sampling import ClassData, Draws, RealData
from dancejax.errors import UserError
from dancejax.methods.papers import Paper as Paper
from dancejax.runs import backend, parallel

Array = jax.Array
Metrics = dict[str, Array]


class ExpertPool(NamedTuple):
    """Stacked variables of N experts, each leaf [N, ...]."""

    init: networks.Variables
    final: networks.Variables


class Context(NamedTuple):
    """What stays the same during a run, on the device."""

    real: RealData
    mean: Array  # [c]
    std: Array  # [c]
    experts: ExpertPool | None = None


class State(NamedTuple):
    """All that a run needs to go on: saving it is saving the run."""

    step: Array  # int32, iterations done
    key: Array  # the run's key; each method derives from it what an iteration draws
    pixels: Array  # float32 [C, IPC, h, w, c], in the method's own space
    opt_state: networks.OptState
    extra: Any = ()  # the method's own


class Method(NamedTuple):
    """A condensation method, as an optax transformation is: pure functions and their settings.

    init: (key, pixels in [0, 1], context) -> State; key: the run's
    update: (State, Context) -> (State, metrics, each [C] or scalar): one iteration
    pixels: (State, Context) -> [C, IPC, h, w, c] in [0, 1] units, as they are stored
    draw: (run's key, step, class data, images left out) -> which real images the step uses
    network: what it was made for; None where it can't be told
    resolved: (IPC, image shape) -> the settings that hold for them; None: those of config
    """

    name: str
    config: Any
    factor: int
    needs_experts: bool
    init: Callable[[Array, Array, Context], State]
    update: Callable[[State, Context], tuple[State, Metrics]]
    pixels: Callable[[State, Context], Array]
    draw: Callable[[Array, Array, ClassData], Draws]
    network: nn.Module | None = None
    resolved: Callable[[int, tuple[int, int, int]], dict[str, Any]] | None = None

    def settings(self, ipc: int, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """Every setting that holds for IPC stored images [h, w, c] per class, as JSON values."""
        if self.resolved is not None:
            return self.resolved(ipc, image_shape)
        return dataclasses.asdict(self.config)


ORDERS = ("joint", "classwise")
"""Of the optimiser's steps: one for all classes, or one after each class on the whole tensor, so
that momentum acts on during the other classes' steps, as the authors of IDM and DANCE have it."""


def descend(
    order: str,
    optimizer: optax.GradientTransformation,
    rate: float,
    momentum: float,
    pixels: Array,
    opt_state: optax.OptState,
    gradients: Callable[[Array], tuple[Metrics, Array]],
) -> tuple[Array, optax.OptState, Metrics]:
    """Take the steps of SGD with momentum that one pass over the classes makes.

    Classes do not see each other, so that "classwise" needs no loop: class c is where momentum has
    carried it in c steps without a gradient, takes its own step, and is carried on by the C - 1 - c
    steps of the others.

    Args:
      order: one of ORDERS.
      optimizer: optax.sgd(rate, momentum); opt_state its state.
      pixels: [C, ...].
      gradients: pixels -> (metrics, gradients [C, ...]), each class's of its own pixels alone.

    Returns:
      (pixels, optimiser state, metrics).
    """
    if order == "joint":
        metrics, grads = gradients(pixels)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(pixels, updates), opt_state, metrics
    count = pixels.shape[0]
    before = jnp.arange(count).reshape(-1, *[1] * (pixels.ndim - 1))
    after = count - 1 - before
    first, *rest = opt_state
    trace = first.trace

    def carried(steps: Array) -> Array:
        """momentum + ... + momentum^steps."""
        return momentum * (1 - momentum**steps) / (1 - momentum)

    own = pixels - rate * carried(before) * trace
    metrics, grads = gradients(own)
    trace = grads + momentum * (momentum**before * trace)
    own = own - rate * trace - rate * carried(after) * trace
    return own, (first._replace(trace=momentum**after * trace), *rest), metrics


def check_settings(config: Any) -> None:
    """Raise UserError for settings that all methods have and that make no sense."""
    check_positive(config, "factor", "batch_real", "batch_syn", "class_chunk")
    if not 0 <= config.momentum < 1:
        raise UserError(f"momentum must lie in [0, 1), not {config.momentum}.")
    if config.learning_rate is not None and not config.learning_rate >= 0:
        raise UserError(f"learning_rate must not be negative, but is {config.learning_rate}.")
    if getattr(config, "update_order", "joint") not in ORDERS:
        raise UserError(
            f"unknown update_order {config.update_order!r}; choose one of {', '.join(ORDERS)}."
        )


ClassLoss = Callable[[Array, Array, Any], tuple[Array, Metrics]]


def class_gradients(
    loss: ClassLoss, pixels: Array, shared: Any, size: int | None, *, pieces: int = 1
) -> tuple[Metrics, Array]:
    """Metrics [C] and gradients [C, ...] of a loss that is independent from class to class.

    loss: (pixels [k, IPC, h, w, c], classes int32 [k], shared) -> (losses [k], metrics, each [k]);
    shared: all the arrays that it uses beside. The classes are spread over the devices of the
    ambient mesh (`parallel.use`) and taken in blocks of `size`, so that memory is bounded by
    the block; the result is the same. size None: all at once on one device. pieces: for a loss that
    is a mean over a class's stored images, cuts each class into so many equal parts, which must
    divide IPC.
    """
    count, ipc, *shape = pixels.shape
    classes = jnp.repeat(jnp.arange(count, dtype=jnp.int32), pieces)
    parts = pixels.reshape(count * pieces, ipc // pieces, *shape)

    def block(taken: tuple[Array, Array], shared: Any) -> tuple[Metrics, Array]:
        def total(p: Array) -> tuple[Array, Metrics]:
            losses, metrics = loss(p, taken[1], shared)
            return jnp.sum(losses), metrics

        grads, metrics = jax.grad(total, has_aux=True)(taken[0])
        return metrics, grads

    metrics, grads = parallel.map_blocks(
        block, (parts, classes), shared, size=size, axis=parallel.CLASSES
    )
    metrics = jax.tree.map(lambda x: x.reshape(count, pieces).mean(1), metrics)
    return metrics, grads.reshape(pixels.shape) / pieces


def image_pieces(network: nn.Module, state: State, config: Any) -> int:
    """Into how many parts to cut a class for a loss that is a mean over its images.

    As the backend likes them; a random subset of a class's images is drawn from all, uncut.
    """
    ipc = state.pixels.shape[1]
    decoded = ipc * config.factor**2
    if config.batch_syn is not None and config.batch_syn < decoded:
        return 1
    wanted = networks.images_per_block(network, decoded, image_shape(state)) // config.factor**2
    return next(ipc // part for part in range(max(1, wanted), 0, -1) if ipc % part == 0)


def block_size(network: nn.Module, state: State, config: Any) -> int | None:
    """Classes per block: config.class_chunk, else what the backend likes.

    Batch norm takes its statistics from the batch of all classes, which can't be cut: None.
    """
    count, ipc = state.pixels.shape[:2]
    if getattr(network, "norm", None) == "batch":
        return None
    if config.class_chunk is not None:
        return config.class_chunk
    syn = ipc * config.factor**2
    if config.batch_syn is not None:
        syn = min(syn, config.batch_syn)
    size, _ = networks.activation_bytes(network, image_shape(state))
    return backend.classes_per_call(count, config.batch_real, syn, size)


def experts_of(context: Context) -> ExpertPool:
    """The pool of experts; raises UserError if there is none."""
    if context.experts is None:
        raise UserError("this method needs a pool of experts; train one with launch.pretrain.")
    return context.experts


def check_positive(config: Any, *names: str) -> None:
    """Raises UserError for a setting that is given and below 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, not {value}.")


class Space(NamedTuple):
    """Where the stored pixels of a method live while they are optimised."""

    enter: Callable[[Array, Context], Array]  # from [0, 1] units
    units: Callable[[Array, Context], Array]  # to [0, 1] units
    constrain: Callable[[Array], Array]  # before each iteration, and at the end


UNIT = Space(
    enter=lambda pixels, context: jnp.clip(pixels, 0, 1),
    units=lambda pixels, context: pixels,
    constrain=lambda pixels: jnp.clip(pixels, 0, 1),
)
"""[0, 1], clamped (M3D, DANCE)."""

NORMALISED = Space(
    enter=lambda pixels, context: sampling.normalise(pixels, context.mean, context.std),
    units=lambda pixels, context: pixels * context.std + context.mean,
    constrain=lambda pixels: pixels,
)
"""Normalised by the data set's mean and deviation, not clamped (DM, IDM)."""


def setting(default: Any, meaning: str) -> Any:
    """A field of a Config, with what it means, in a line; --help shows it."""
    return dataclasses.field(default=default, metadata={"meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings that all methods have; each method's Config gives them its own defaults."""

    factor: int = setting(1, "tiles a side that each stored image decodes into, l in IDM and DANCE")
    batch_real: int = setting(256, "B, real images per class in an iteration")
    batch_syn: int | None = setting(
        None, "decoded synthetic images per class in an iteration at most"
    )
    learning_rate: float | None = setting(None, "of the pixels, in the method's own pixel space")
    momentum: float = setting(0.5, "of the pixels")
    augmentation: str = setting(
        "color_crop_cutout_flip_scale_rotate", "operations, joined by _, or empty for none"
    )
    mode: str = setting(
        "single",
        "of the augmentation: single draws one operation, multi draws flip, color and cutout and "
        "one of crop, scale and rotate",
    )
    class_chunk: int | None = setting(
        None, "classes at once, which bounds the memory and changes nothing else"
    )


class View(NamedTuple):
    """How a method looks at its images: what real_batch and synthetic need beside the pixels."""

    space: Space
    factor: int
    batch_real: int
    batch_syn: int | None
    augmentation: str
    mode: str


def view(config: Config, space: Space) -> View:
    """The view that a Config describes."""
    fields = ("factor", "batch_real", "batch_syn", "augmentation", "mode")
    return View(space, *(getattr(config, field) for field in fields))


def image_shape(state: State) -> tuple[int, int, int]:
    """(h, w, c) of the stored images."""
    _, _, h, w, c = state.pixels.shape
    return h, w, c


def draw_with(
    real_key: Callable[[Array], Array], batch_real: int
) -> Callable[[Array, Array, ClassData], Draws]:
    """A Method's `draw` where it sees batches of each class only; real_key: from the run's key."""

    def draw(key: Array, step: Array, sizes: ClassData) -> Draws:
        classes = jnp.arange(len(sizes.counts), dtype=jnp.int32)
        own = sampling.class_indices(real_key(key), step, sizes, classes, batch_real)
        return Draws(own, jnp.zeros(0, jnp.int32))

    return draw


def stored(space: Space) -> Callable[[State, Context], Array]:
    """A Method's `pixels` for a space."""
    return lambda state, context: space.units(space.constrain(state.pixels), context)


def real_batch(
    view: View, key: Array, k_augment: Array, step: Array, classes: Array, context: Context
) -> Array:
    """Real images of some classes, normalised and augmented, [k, batch_real, h, w, c].

    key names the epochs of the run and stays the same; k_augment is the iteration's, shared with
    `synthetic` where both are to get the same augmentation.
    """
    images = sampling.class_batch(key, step, context.real, classes, view.batch_real)
    images = sampling.normalise(images, context.mean, context.std)
    return _siamese(class_keys(k_augment, classes), images, view)


def synthetic(
    view: View, k_subset: Array, k_augment: Array, pixels: Array, classes: Array, context: Context
) -> Array:
    """Stored pixels [k, IPC, h, w, c] of some classes: decoded, at most batch_syn of each class
    drawn, normalised and augmented, [k, m, h, w, c]."""
    k, ipc, *shape = pixels.shape
    units = view.space.units(pixels, context)
    decoded = multiformation.decode(units.reshape(k * ipc, *shape), view.factor)
    decoded = decoded.reshape(k, -1, *shape)
    if view.batch_syn is not None and view.batch_syn < decoded.shape[1]:
        decoded = jax.vmap(
            lambda key, own: own[jax.random.permutation(key, len(own))[: view.batch_syn]]
        )(class_keys(k_subset, classes), decoded)
    images = sampling.normalise(decoded, context.mean, context.std)
    return _siamese(class_keys(k_augment, classes), images, view)


def forward_classes(
    network: nn.Module, variables: networks.Variables, images: Array
) -> tuple[Array, Array]:
    """(logits [k, n, C], features [k, n, d]) of [k, n, h, w, c], as one batch."""
    k, n, *shape = images.shape
    flat = images.reshape(k * n, *shape)
    logits, features = networks.forward_in_blocks(network, variables, flat)
    return logits.reshape(k, n, -1), features.reshape(k, n, -1)


def cross_entropy(logits: Array, classes: Array) -> Array:
    """Mean cross-entropy of each class's images, [k, n, C], [k] -> [k]."""
    labels = jnp.broadcast_to(classes[:, None], logits.shape[:2])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(1)


def class_keys(key: Array, classes: Array) -> Array:
    """One key per class, from its number, so that blocks of classes do not matter."""
    return jax.vmap(lambda label: jax.random.fold_in(key, label))(classes)


def _siamese(keys: Array, images: Array, view: View) -> Array:
    """One augmentation per class."""
    return jax.vmap(lambda k, x: augment.siamese(k, x, view.augmentation, view.mode))(keys, images)
