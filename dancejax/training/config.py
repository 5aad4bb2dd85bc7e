"""How a network is trained on a labelled set: settings of the optimiser and augmentation."""

import dataclasses
from fractions import Fraction
from typing import Any

from dancejax import augment, checks, choices
from dancejax.errors import UserError
from dancejax.types import Record

OPTIMIZERS = ("sgd", "adamw")
LABELS = ("hard", "soft")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a network is trained on augmented images.

    optimizer: "sgd" with momentum, whose weight decay is part of the gradient, or "adamw", whose
    weight decay is not (and which has no use for momentum).

    milestones: shares of the epochs after which the rate is multiplied by `decay`, rounded down to
    whole epochs. augmentation: strengths are drawn for each image; draw says whether the choice
    among operations is made for each "image", or once a "batch", as in the authors' setups.
    cutmix: probability per batch. labels: "hard" or "soft", which the training set must have.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    decay: float = 0.2
    reset_momentum: bool = False
    augmentation: str = "color_crop"
    mode: str = "multi"
    cutmix: float = 0.5
    draw: str = "batch"
    optimizer: str = "sgd"
    labels: str = "hard"

    def __post_init__(self) -> None:
        checks.fields(self, "training")
        augment.check_mode(self.mode)
        if self.draw not in choices.DRAWS:
            raise UserError(
                f"unknown draw {self.draw!r}; choose one of {', '.join(choices.DRAWS)}."
            )
        for name, values in (("optimizer", OPTIMIZERS), ("labels", LABELS)):
            if getattr(self, name) not in values:
                raise UserError(
                    f"unknown {name} {getattr(self, name)!r} in training; choose one of "
                    f"{', '.join(values)}."
                )
        limits = {"learning_rate": float("inf"), "momentum": 1.0, "weight_decay": float("inf")}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) < limit:
                raise UserError(
                    f"{name} in training is {getattr(self, name)}; it must lie in [0, {limit})."
                )
        if not 0 <= self.cutmix <= 1:
            raise UserError(f"cutmix is a probability in [0, 1], not {self.cutmix}.")
        if self.epochs < 1 or self.batch_size < 1:
            raise UserError(
                f"epochs ({self.epochs}) and batch size ({self.batch_size}) must be at least 1."
            )
        augment.parse(self.augmentation)


def make_config(**settings: Any) -> TrainConfig:
    """Make a TrainConfig. Raises UserError for settings that it does not have."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in settings:
        if name not in known:
            raise UserError(f"training has no setting {name!r}; it has {', '.join(known)}.")
    return TrainConfig(**settings)


def changed(config: TrainConfig, settings: Record) -> TrainConfig:
    """Change settings of a training. Raises UserError for settings that it does not have."""
    return make_config(**{**dataclasses.asdict(config), **settings})


EARLIER = {
    "training.draw": "image",
    "training.optimizer": "sgd",
    "training.labels": "hard",
    "keys": "experts",
}
"""What records of training by earlier versions mean by the entries that they lack."""


def drop_epochs(config: TrainConfig) -> tuple[int, ...]:
    """The epochs after which the rate drops, one for each milestone: its share rounded down.

    As floor(2E/3) and floor(5E/6) of the published setups. Where two fall on one epoch the rate
    drops twice; one that would fall before the first epoch falls after it.
    """
    shares = (Fraction(m).limit_denominator(1000) for m in config.milestones)
    return tuple(max(1, int(share * config.epochs)) for share in shares)
