"""IDM's queue of networks in training: a ring of stacked networks, and their training."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from dancejax import networks
from dancejax.data import sampling
from dancejax.data.sampling import ClassData
from dancejax.methods.base import Array, Context
from dancejax.runs import parallel


class Queue(NamedTuple):
    """Networks in training, in a ring: a new one takes the place of the oldest when it is full.

    Every leaf has a leading axis of the capacity; slots 0 .. min(pushed, capacity) - 1 are in use.

    Attributes:
      variables: of each network.
      opt_state: of each network's optimiser.
      correct: images of its training batches classified correctly, float32 [capacity].
      seen: images of its training batches, float32 [capacity]; both fade with time.
      pushed: networks pushed so far, int32.
    """

    variables: networks.Variables
    opt_state: networks.OptState
    correct: Array
    seen: Array
    pushed: Array


class Training(NamedTuple):
    """How the networks of a queue are trained.

    Attributes:
      network: all of them.
      optimizer: of their parameters.
      steps: how many a network takes when its turn comes.
      batch: images of a step.
    """

    network: nn.Module
    optimizer: optax.GradientTransformation
    steps: int
    batch: int


def fresh(
    training: Training, key: Array, shape: tuple[int, int, int]
) -> tuple[networks.Variables, optax.OptState]:
    """Return the variables and optimiser state of a new random network for images (h, w, c)."""
    variables = networks.init(training.network, key, shape)
    return variables, training.optimizer.init(variables["params"])


def empty(training: Training, capacity: int, shape: tuple[int, int, int]) -> Queue:
    """Return a queue of no networks yet.

    Args:
      training: of its networks.
      capacity: networks at most.
      shape: (h, w, c) of the images.
    """
    variables, opt_state = jax.tree.map(
        lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype),
        jax.eval_shape(lambda key: fresh(training, key, shape), jax.random.key(0)),
    )
    none = jnp.zeros(capacity)
    return Queue(variables, opt_state, none, none, jnp.zeros((), jnp.int32))


def size(queue: Queue) -> Array:
    """Return how many networks are in the queue, int32."""
    return jnp.minimum(queue.pushed, queue.seen.shape[0])


def accuracy(queue: Queue, slot: Array) -> Array:
    """Return the running training accuracy of a network, percent; zero for an untrained one.

    Args:
      queue: the queue.
      slot: int32 [], which of its networks.
    """
    return 100 * queue.correct[slot] / jnp.maximum(queue.seen[slot], 1e-9)


def fade(queue: Queue, window: int) -> Queue:
    """Let an iteration pass for the running accuracies.

    The authors reset them at each of their evaluations, every 100 iterations at IPC 1 and 10.

    Args:
      queue: the queue.
      window: iterations that they look back on, about; 0 for all.
    """
    keep = 1 - 1 / window if window else 1.0
    return queue._replace(correct=keep * queue.correct, seen=keep * queue.seen)


def push(
    queue: Queue,
    variables: networks.Variables,
    opt_state: networks.OptState,
    when: Array | bool = True,
) -> Queue:
    """Add an untrained network, in place of the oldest if the queue is full.

    Args:
      queue: the queue.
      variables: the network's, from `fresh`.
      opt_state: likewise.
      when: bool [], False leaves the queue as it is; may be traced.
    """
    slot = queue.pushed % queue.seen.shape[0]

    def put(stack: Array, leaf: Array | float) -> Array:
        return stack.at[slot].set(jnp.where(when, leaf, stack[slot]))

    return Queue(
        variables=jax.tree.map(put, queue.variables, variables),
        opt_state=jax.tree.map(put, queue.opt_state, opt_state),
        correct=put(queue.correct, 0.0),
        seen=put(queue.seen, 0.0),
        pushed=queue.pushed + jnp.asarray(when, jnp.int32),
    )


def sample(key: Array, queue: Queue, count: int) -> Array:
    """Return random slots in use, int32 [count], different ones as far as there are enough."""
    capacity = queue.seen.shape[0]
    used = jnp.arange(capacity) < size(queue)
    order = jnp.argsort(jnp.where(used, jax.random.uniform(key, (capacity,)), 2.0))
    return order[jnp.arange(count) % size(queue)]


def batch_indices(key: Array, number: Array, batch: int, sizes: ClassData) -> Array:
    """Return the images of a training step, int32 [batch].

    Args:
      key: names the epochs of training; the same throughout a run.
      number: of the training step in the run, int32.
      batch: images of a step.
      sizes: the data set; its images are not looked at.
    """
    return sampling.epoch_positions(key, number, batch, sizes.labels.shape[0])


def train(
    training: Training, queue: Queue, slots: Array, key: Array, first: Array, context: Context
) -> Queue:
    """Train some networks on real batches without augmentation.

    Args:
      training: how.
      queue: the queue.
      slots: which, int32 [n], all different.
      key: names the epochs of training; the same throughout a run.
      first: number in the run of the first training step of this iteration, int32.
      context: of the run.

    Returns:
      The queue after training.steps steps of each of them.
    """
    starts = first + jnp.arange(len(slots)) * training.steps
    stacks = queue.variables, queue.opt_state
    selected = jax.tree.map(lambda stack: stack[slots], stacks)
    shared = _Batches(key, first, context)
    every = (parallel.CLASSES, parallel.IMAGES)
    trained, correct = parallel.over_networks(
        partial(_train_one, training), (selected, starts), shared, axis=every
    )
    variables, opt_state = jax.tree.map(
        lambda stack, leaf: stack.at[slots].set(leaf), stacks, trained
    )
    return queue._replace(
        variables=variables,
        opt_state=opt_state,
        correct=queue.correct.at[slots].add(correct),
        seen=queue.seen.at[slots].add(float(training.steps * training.batch)),
    )


_Network = tuple[networks.Variables, networks.OptState]


class _Batches(NamedTuple):
    """What an iteration's training batches are taken from."""

    key: Array
    first: Array
    context: Context


def _train_one(
    training: Training, own: tuple[_Network, Array], shared: _Batches
) -> tuple[_Network, Array]:
    """A network after its steps, and how many images it classified correctly."""
    network, start = own
    numbers = start + jnp.arange(training.steps)
    network, correct = lax.scan(
        lambda now, number: _step(training, now, *_batch(training, shared, number)),
        network,
        numbers,
    )
    return network, jnp.sum(correct, dtype=jnp.float32)


def _batch(training: Training, shared: _Batches, number: Array) -> tuple[Array, Array]:
    """(normalised images, labels) of training step `number`."""
    context, batch = shared.context, training.batch
    real = context.real
    if real.drawn is not None:
        index = real.drawn.training[(number - shared.first) * batch + jnp.arange(batch)]
    else:
        index = batch_indices(shared.key, number, batch, real)
    images = sampling.normalise(real.images[index], context.mean, context.std)
    return images, real.labels[index]


def _step(
    training: Training, own: _Network, images: Array, labels: Array
) -> tuple[_Network, Array]:
    """One step of training a network; beside it, how many images it classified correctly."""
    network, (variables, opt_state) = training.network, own
    params = variables["params"]

    def part(images: Array, labels: Array, shares: Array) -> Any:
        def loss(params: optax.Params) -> tuple[Array, tuple[Array, networks.Variables]]:
            (logits, _), updated = network.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            right = (jnp.argmax(logits, -1) == labels) & (shares > 0)
            return jnp.sum(losses * shares), (jnp.sum(right), dict(updated))

        return jax.grad(loss, has_aux=True)(params)

    block = networks.images_per_block(network, len(images), images.shape[1:])
    shares = jnp.full(len(labels), 1 / len(labels))
    grads, (correct, updated) = parallel.sum_over_blocks(part, block, images, labels, shares)
    updates, opt_state = training.optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    return ({**variables, **updated, "params": params}, opt_state), correct
