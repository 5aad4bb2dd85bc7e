"""NCFM's settings."""

import dataclasses

from dancejax.methods import settings
from dancejax.methods.settings import Ablation, setting


@dataclasses.dataclass(frozen=True)
class Config(settings.Config):
    """NCFM's settings: those of all methods (`settings.Config`), and of its distance and schedule.

    Momentum counts where --optimizer is one that has it.
    """

    factor: int = 2
    batch_real: int = 1024
    learning_rate: float = 0.001
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    frequencies: int = setting(4096, "at which characteristic functions are compared")
    amplitude: float = setting(
        0.5, "weight of the difference in amplitude, the rest being phase's", least=0, below=1
    )
    sampling: str = setting(
        "normal",
        "of frequencies: normal numbers; scaled, normal numbers times what a network makes of "
        "noise, which is trained to raise the loss (the paper's psi); network, that alone, as the "
        "authors' code has it",
    )
    real: str = setting(
        "fresh",
        "images of a class: fresh, in epochs as other methods take them, or fixed, the same "
        "batch_real in each iteration, as in the authors' code",
    )
    calibration: bool = setting(True, "lower the final expert's cross-entropy, too")
    patience: int = setting(
        500,
        "iterations in which a class's loss does not fall until its rate halves; 0: never",
        least=0,
    )


ABLATIONS = {"sampling": Ablation("NCFM Table 5", {"ncfm_psi": {"sampling": "scaled"}})}
"""Tables of the paper that vary its settings."""
