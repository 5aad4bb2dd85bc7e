"""Training networks on labelled sets: the step, the loop, experts and the papers' protocols."""

from dancejax.training.config import EARLIER, TrainConfig, changed, drop_epochs, make_config
from dancejax.training.step import (
    Presented,
    Recipe,
    TrainData,
    TrainState,
    batch_indices,
    init_state,
    steps_per_epoch,
    train_data,
    train_step,
)
from dancejax.training.testing import accuracy, accuracy_in_parts, predict, predict_all

__all__ = [
    "EARLIER",
    "Presented",
    "Recipe",
    "TrainConfig",
    "TrainData",
    "TrainState",
    "accuracy",
    "accuracy_in_parts",
    "batch_indices",
    "changed",
    "drop_epochs",
    "init_state",
    "make_config",
    "predict",
    "predict_all",
    "steps_per_epoch",
    "train_data",
    "train_step",
]
