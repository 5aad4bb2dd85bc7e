"""The settings of this project's method."""

import dataclasses

from dancejax.methods.settings import setting, tgdd


@dataclasses.dataclass(frozen=True)
class Config(tgdd.Config):
    """The settings: TGDD's, with defaults of our own, and of the ridge regression.

    All classes take their step together, since the regression tells them apart.
    """

    learning_rate: float | None = 0.03
    update_order: str = "joint"
    epoch_interval: int = 0
    alpha_few: float = setting(
        10.0,
        "alpha times the stored images per class is at least this, so that it grows with few",
        least=0,
    )
    ridge: float = setting(
        30.0,
        "weight of the error on real images of a ridge regression on the synthetic ones; 0: none",
        least=0,
    )
    ridge_penalty: float = setting(
        0.01, "of that regression, per synthetic image, in units of the features' variance", above=0
    )

    def weight(self, ipc: int) -> float:
        return max(self.alpha, self.alpha_few / ipc)

    @property
    def one_augmentation(self) -> bool:
        return True
