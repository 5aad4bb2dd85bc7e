"""The settings of methods, a file for each, and the tables of the papers that vary them.

Flags are made of them before a method is imported; nothing here needs JAX.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dancejax.types import Json, Tree


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

    @property
    def one_augmentation(self) -> bool:
        """Whether the images of all classes share an iteration's augmentation."""
        return False


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A table or figure of a paper that varies the settings of its method.

    Attributes:
      source: where it stands, as in "DANCE Table 5".
      rows: the settings that are not the paper's, by the name of the row in the papers' result
        tables, which have no number for some of them. A setting is a field of the method's Config,
        or "experts" (how many of the pool), or "iterations".
      ipcs: stored images per class.
      plain: whether the method as it is published is a row of it, too.
      beside: other methods in it, as they are published.
    """

    source: str
    rows: Mapping[str, Json] = dataclasses.field(default_factory=dict)
    ipcs: tuple[int, ...] = (10,)
    plain: bool = True
    beside: tuple[str, ...] = ()
