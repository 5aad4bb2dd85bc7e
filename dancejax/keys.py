"""Random keys by purpose, so that one seed gives independent draws for each."""

import zlib

import jax

EXPERTS, EVALUATION, FORGETTING = "experts", "evaluation", "forgetting"
INITIAL_PIXELS = "initial pixels"
ANALYSIS = "analysis"


def root(seed: int, purpose: str) -> jax.Array:
    """Return the key that everything drawn for a purpose is derived from.

    Purposes must not share keys: an evaluation network that begins as an expert did is no
    independent judge of what was condensed under that expert. Experts keep the bare key of the
    seed, under which pools have been trained and can be extended.

    Args:
      seed: of the run, not negative.
      purpose: one of the names above, or any other text.

    Returns:
      A PRNG key.
    """
    key = jax.random.key(seed)
    return key if purpose == EXPERTS else jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def member(seed: int, purpose: str, number: int) -> jax.Array:
    """Return the key of one network of a purpose, which does not depend on how many there are.

    Args:
      seed: of the run, not negative.
      purpose: as in `root`.
      number: of the network, not negative.
    """
    return jax.random.fold_in(root(seed, purpose), number)
