"""DM's settings."""

import dataclasses

from dancejax.methods import settings
from dancejax.methods.settings import Ablation, setting

MOMENTS = 3
"""The most moments of features that can be matched."""


@dataclasses.dataclass(frozen=True)
class MatchingConfig(settings.Config):
    """Settings of all methods that match features under random networks."""

    learning_rate: float = 1.0
    iterations_per_model: int = setting(1, "iterations until the next random network")


@dataclasses.dataclass(frozen=True)
class Config(MatchingConfig):
    """DM's settings: those of all methods (`settings.Config`), how long a network is kept,
    and moments.

    The learning rate of the paper is 1, and 10 from IPC 100 on. With two or three moments it is the
    DM with explicit moments of M3D's Table 1.
    """

    moments: int = setting(1, "moments of the features that are matched, 1 (the mean) to 3")


ABLATIONS = {
    "ipc": Ablation("DM Figure 5", ipcs=(1, 10, 50, 100, 200, 500, 1000, 1250)),
    "moments": Ablation(
        "M3D Table 1",
        {"dm_2nd_moment": {"moments": 2}, "dm_2nd_3rd_moment": {"moments": 3}},
        beside=("m3d",),
    ),
}
"""Tables and figures of the papers that vary its settings."""
