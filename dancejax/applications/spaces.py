"""Search spaces: products of network options, written "depth=1,2,3 width=32,64"."""

import itertools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from dancejax import networks
from dancejax.applications.settings import NetworkSettings
from dancejax.choices import SPACES as SPACES
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.types import Json

Space = dict[str, tuple[Any, ...]]
"""The values of each option."""


def parse(text: str) -> Space:
    """Parse a search space.

    Args:
      text: one of SPACES, or "OPTION=VALUE,VALUE OPTION=VALUE,...".

    Raises:
      UserError: the text is not of this form, names nothing, or names something twice.
    """
    found: Space = {}
    for part in SPACES.get(text.strip(), text).split():
        option, equals, values = part.partition("=")
        entries = values.split(",")
        if not (option and equals and all(entries)):
            raise UserError(
                f"{part!r} in the search space is no option with its values; write for instance "
                f"'depth=2,3 width=32,64', or choose {', '.join(SPACES)}."
            )
        if option in found or len(set(entries)) < len(entries):
            raise UserError(f"the search space names something twice in {part!r}; leave one out.")
        found[option] = tuple(int(v) if v.isdecimal() else v for v in entries)
    if not found:
        raise UserError("the search space is empty; write for instance 'depth=2,3 width=32,64'.")
    return found


def create(space: Space, dataset: Dataset, base: NetworkSettings) -> dict[str, nn.Module]:
    """Make every network of a space, and check that it can be used for a data set's images.

    Args:
      space: the values of each option.
      dataset: what the networks are for.
      base: the network, and its options that are no part of the space.

    Returns:
      Networks by names as `registries.parse_network` reads them, in the order of the product.

    Raises:
      UserError: an option that the network has not, or a network that is not possible.
    """
    found = {}
    for options in members(space):
        name = name_of(base.chosen, options)
        network = NetworkSettings(base.name, {**base.options, **options}).create(dataset)
        try:
            networks.check(network, dataset.num_classes, dataset.image_shape)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        found[name] = network
    return found


def members(space: Space) -> list[Json]:
    """Return the options of every network of a space, in the order of the product."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def name_of(network: str, options: Json) -> str:
    """Return a network's name, as "convnet:depth=2:width=32"."""
    return ":".join([network, *(f"{option}={value}" for option, value in options.items())])


def folder_of(name: str) -> str:
    """Return the name of a network's folder."""
    return name.replace(":", "-")


def describe(space: Space) -> str:
    """Return a space as it is written."""

    def listing(values: Sequence[Any]) -> str:
        return ",".join(map(str, values))

    return " ".join(f"{option}={listing(values)}" for option, values in space.items())
