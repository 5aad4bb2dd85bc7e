"""DANCE's settings."""

import dataclasses

from dancejax.methods.settings import Ablation, guided, setting


@dataclasses.dataclass(frozen=True)
class Config(guided.Config):
    """DANCE's settings: those of all methods (`guided.Config`) and its two losses (Table 5).

    A learning_rate of None is the paper's 0.01 * IPC (0.1 * IPC from 128 pixels on). In iterations
    without calibration its loss is logged as 0.
    """

    pltda: bool = setting(
        True, "match features between the initial and the final expert; else see without_pltda"
    )
    without_pltda: str = setting(
        "random",
        "whose features are matched without pltda: random, one random network for the whole run, "
        "as in the authors' setup; or expert, the final one",
    )
    calibration: bool = setting(True, "lower the final expert's cross-entropy, too")
    calibration_every: int = setting(1, "I_c, iterations between updates by calibration")


WITHOUT_PLTDA = ("random", "expert")


ABLATIONS = {
    "components": Ablation(
        "DANCE Table 5",
        {
            "dance_no_factor": {"factor": 1},
            "dance_no_pltda": {"pltda": False},
            "dance_no_calibration": {"calibration": False},
        },
        ipcs=(10, 50),
    ),
    "experts": Ablation(
        "DANCE Table 6",
        {f"dance_experts_{n}": {"experts": n} for n in (1, 2, 3, 4, 5, 10, 15, 20)},
        plain=False,  # that is the row of 5
    ),
}
"""Tables of the paper that vary its settings."""
