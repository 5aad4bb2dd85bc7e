"""IDM: improved distribution matching (CVPR 2023): a queue of networks in training."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from dancejax import interpolate, mmd, networks
from dancejax.data import sampling
from dancejax.data.sampling import ClassData, Draws, StreamedData
from dancejax.errors import UserError
from dancejax.methods import base
from dancejax.methods.base import Array, Context, Method, Metrics, State
from dancejax.methods.papers import LARGE, TINY, DatasetLike, Paper, side, unmirrored
from dancejax.runs import parallel


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """IDM's settings: those of all methods (`base.Config`), the class-aware regularisation and the
    queue of networks."""

    factor: int = 2
    learning_rate: float = 0.2
    update_order: str = base.setting(
        "classwise", "classwise steps the optimiser after each class, joint once for all classes"
    )
    regularisation: float = base.setting(
        0.5, "lambda_reg of the cross-entropy, which the network's accuracy in percent multiplies"
    )
    queue_start: int = base.setting(3, "networks in the queue at the start")
    queue_size: int = base.setting(100, "networks in the queue at most")
    accuracy_window: int = base.setting(
        100,
        "iterations that the network's running accuracy looks back on; 0: all since it was new",
    )
    push_every: int = base.setting(30, "iterations between new networks in the queue")
    networks_trained: int = base.setting(2, "networks of the queue trained in an iteration")
    train_steps: int = base.setting(10, "steps that each of them is trained")
    train_batch: int = base.setting(256, "batch size of that training")
    train_rate: float = base.setting(0.01, "learning rate of that training")
    train_momentum: float = base.setting(0.9, "momentum of that training")
    train_decay: float = base.setting(5e-4, "weight decay of that training")


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return IDM's published settings; above IPC 50, where none are published, those for 50.

    The batch of real images is no larger than the smallest class: 5000 of a class of 500 would be
    ten copies of each.

    Args:
      dataset: whose name, image size, class sizes and mirroring they depend on.
      ipc: stored images per class.
    """
    large, tiny = side(dataset) >= LARGE, TINY <= side(dataset) < LARGE
    hundred = dataset.name == "cifar100" and 1 < ipc < 50
    many = ipc == 1 and dataset.name in ("cifar10", "cifar100")
    weak = ipc >= 50 or hundred
    batch = 128 if large else 5000 if many else 256
    settings = {
        "factor": 1 if large and ipc >= 50 else 2,
        "batch_real": min([batch, *map(int, dataset.class_counts)]),
        "queue_size": 50 if large and ipc < 50 else 100,
        "push_every": 50 if large else 5 if many else 30,
        "train_steps": 50 if hundred or (tiny and ipc >= 50) else 10,
        "regularisation": 3.0 if large else 0.8 if tiny and ipc >= 50 else 0.1 if weak else 0.5,
        "accuracy_window": 500 if ipc >= 50 else 100,
        **unmirrored(Config.augmentation, dataset),
    }
    return Paper(
        steps=20_000,
        settings=settings,
        init="real_mean",
        protocol="dm",
        title="IDM",
        network={"depth": 3} if tiny else {},
    )


def cpu_settings(batch_real: int) -> dict[str, int]:
    """Return settings of the queue that suit a CPU on which batch_real was chosen for it."""
    return {"train_batch": batch_real, "queue_size": 20}


class Queue(NamedTuple):
    """Networks in training, in a ring: a new one takes the place of the oldest when it is full.

    Every leaf has a leading axis of the capacity; slots 0 .. min(pushed, capacity) - 1 are in use.
    """

    variables: networks.Variables
    opt_state: networks.OptState
    correct: Array  # float32 [capacity], images of its training batches classified correctly
    seen: Array  # float32 [capacity], images of its training batches; both fade with time
    pushed: Array  # int32, networks pushed so far


def size(queue: Queue) -> Array:
    """How many networks are in the queue, int32."""
    return jnp.minimum(queue.pushed, queue.seen.shape[0])


def accuracy(queue: Queue, slot: Array) -> Array:
    """Running training accuracy of a network in percent; zero for an untrained one."""
    return 100 * queue.correct[slot] / jnp.maximum(queue.seen[slot], 1e-9)


def fade(queue: Queue, window: int) -> Queue:
    """Let an iteration pass for the running accuracies, which look back on about `window` of them.

    The authors set them back at each of their evaluations, every 100 iterations at IPC 1 and 10.
    """
    keep = 1 - 1 / window if window else 1.0
    return queue._replace(correct=keep * queue.correct, seen=keep * queue.seen)


def push(
    queue: Queue,
    variables: networks.Variables,
    opt_state: networks.OptState,
    when: Array | bool = True,
) -> Queue:
    """Adds an untrained network, in place of the oldest if the queue is full; if `when`."""
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
    """Random slots in use, int32 [count], different ones as far as there are enough."""
    capacity = queue.seen.shape[0]
    used = jnp.arange(capacity) < size(queue)
    order = jnp.argsort(jnp.where(used, jax.random.uniform(key, (capacity,)), 2.0))
    return order[jnp.arange(count) % size(queue)]


def create(config: Config, network: nn.Module) -> Method:
    """IDM as a Method."""
    base.check_settings(config)
    counts = ("queue_start", "queue_size", "push_every", "networks_trained")
    base.check_positive(config, *counts, "train_steps", "train_batch")
    if config.accuracy_window < 0:
        raise UserError(f"accuracy_window must be at least 0, not {config.accuracy_window}.")
    if config.networks_trained > min(config.queue_start, config.queue_size):
        raise UserError(
            f"networks_trained ({config.networks_trained}) must not be above queue_start "
            f"({config.queue_start}) and queue_size ({config.queue_size})."
        )
    space = base.NORMALISED
    view = base.view(config, space)
    optimizer = optax.sgd(config.learning_rate, config.momentum)
    trainer = optax.chain(
        optax.add_decayed_weights(config.train_decay),
        optax.sgd(config.train_rate, config.train_momentum),
    )

    def fresh(key: Array, shape: tuple[int, int, int]) -> tuple[networks.Variables, optax.OptState]:
        variables = networks.init(network, key, shape)
        return variables, trainer.init(variables["params"])

    def init(key: Array, pixels: Array, context: Context) -> State:
        stored = space.enter(pixels, context)
        state = State(jnp.zeros((), jnp.int32), key, stored, optimizer.init(stored))
        shape = base.image_shape(state)
        k_network, _ = _keys(key)
        capacity = config.queue_size
        variables, opt_state = jax.tree.map(
            lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype),
            jax.eval_shape(lambda k: fresh(k, shape), k_network),
        )
        none = jnp.zeros(capacity)
        queue = Queue(variables, opt_state, none, none, jnp.zeros((), jnp.int32))
        for number in range(min(config.queue_start, capacity)):
            queue = push(queue, *fresh(jax.random.fold_in(k_network, number), shape))
        return state._replace(extra=queue)

    per_iteration = config.networks_trained * config.train_steps

    def training_indices(key: Array, number: Array, sizes: ClassData) -> Array:
        """The images of training step `number` of the run, [train_batch]."""
        count = sizes.labels.shape[0]
        return sampling.epoch_positions(key, number, config.train_batch, count)

    def draw(key: Array, step: Array, sizes: ClassData) -> Draws:
        _, k_epochs = _keys(key)
        own = base.draw_with(lambda _: k_epochs[0], config.batch_real)(key, step, sizes)
        numbers = step * per_iteration + jnp.arange(per_iteration)
        mixed = jax.vmap(lambda number: training_indices(k_epochs[1], number, sizes))(numbers)
        return own._replace(training=mixed.reshape(-1))

    def train(queue: Queue, slots: Array, key: Array, first: Array, context: Context) -> Queue:
        """train_steps steps of each of the slots, on real batches without augmentation."""

        def one(own: tuple[Any, Array], shared: Any) -> tuple[Any, Array]:
            taken, start = own
            key, first, context = shared
            batch_of = partial(training_batch, key, first, context)
            numbers = start + jnp.arange(config.train_steps)
            taken, correct = lax.scan(lambda t, n: step(t, *batch_of(n)), taken, numbers)
            return taken, jnp.sum(correct, dtype=jnp.float32)

        starts = first + jnp.arange(len(slots)) * config.train_steps
        stacks = queue.variables, queue.opt_state
        selected = jax.tree.map(lambda stack: stack[slots], stacks)
        shared = key, first, context
        trained, correct = parallel.over_networks(
            one, (selected, starts), shared, axis=parallel.CLASSES
        )
        variables, opt_state = jax.tree.map(
            lambda stack, leaf: stack.at[slots].set(leaf), stacks, trained
        )
        return queue._replace(
            variables=variables,
            opt_state=opt_state,
            correct=queue.correct.at[slots].add(correct),
            seen=queue.seen.at[slots].add(float(config.train_steps * config.train_batch)),
        )

    def training_batch(
        key: Array, first: Array, context: Context, number: Array
    ) -> tuple[Array, Array]:
        """(normalised images, labels) of training step `number`; `first` is the iteration's."""
        real, batch = context.real, config.train_batch
        if isinstance(real, StreamedData):
            index = (number - first) * batch + jnp.arange(batch)
            images, labels = real.training_images[index], real.training_labels[index]
        else:
            index = training_indices(key, number, real)
            images, labels = real.images[index], real.labels[index]
        return sampling.normalise(images, context.mean, context.std), labels

    def step(taken: Any, images: Array, labels: Array) -> tuple[Any, Array]:
        """One step of training a network; beside it, how many it classified correctly."""
        variables, opt_state = taken
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

        size = networks.images_per_block(network, len(images), images.shape[1:])
        shares = jnp.full(len(labels), 1 / len(labels))
        grads, (correct, updated) = parallel.sum_over_blocks(part, size, images, labels, shares)
        updates, opt_state = trainer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        return ({**variables, **updated, "params": params}, opt_state), correct

    def update(state: State, context: Context) -> tuple[State, Metrics]:
        queue: Queue = state.extra
        k_network, k_epochs = _keys(state.key)
        key = jax.random.fold_in(k_epochs[2], state.step)
        k_match, k_train, k_subset, k_augment = jax.random.split(key, 4)
        due = (state.step % config.push_every == 0) & (state.step > 0)
        new = fresh(jax.random.fold_in(k_network, queue.pushed), base.image_shape(state))
        queue = push(queue, *new, when=due)
        slot = sample(k_match, queue, 1)[0]
        variables = interpolate.select(queue.variables, slot)
        percent = accuracy(queue, slot)

        shared = variables, percent, k_epochs[0], k_subset, k_augment, state.step, context

        def losses(pixels: Array, classes: Array, shared: Any) -> tuple[Array, Metrics]:
            variables, percent, k_real, k_subset, k_augment, step, context = shared
            real = base.real_batch(view, k_real, k_augment, step, classes, context)
            syn = base.synthetic(view, k_subset, k_augment, pixels, classes, context)
            _, real = base.forward_classes(network, variables, real)
            logits, syn = base.forward_classes(network, variables, syn)
            matching = mmd.mean_discrepancy(jax.lax.stop_gradient(real), syn)
            entropy = base.cross_entropy(logits, classes)
            total = matching + config.regularisation * percent * entropy
            return total, {"matching": matching, "cross_entropy": entropy}

        chunk = base.block_size(network, state, config)
        pixels, opt_state, metrics = base.descend(
            config.update_order,
            optimizer,
            config.learning_rate,
            config.momentum,
            state.pixels,
            state.opt_state,
            lambda own: base.class_gradients(losses, own, shared, chunk),
        )
        slots = sample(k_train, queue, config.networks_trained)
        first = state.step * per_iteration
        queue = train(fade(queue, config.accuracy_window), slots, k_epochs[1], first, context)
        metrics = {**metrics, "network_accuracy": percent}
        return State(state.step + 1, state.key, pixels, opt_state, queue), metrics

    return Method(
        name="idm",
        config=config,
        factor=config.factor,
        needs_experts=False,
        init=init,
        update=update,
        pixels=base.stored(space),
        draw=draw,
        network=network,
    )


def _keys(key: Array) -> tuple[Array, Array]:
    """The run's keys: of new networks, and [3] of matching epochs, training epochs, iterations."""
    k_network, *others = jax.random.split(key, 4)
    return k_network, jnp.stack(others)
