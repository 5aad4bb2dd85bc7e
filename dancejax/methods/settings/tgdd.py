"""TGDD's settings."""

import dataclasses

from dancejax.methods.settings import guided, setting


@dataclasses.dataclass(frozen=True)
class Config(guided.Config):
    """TGDD's settings: those of all methods (`guided.Config`), and of its joint loss.

    A learning_rate of None is the paper's, as DANCE's: 0.01 * IPC (0.1 * IPC from 128 pixels on).
    """

    alpha: float = setting(
        1.0, "weight of the later snapshot's cross-entropy on the synthetic images", least=0
    )
    epoch_interval: int = setting(
        7,
        "epochs that the later snapshot, whose cross-entropy counts, is drawn from, beginning with "
        "the earlier one's, whose features are matched; 0: all from there to the last",
        least=0,
    )

    def weight(self, ipc: int) -> float:
        """The weight of the cross-entropy that holds with so many stored images per class."""
        return self.alpha
