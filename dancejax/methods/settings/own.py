"""The settings of this project's method."""

import dataclasses

from dancejax.methods.settings import tgdd


@dataclasses.dataclass(frozen=True)
class Config(tgdd.Config):
    """The settings: TGDD's, with defaults of our own."""

    learning_rate: float | None = 0.03
    update_order: str = "joint"
    epoch_interval: int = 0
