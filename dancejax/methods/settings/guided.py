"""Settings of DANCE and of what builds on it."""

import dataclasses

from dancejax.methods import settings
from dancejax.methods.settings import setting


@dataclasses.dataclass(frozen=True)
class Config(settings.Config):
    """Settings of the methods that match under experts: those of all methods, their defaults.

    A learning_rate of None is the paper's 0.01 * IPC (0.1 * IPC from 128 pixels on).
    """

    factor: int = 2
    batch_real: int = 128
    batch_syn: int | None = 200
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    update_order: str = setting(
        "classwise", "classwise steps the optimiser after each class, joint once for all classes"
    )
