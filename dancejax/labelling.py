"""Soft labels: what experts say of a set's training images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import checks, interpolate
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.training import testing
from dancejax.training.experts import Experts, fingerprint
from dancejax.training.step import TrainData


def soften(
    made: CondensedSet, experts: Experts, *, temperature: float = 1.0, correct: bool = True
) -> CondensedSet:
    """Give a set soft labels, the mean of what experts say of each training image.

    Experts see the images as they saw those they were trained on, normalised by the constants of
    the data set, and are in inference mode.

    Args:
      made: the set, of any method or coreset. Soft labels that it has are replaced.
      experts: their final parameters count; of the same classes and image shape.
      temperature: above 0; logits are divided by it before softmax.
      correct: whether images that the experts together take for another class keep their hard
        label, as in NCFM's setup.

    Returns:
      The set with soft labels, float16, and what made them in its settings, "soft_labels".

    Raises:
      UserError: experts of other data than the set's, or a temperature that is not above 0.

    References:
      Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; for condensed sets Cui et
      al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", ICML 2023.
    """
    checks.instance("the set", made, CondensedSet, hint="condensed.load reads one")
    checks.instance("the experts", experts, Experts, hint="load_pool reads some")
    checks.number("temperature", temperature)
    if not temperature > 0:
        raise UserError(f"temperature must be above 0, not {temperature}.")
    trained, source = experts.description["dataset"], made.source
    if trained["fingerprint"] != source.get("fingerprint"):
        raise UserError(
            f"the experts were trained on {trained['name']}, the set is of other data "
            f"({source.get('name', '?')}); give experts of the data that it was made from."
        )
    images, labels = made.decoded()
    constants = (jnp.asarray(source.get(name, getattr(made, name))) for name in ("mean", "std"))
    shown = TrainData(images, labels, *constants)
    total = np.zeros((len(labels), made.num_classes), np.float64)
    for number in range(experts.count):
        own = interpolate.select(experts.pool.final, number)
        logits, _ = testing.predict(own, shown, network=experts.network)
        total += np.asarray(jax.nn.softmax(logits / temperature), np.float64)
    shares = total / experts.count
    hard = np.asarray(labels)
    if correct:
        wrong = shares.argmax(1) != hard
        shares[wrong] = np.eye(made.num_classes)[hard[wrong]]
    about = {
        "experts": experts.count,
        "pool": fingerprint(experts.pool),
        "temperature": temperature,
        "correct": correct,
    }
    return dataclasses.replace(
        made,
        soft_labels=shares.astype(np.float16),
        settings={**made.settings, "soft_labels": about},
    )
