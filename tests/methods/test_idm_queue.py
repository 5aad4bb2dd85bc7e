"""IDM's queue against a plain Python model."""

from collections import deque

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dancejax.methods import idm_queue as idm


def empty(capacity: int) -> idm.Queue:
    none = jnp.zeros(capacity)
    return idm.Queue({"id": none}, {"m": none}, none, none, jnp.zeros((), jnp.int32))


def test_queue_is_a_bounded_fifo_over_hundreds_of_steps():
    capacity, push_every = 7, 3
    queue, model, seen = empty(capacity), deque(maxlen=capacity), {}
    push = jax.jit(idm.push)
    sample = jax.jit(idm.sample, static_argnums=2)
    rng = np.random.default_rng(0)
    for step in range(300):
        due = step % push_every == 0
        queue = push(queue, {"id": jnp.float32(step + 1)}, {"m": jnp.float32(-step)}, when=due)
        if due:
            model.append(step + 1)
            seen[step + 1] = [0, 0]
        assert int(idm.size(queue)) == len(model)
        used = np.asarray(queue.variables["id"])[: len(model)]
        assert sorted(used) == sorted(model)
        slots = np.asarray(sample(jax.random.key(step), queue, 2))
        assert all(slot < len(model) for slot in slots)
        if len(model) > 1:
            assert slots[0] != slots[1]
        slot, right, count = int(slots[0]), int(rng.integers(0, 9)), 8
        queue = queue._replace(
            correct=queue.correct.at[slot].add(right), seen=queue.seen.at[slot].add(count)
        )
        own = seen[int(used[slot])]
        own[0] += right
        own[1] += count
        for position, name in enumerate(used):
            right, count = seen[int(name)]
            expected = 100 * right / count if count else 0.0
            np.testing.assert_allclose(idm.accuracy(queue, position), expected, rtol=1e-6)


def test_running_accuracy_forgets_what_is_long_ago():
    """A network that got everything wrong for long and then all right, over a window of 10."""
    queue = empty(2)._replace(pushed=jnp.int32(1))
    for step in range(100):
        right = 8.0 if step >= 70 else 0.0
        queue = idm.fade(queue, 10)
        queue = queue._replace(
            correct=queue.correct.at[0].add(right), seen=queue.seen.at[0].add(8.0)
        )
    np.testing.assert_allclose(idm.accuracy(queue, 0), 100 * (1 - 0.9**30), rtol=1e-3)
    assert float(idm.accuracy(queue, 1)) == 0
    chex.assert_trees_all_equal(idm.fade(queue, 0), queue)


def test_sampling_is_uniform_over_the_networks_in_use():
    queue = empty(8)._replace(pushed=jnp.int32(5))
    keys = jax.random.split(jax.random.key(0), 4000)
    slots = jax.vmap(lambda key: idm.sample(key, queue, 1)[0])(keys)
    counts = np.bincount(slots, minlength=8)
    assert counts[5:].sum() == 0
    assert ((counts[:5] - 800) ** 2 / 800).sum() < 18.5  # chi-square, 4 degrees, p = 0.001


def test_a_queue_of_one_gives_it_as_often_as_asked():
    queue = empty(4)._replace(pushed=jnp.int32(1))
    np.testing.assert_array_equal(idm.sample(jax.random.key(0), queue, 3), [0, 0, 0])
