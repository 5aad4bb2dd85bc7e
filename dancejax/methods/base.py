"""What every method is made of: a small tuple of pure functions over one state."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from dancejax import augment, multiformation, networks
from dancejax.data import sampling
from dancejax.data.sampling import ClassData, Draws
from dancejax.errors import UserError
from dancejax.methods.optimizers import SGD as SGD, Optimizer
from dancejax.methods.papers import Paper as Paper
from dancejax.methods.settings import Config as Config, setting as setting
from dancejax.runs import parallel
from dancejax.types import Json, Tree

Array = jax.Array
Metrics = dict[str, Array]


class ExpertPool(NamedTuple):
    """Stacked variables of N experts, each leaf [N, ...].

    Attributes:
      init: the initial ones, phi_0 in DANCE.
      final: the trained ones, phi_expert.
    """

    init: networks.Variables
    final: networks.Variables


class Visits(NamedTuple):
    """Which snapshots of experts in training a step uses.

    Attributes:
      experts: int32 [k].
      epochs: int32 [k], 0 for the initial variables.
    """

    experts: Array
    epochs: Array


class Context(NamedTuple):
    """What stays the same during a run, on the device.

    Attributes:
      real: the data set, or the images of one step where it stays on the host.
      mean, std: normalisation constants of pixels in [0, 1], float32 [c].
      experts: a pool of experts; None for methods that need none. For networks in turns this and
        the next two are lists, an entry for each.
      trajectories: the experts' variables before training and after each epoch, leaves [N, T, ...];
        None for methods that need none, and where they stay on the host.
      visited: those of one step, leaves [k, ...], where the trajectories stay on the host.
    """

    real: ClassData
    mean: Array
    std: Array
    experts: ExpertPool | list[ExpertPool] | None = None
    trajectories: networks.Variables | list[networks.Variables] | None = None
    visited: networks.Variables | list[networks.Variables] | None = None


class State(NamedTuple):
    """All that a run needs to go on: saving it is saving the run.

    Attributes:
      step: iterations done, int32.
      key: the run's key, from which each method derives what an iteration draws.
      pixels: float32 [C, IPC, h, w, c], in the method's own space.
      opt_state: of the pixels' optimiser.
      extra: the method's own.
    """

    step: Array
    key: Array
    pixels: Array
    opt_state: networks.OptState
    extra: Any = ()


class Update(Protocol):
    """One iteration of a method."""

    def __call__(
        self, state: State, context: Context, *, class_chunk: int | None = None
    ) -> tuple[State, Metrics]:
        """Return the next state and the metrics, each [C] or a scalar.

        Args:
          state: of the run.
          context: of the run.
          class_chunk: classes at once, which bounds the memory and changes nothing else; None
            takes what suits the backend.
        """
        ...


class Method(NamedTuple):
    """A condensation method, as an optax transformation is: pure functions and their settings.

    Attributes:
      name: the method's name.
      config: its settings.
      factor: tiles a side that each stored image decodes into.
      needs_experts: whether `Context.experts` must be there.
      init: (run's key, pixels [C, IPC, h, w, c] in [0, 1], context) -> State.
      update: one iteration, see `Update`.
      pixels: (State, Context) -> [C, IPC, h, w, c] in [0, 1] units, as they are stored.
      draw: (run's key, step, class data, images left out) -> which real images the step uses.
      network: what it was made for; None where it can't be told.
      resolved: (IPC, image shape) -> the settings that hold for them; None: those of config.
      optimizer: of the pixels.
      visits: (run's key, step, experts N, snapshots T of each) -> which of `Context.trajectories`
        the step uses; None for a method that uses none.
      turns: for networks in turns (`turns.in_turns`), the method for each; else empty.
    """

    name: str
    config: Any
    factor: int
    needs_experts: bool
    init: Callable[[Array, Array, Context], State]
    update: Update
    pixels: Callable[[State, Context], Array]
    draw: Callable[[Array, Array, ClassData], Draws]
    network: nn.Module | None = None
    resolved: Callable[[int, tuple[int, int, int]], dict[str, Any]] | None = None
    optimizer: Optimizer = SGD
    visits: Callable[[Array, Array, int, int], Visits] | None = None
    turns: tuple["Method", ...] = ()

    @property
    def each(self) -> tuple["Method", ...]:
        """The methods that take turns, or this one alone."""
        return self.turns or (self,)

    def settings(self, ipc: int, image_shape: tuple[int, int, int]) -> Json:
        """Return every setting that holds for a run, as JSON values.

        Args:
          ipc: stored images per class.
          image_shape: (h, w, c) of the stored images.

        Returns:
          Settings by name; "optimizer" is among them where it is not the papers' SGD.
        """
        resolved = self.resolved
        found = dataclasses.asdict(self.config) if resolved is None else resolved(ipc, image_shape)
        if self.optimizer.name != SGD.name:
            found["optimizer"] = self.optimizer.name
        return found


ORDERS = ("joint", "classwise")
"""Orders of the optimiser's steps: one for all classes, or one of the whole tensor for each class,
so that momentum acts on during the other classes' steps, as in IDM's and DANCE's own code."""


def check_settings(config: Tree) -> None:
    """Raise UserError for settings that all methods have and that make no sense."""
    check_positive(config, "factor", "batch_real", "batch_syn")
    if not 0 <= config.momentum < 1:
        raise UserError(f"momentum must lie in [0, 1), not {config.momentum}.")
    if config.learning_rate is not None and not config.learning_rate >= 0:
        raise UserError(f"learning_rate must not be negative, but is {config.learning_rate}.")
    if getattr(config, "update_order", "joint") not in ORDERS:
        raise UserError(
            f"unknown update_order {config.update_order!r}; choose one of {', '.join(ORDERS)}."
        )


def check_positive(config: Tree, *names: str) -> None:
    """Raise UserError for a setting that is given and below 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, not {value}.")


def experts_of(context: Context) -> ExpertPool:
    """Return the pool of experts; raise UserError if there is none."""
    if not isinstance(context.experts, ExpertPool):
        raise UserError("this method needs a pool of experts, which train_experts makes.")
    return context.experts


class Space(NamedTuple):
    """Where the stored pixels of a method live while they are optimised.

    Attributes:
      enter: (pixels in [0, 1] units, context) -> pixels in this space.
      units: (pixels in this space, context) -> pixels in [0, 1] units.
      constrain: applied to pixels of this space before each iteration, and at the end.
    """

    enter: Callable[[Array, Context], Array]
    units: Callable[[Array, Context], Array]
    constrain: Callable[[Array], Array]


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


def image_shape(state: State) -> tuple[int, int, int]:
    """Return (h, w, c) of the stored images."""
    _, _, h, w, c = state.pixels.shape
    return h, w, c


def draw_with(
    real_key: Callable[[Array], Array], batch_real: int
) -> Callable[[Array, Array, ClassData], Draws]:
    """Return a Method's `draw` for one that sees batches of each class and nothing else.

    Args:
      real_key: from the run's key to the one that names the epochs of real images.
      batch_real: B, real images per class in an iteration.
    """

    def draw(key: Array, step: Array, sizes: ClassData) -> Draws:
        classes = jnp.arange(len(sizes.counts), dtype=jnp.int32)
        own = sampling.class_indices(real_key(key), step, sizes, classes, batch_real)
        return Draws(own, jnp.zeros(0, jnp.int32))

    return draw


def stored(space: Space) -> Callable[[State, Context], Array]:
    """Return a Method's `pixels` for a space."""
    return lambda state, context: space.units(space.constrain(state.pixels), context)


class ImageKeys(NamedTuple):
    """What an iteration's images are drawn from.

    Attributes:
      epochs: names the epochs of real images; the same throughout a run.
      subset: which of the decoded synthetic images are taken.
      augment: the augmentation, which real and synthetic images share.
    """

    epochs: Array
    subset: Array
    augment: Array


def sharing(method: Method, classes: int, devices: int | None = None) -> int:
    """Return how many devices should share the images of each class; see `parallel.sharing`."""
    return parallel.sharing(classes, getattr(method.config, "batch_real", 1), devices)


class Batch(NamedTuple):
    """Augmented images of some classes.

    Attributes:
      images: float32 [k, n, h, w, c], normalised. Where devices share the images of each class
        (`parallel.IMAGES`), this device's part of them.
      total: images of each class on all devices together.
    """

    images: Array
    total: int


def real_batch(
    config: Config, keys: ImageKeys, step: Array, classes: Array, context: Context
) -> Batch:
    """Return augmented real images of some classes.

    Args:
      config: the method's settings.
      keys: of the iteration.
      step: number of the iteration, int32.
      classes: int32 [k].
      context: of the run.

    Returns:
      batch_real images of each class.
    """
    images = sampling.class_batch(keys.epochs, step, context.real, classes, config.batch_real)
    return _augmented(images, keys.augment, classes, config, context)


def _augmented(
    images: Array, key: Array, classes: Array, config: Config, context: Context
) -> Batch:
    """This device's part of some classes' images, as networks see them."""
    own = sampling.normalise(parallel.own_images(images), context.mean, context.std)
    return Batch(_siamese(key, classes, own, config), images.shape[1])


def synthetic(
    config: Config,
    space: Space,
    keys: ImageKeys,
    pixels: Array,
    classes: Array,
    context: Context,
) -> Batch:
    """Return augmented synthetic images of some classes.

    Args:
      config: the method's settings.
      space: that the pixels live in.
      keys: of the iteration.
      pixels: float32 [k, IPC, h, w, c], stored images.
      classes: int32 [k].
      context: of the run.

    Returns:
      m images of each class; m is IPC * factor**2, or batch_syn if that is less.
    """
    k, ipc, *shape = pixels.shape
    units = space.units(pixels, context)
    decoded = multiformation.decode(units.reshape(k * ipc, *shape), config.factor)
    decoded = decoded.reshape(k, -1, *shape)
    if config.batch_syn is not None and config.batch_syn < decoded.shape[1]:
        decoded = jax.vmap(
            lambda key, own: own[jax.random.permutation(key, len(own))[: config.batch_syn]]
        )(class_keys(keys.subset, classes), decoded)
    return _augmented(decoded, keys.augment, classes, config, context)


def forward_classes(
    network: nn.Module, variables: networks.Variables, batch: Batch
) -> tuple[Array, Array]:
    """Apply a network to the images of some classes, as one batch.

    Args:
      network: a classifier as `networks.create` makes them.
      variables: its parameters and statistics.
      batch: n images of each of k classes.

    Returns:
      (logits [k, n, C], features before the classifier [k, n, d]) of all images, on each device.
    """
    k, own, *shape = batch.images.shape
    flat = batch.images.reshape(k * own, *shape)
    found = networks.forward_in_blocks(network, variables, flat)
    logits, features = (parallel.of_all_images(x.reshape(k, own, -1), batch.total) for x in found)
    return logits, features


def cross_entropy(logits: Array, classes: Array) -> Array:
    """Return the mean cross-entropy of each class's images.

    Args:
      logits: [k, n, C].
      classes: int32 [k], the class of all images of a row.

    Returns:
      [k], not negative.
    """
    labels = jnp.broadcast_to(classes[:, None], logits.shape[:2])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(1)


def class_keys(key: Array, classes: Array) -> Array:
    """Return one key per class [k], from its number, so that blocks of classes do not matter."""
    return jax.vmap(lambda label: jax.random.fold_in(key, label))(classes)


def _siamese(key: Array, classes: Array, images: Array, config: Config) -> Array:
    """One augmentation per class, or one of all classes."""
    strategy, mode = config.augmentation, config.mode
    if config.one_augmentation:
        return jax.vmap(lambda x: augment.siamese(key, x, strategy, mode))(images)
    return jax.vmap(lambda k, x: augment.siamese(k, x, strategy, mode))(
        class_keys(key, classes), images
    )
