"""Networks by name. Every network maps normalised images to (logits, features)."""

import functools
from typing import Any, NamedTuple, cast

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import checks
from dancejax.errors import UserError
from dancejax.networks import layers
from dancejax.networks.alexnet import AlexNet
from dancejax.networks.convnet import ConvNet
from dancejax.networks.densenet import DenseNet121
from dancejax.networks.resnet import ResNet
from dancejax.networks.vgg import VGG11
from dancejax.runs import backend


class Architecture(NamedTuple):
    """A named network: its class, the fields that its name fixes, and its smallest image side."""

    network: type[nn.Module]
    fixed: dict[str, Any]
    smallest: int


Variables = dict[str, Any]
OptState = Any
"""Optax's state of an optimiser, a pytree of arrays."""
Outputs = tuple[jax.Array, jax.Array]
NETWORKS: dict[str, Architecture] = {
    "convnet": Architecture(ConvNet, {}, 1),
    "alexnet": Architecture(AlexNet, {}, 8),
    "vgg11": Architecture(VGG11, {}, 32),
    "resnet10": Architecture(ResNet, {"blocks": (1, 1, 1, 1), "average": False}, 8),
    "resnet18": Architecture(ResNet, {"blocks": (2, 2, 2, 2), "average": False}, 8),
    "resnetap10": Architecture(ResNet, {"blocks": (1, 1, 1, 1), "average": True}, 8),
    "densenet121": Architecture(DenseNet121, {}, 8),
}
_CHOICES = {
    "norm": layers.NORMS,
    "activation": tuple(layers.ACTIVATIONS),
    "pooling": layers.POOLINGS,
    "initializer": layers.INITIALIZERS,
}


def default_depth(side: int) -> int:
    """ConvNet's published depth for an image side: 3 up to 32, 4 at 64, 5 at 128, 6 above."""
    return 3 if side <= 48 else 4 if side <= 96 else 5 if side <= 192 else 6


def create(
    name: str, num_classes: int, image_shape: tuple[int, int, int], **overrides: Any
) -> nn.Module:
    """Makes a network by name, for images [h, w, c].

    Overrides set the network's own options (ConvNet: depth, width, norm, activation, pooling,
    initializer, dtype; the others: width, norm, initializer, dtype). Raises UserError for an
    unknown name, option or value, or a network too deep for the images.
    """
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}.")
    network, fixed, smallest = NETWORKS[name]
    image_shape = _shape(image_shape)
    fields = _fields(network, fixed)
    for option, value in overrides.items():
        if option not in fields:
            raise UserError(f"{name} has no option {option!r}; it has {', '.join(fields[1:])}.")
        if option in _CHOICES and value not in _CHOICES[option]:
            raise UserError(
                f"unknown {option} {value!r}; choose one of {', '.join(_CHOICES[option])}."
            )
        if option in ("depth", "width"):
            overrides[option] = checks.whole(option, value, 1)
    num_classes = checks.whole("num_classes", num_classes, 1)
    # The first convolution may widen the images.
    side = min(image_shape[:2]) + 2 * (layers.first_padding(image_shape) - 1)
    if side < smallest:
        raise UserError(
            f"{name} needs images of at least {smallest} pixels a side, not {side}; choose another "
            "network or a larger image size."
        )
    if name == "convnet":
        overrides.setdefault("depth", default_depth(min(image_shape[:2])))
        if overrides.get("pooling", "avg") != "none" and side < 2 ** overrides["depth"]:
            raise UserError(
                f"a ConvNet of depth {overrides['depth']} needs images of at least "
                f"{2 ** overrides['depth']} pixels a side, not {side}; choose a smaller depth."
            )
    if "dtype" in overrides:
        overrides["dtype"] = _dtype(overrides["dtype"])
    return network(num_classes=num_classes, **fixed, **overrides)


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


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """(name, options) of a network written as "resnet18:width=16:norm=batch".

    Raises UserError for what can't be read; `create` says which names and options there are.
    """
    name, *parts = text.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        option, equals, value = part.partition("=")
        if not (option and equals and value):
            raise UserError(f"{part!r} in {text!r} is not an option; write NAME:OPTION=VALUE.")
        options[option] = int(value) if value.isdecimal() else value
    return name, options


def _fields(network: type[nn.Module], fixed: dict[str, Any]) -> list[str]:
    """The options of a network, num_classes first."""
    return [f for f in network.__dataclass_fields__ if f not in ("parent", "name", *fixed)]


def check(network: Any, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Look whether a network can be used for images, whoever wrote it; nothing is computed.

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


def init(network: nn.Module, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
    """Fresh variables {"params": ..., and "batch_stats": ... if the network has batch norm}."""
    return dict(network.init(key, jnp.zeros((1, *image_shape))))


def describe(network: nn.Module) -> dict[str, Any]:
    """The network's options as plain JSON values, with its registered name under "name"."""
    for name, (kind, fixed, _) in NETWORKS.items():
        if type(network) is kind and all(getattr(network, f) == v for f, v in fixed.items()):
            return {"name": name, **{f: getattr(network, f) for f in _fields(kind, fixed)}}
    raise ValueError(f"{network} is not in the registry")


def is_named(network: nn.Module) -> bool:
    """Whether a network is one of NETWORKS, which `create` makes again from its description."""
    return "module" not in identity(network)


def identity(network: nn.Module) -> dict[str, Any]:
    """What tells a network from others: `describe`, or for a module of one's own all its fields."""
    try:
        return describe(network)
    except ValueError:
        kind = type(network)
        return {"name": f"{kind.__module__}.{kind.__qualname__}", "module": repr(network)}


@functools.cache
def activation_bytes(network: nn.Module, image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes that the layers' outputs take for one image: (of all layers, of the largest)."""

    def run(key: jax.Array, images: jax.Array) -> Any:
        variables = network.init(key, images)
        return network.apply(variables, images, capture_intermediates=True, mutable=True)[1]

    captured = jax.eval_shape(run, jax.random.key(0), jnp.zeros((1, *image_shape)))
    sizes = [x.size * x.dtype.itemsize for x in jax.tree.leaves(captured["intermediates"])]
    return sum(sizes), max(sizes)


def images_per_block(network: nn.Module, count: int, image_shape: tuple[int, ...]) -> int:
    """How many of `count` images [h, w, c] to take through a network at once on this backend.

    All of them with batch norm, whose statistics are those of the whole batch.
    """
    if getattr(network, "norm", None) == "batch":
        return count
    return backend.images_per_block(count, activation_bytes(network, image_shape)[1])


def forward_in_blocks(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """`forward`, in blocks where the backend likes them; a gradient computes each block again."""
    count = images.shape[0]
    size = images_per_block(network, count, images.shape[1:])
    if size >= count:
        return forward(network, variables, images)
    padded = jnp.pad(images, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
    blocks = padded.reshape(-1, size, *images.shape[1:])
    outputs = jax.lax.map(jax.checkpoint(lambda b: forward(network, variables, b)), blocks)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1])[:count], outputs)


def features(network: nn.Module, variables: Variables, images: jax.Array) -> jax.Array:
    """Features [n, d] of normalised images [n, h, w, c]; batch norm uses their statistics."""
    return forward(network, variables, images)[1]


def forward(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """(logits, features) in training mode, any updated batch statistics dropped."""
    outputs: Outputs
    outputs, _ = network.apply(variables, images, train=True, mutable=["batch_stats"])
    return outputs


def infer(network: nn.Module, variables: Variables, images: jax.Array) -> Outputs:
    """(logits, features) in inference mode: batch norm uses its running statistics."""
    return cast(Outputs, network.apply(variables, images))
