"""The settings of methods, a file for each, and the tables of the papers that vary them.

Flags are made of them before a method is imported; nothing here needs JAX.
"""

import dataclasses
from typing import Any

from dancejax.types import Tree


def setting(default: Tree, meaning: str, **limits: float) -> Tree:
    """Return a field of a Config.

    Args:
      default: the setting's value where none is given.
      meaning: what it means, in a line; --help shows it.
      **limits: of a flag's values, for numbers that may be others than positive ones: least, above,
        below.
    """
    metadata: dict[str, Any] = {"meaning": meaning}
    return dataclasses.field(
        default=default, metadata=metadata | ({"limits": limits} if limits else {})
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings that all methods have; each method's Config gives them its own defaults."""

    factor: int = setting(1, "tiles a side that each stored image decodes into, l in IDM and DANCE")
    batch_real: int = setting(256, "B, real images per class in an iteration")
    batch_syn: int | None = setting(
        None, "decoded synthetic images per class in an iteration at most"
    )
    learning_rate: float | None = setting(None, "of the pixels, in the method's own pixel space")
    momentum: float = setting(0.5, "of the pixels", least=0, below=1)
    augmentation: str = setting(
        "color_crop_cutout_flip_scale_rotate", "operations, joined by _, or empty for none"
    )
    mode: str = setting(
        "single",
        "of the augmentation: single draws one operation, multi draws flip, color and cutout and "
        "one of crop, scale and rotate",
    )
