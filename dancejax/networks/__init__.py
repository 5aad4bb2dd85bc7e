"""Networks by name. Every network maps normalised images to (logits, features)."""

import re
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import checks, registries
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.networks import layers
from dancejax.networks.architectures import Architecture as Architecture
from dancejax.networks.blocks import (
    activation_bytes as activation_bytes,
    forward_in_blocks as forward_in_blocks,
    images_per_block as images_per_block,
    uses_batch_statistics as uses_batch_statistics,
)
from dancejax.networks.calls import (
    Outputs as Outputs,
    Variables as Variables,
    features as features,
    forward as forward,
    infer as infer,
    init as init,
)
from dancejax.networks.convnet import ConvNet as ConvNet
from dancejax.registries import Registry
from dancejax.runs import integrity
from dancejax.text import meant
from dancejax.types import Json

OptState = Any
"""Optax's state of an optimiser, a pytree of arrays."""
NETWORKS: Registry[Architecture] = registries.NETWORKS
_CHOICES = {
    "norm": layers.NORMS,
    "activation": tuple(layers.ACTIVATIONS),
    "pooling": layers.POOLINGS,
    "initializer": layers.INITIALIZERS,
}


def default_depth(side: int) -> int:
    """Return ConvNet's published depth for an image side: 3 up to 48 pixels, 4 up to 96, 5 up to
    192, 6 above."""
    return 3 if side <= 48 else 4 if side <= 96 else 5 if side <= 192 else 6


def create(
    name: str,
    dataset_or_num_classes: Dataset | int,
    image_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> nn.Module:
    """Make a network by name.

    Args:
      name: one of NETWORKS.
      dataset_or_num_classes: a data set, whose classes and image shape the network is made for, or
        the number of classes.
      image_shape: (h, w, c) of the images, unless a data set says it.
      **options: the network's own (ConvNet: depth, width, norm, activation, pooling, initializer,
        dtype; the others: width, norm, initializer, dtype). ConvNet's depth goes by the image side.

    Returns:
      A module that maps normalised images [n, h, w, c] to (logits [n, num_classes], features
      [n, d]).

    Raises:
      UserError: an unknown name, option or value, or images too small for the network.
    """
    checks.instance("name", name, str, hint="a network of your own needs no create")
    if name not in NETWORKS:
        raise UserError(
            f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}.{meant(name, NETWORKS)}"
        )
    network, fixed, smallest = NETWORKS[name]
    num_classes, image_shape = _sizes(dataset_or_num_classes, image_shape)
    fields = _fields(network, fixed)
    for option, value in options.items():
        if option not in fields:
            raise UserError(f"{name} has no option {option!r}; it has {', '.join(fields[1:])}.")
        if option in _CHOICES and value not in _CHOICES[option]:
            raise UserError(
                f"unknown {option} {value!r}; choose one of {', '.join(_CHOICES[option])}."
            )
        if option in ("depth", "width"):
            options[option] = checks.whole(option, value, 1)
    side = min(image_shape[:2])
    wider = 2 * (layers.first_padding(image_shape) - 1)  # by the first convolution
    if side + wider < smallest:
        raise UserError(
            f"{name} needs images of at least {smallest - wider} pixels a side, not {side}; choose "
            "another network or a larger image size."
        )
    if name == "convnet":
        options.setdefault("depth", default_depth(side))
        _check_depth(options, side, side + wider)
    if "dtype" in options:
        options["dtype"] = _dtype(options["dtype"])
    made = network(num_classes=num_classes, **fixed, **options)
    if options.get("norm") == "group":
        check(made, num_classes, image_shape)  # whether its channels can be divided
    return made


def _check_depth(options: dict[str, Any], side: int, widened: int) -> None:
    """Raise UserError for a ConvNet that halves its images, widened first, too often."""
    depth = options["depth"]
    if options.get("pooling", "avg") != "none" and widened < 2**depth:
        raise UserError(
            f"a ConvNet of depth {depth} needs images of at least {2**depth - (widened - side)} "
            f"pixels a side, not {side}; choose a depth of at most {widened.bit_length() - 1}."
        )


def _sizes(given: Any, image_shape: Any) -> tuple[int, tuple[int, int, int]]:
    """Classes and image shape that `create` is given, by a data set or one by one."""
    if not isinstance(given, Dataset):
        return checks.whole("num_classes", given, 1), _shape(image_shape)
    if image_shape is not None:
        raise UserError("the data set says the shape of its images; leave image_shape out.")
    return given.num_classes, given.image_shape


def _shape(given: Any) -> tuple[int, int, int]:
    """The shape of images; raises UserError for what is none."""
    try:
        h, w, c = (checks.whole("a side or channel of images", x) for x in given)
    except (TypeError, ValueError) as error:
        raise UserError(f"images have a shape (height, width, channels), not {given!r}.") from error
    return h, w, c


def _dtype(given: Any) -> str:
    """The name of a floating-point type; raises UserError for another."""
    try:
        dtype = jnp.dtype(given)
        known = jnp.issubdtype(dtype, jnp.floating)
    except TypeError:
        known = False
    if not known or given is None:
        raise UserError(f"dtype must be float32, bfloat16 or float16, not {given!r}.")
    return dtype.name


def _fields(network: type[nn.Module], fixed: dict[str, Any]) -> list[str]:
    """The options of a network, num_classes first."""
    return [f for f in network.__dataclass_fields__ if f not in ("parent", "name", *fixed)]


def check(network: nn.Module, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Check that a network can be used for images, whoever wrote it; nothing is computed.

    Args:
      network: a module that maps normalised images [n, h, w, c] and `train`, False by default, to
        (logits [n, num_classes], features [n, d]).
      num_classes: of the data set.
      image_shape: (h, w, c).

    Raises:
      UserError: it does not map images [n, h, w, c] to logits [n, num_classes] and features [n, d],
        or does not take `train`.
    """
    checks.instance("the network", network, nn.Module, hint="networks.create makes one")
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    try:
        variables = jax.eval_shape(lambda key: init(network, key, image_shape), jax.random.key(0))
        made = jax.eval_shape(lambda v, x: forward(network, v, x), variables, images)
        shapes = [x.shape for x in made]
    except (flax.errors.FlaxError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(
            f"the network {type(network).__name__} cannot be used ({reason}): it has to map images "
            f"[n, {', '.join(map(str, image_shape))}] and train=True or False to (logits, "
            "features), without random numbers of its own."
        ) from error
    if len(shapes) != 2 or shapes[0] != (2, num_classes) or [len(s) for s in shapes] != [2, 2]:
        raise UserError(
            f"the network {type(network).__name__} gives {[list(s) for s in shapes]} for two "
            f"images of {num_classes} classes; it has to give logits [2, {num_classes}] and "
            "features [2, d]."
        )


def identity(network: nn.Module) -> Json:
    """Return what tells a network from others, as plain JSON values.

    Returns:
      Of a network of NETWORKS its "name" and all options, which `create` takes; of another module
      its import path as "name", and its class and fields as "module".
    """
    kind = type(network)
    for name, (registered, fixed, _) in NETWORKS.items():
        if kind is registered and all(getattr(network, f) == v for f, v in fixed.items()):
            return {"name": name, **{f: getattr(network, f) for f in _fields(kind, fixed)}}
    module = re.sub(r" at 0x[0-9a-f]+", "", repr(network))  # of functions, other in each process
    return {"name": f"{kind.__module__}.{kind.__qualname__}", "module": module}


def from_identity(
    recorded: Json, image_shape: tuple[int, int, int], *, network: nn.Module | None = None
) -> nn.Module:
    """Return the network that `identity` described.

    Args:
      recorded: what `identity` returned, JSON's lists for tuples.
      image_shape: (h, w, c).
      network: the module itself where it is none of NETWORKS; must be the one described.

    Raises:
      UserError: a module of one's own is needed and not given, or another one is given.
    """
    if network is not None:
        checks.instance("network", network, nn.Module, hint="networks.create makes one")
        here, there = integrity.plain(identity(network)), integrity.plain(recorded)
        # The same class has another import path in the script that defines it: __main__.
        same = here.get("module") == there.get("module") if "module" in there else here == there
        if not same:
            raise UserError(
                f"the network {identity(network)['name']} is not the recorded "
                f"{recorded['name']}, or has other fields; give the one that was used."
            )
        return network
    if "module" in recorded:
        raise UserError(
            f"the network {recorded['name']} is none of dancejax's, which are made by name; give "
            "the module itself as network."
        )
    options = {k: v for k, v in recorded.items() if k not in ("name", "num_classes")}
    return create(recorded["name"], recorded["num_classes"], image_shape, **options)
