"""Networks in turns: a method under several networks, one of them in each iteration."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from dancejax.data.sampling import ClassData, Draws
from dancejax.methods.base import Array, Context, Method, Metrics, State


def in_turns(methods: Sequence[Method]) -> Method:
    """Return a method whose iteration t is one of methods[t mod n].

    Each goes on as if it were alone, with iterations, random numbers and what it keeps (`extra`) of
    its own; the pixels and their optimiser are common to all. The iterations are branches of one
    program, so that each is compiled once.

    Args:
      methods: made with the same settings for different networks. Where they need experts, the
        parts `experts`, `trajectories` and `visited` of a context are lists, an entry for each.
    """
    turns = tuple(methods)
    return turns[0]._replace(
        init=partial(_init, turns),
        update=partial(_update, turns),
        draw=partial(_draw, turns),
        turns=turns,
    )


def own_key(key: Array, number: int | Array) -> Array:
    """Return the key of a run's network of this number."""
    return jax.random.fold_in(key, number)


def own_context(context: Context, number: int) -> Context:
    """Return the context of the network of this number."""
    own = {
        name: part[number]
        for name in ("experts", "trajectories", "visited")
        if isinstance(part := getattr(context, name), list)
    }
    return context._replace(**own)


def _init(turns: tuple[Method, ...], key: Array, pixels: Array, context: Context) -> State:
    states = [
        method.init(own_key(key, number), pixels, own_context(context, number))
        for number, method in enumerate(turns)
    ]
    return states[0]._replace(key=key, extra=tuple(state.extra for state in states))


def _update(
    turns: tuple[Method, ...], state: State, context: Context, *, class_chunk: int | None = None
) -> tuple[State, Metrics]:
    def branch(number: int, state: State, context: Context) -> tuple[State, Metrics]:
        own = state._replace(
            step=state.step // len(turns),
            key=own_key(state.key, number),
            extra=state.extra[number],
        )
        made, metrics = turns[number].update(
            own, own_context(context, number), class_chunk=class_chunk
        )
        extra = (*state.extra[:number], made.extra, *state.extra[number + 1 :])
        return made._replace(step=state.step + 1, key=state.key, extra=extra), metrics

    branches = [partial(branch, number) for number in range(len(turns))]
    return jax.lax.switch(state.step % len(turns), branches, state, context)


def _draw(turns: tuple[Method, ...], key: Array, step: Array, sizes: ClassData) -> Draws:
    """The images of an iteration, which the settings decide and not the network."""
    step = jnp.asarray(step)
    return turns[0].draw(own_key(key, step % len(turns)), step // len(turns), sizes)
