"""IDM's settings."""

import dataclasses

from dancejax.methods import settings
from dancejax.methods.papers import Ablation


@dataclasses.dataclass(frozen=True)
class Config(settings.Config):
    """IDM's settings: those of all methods (`settings.Config`), the class-aware regularisation and
    the queue of networks."""

    factor: int = 2
    learning_rate: float = 0.2
    update_order: str = settings.setting(
        "classwise", "classwise steps the optimiser after each class, joint once for all classes"
    )
    regularisation: float = settings.setting(
        0.5,
        "lambda_reg of the cross-entropy, which the network's accuracy in percent multiplies",
        least=0,
    )
    queue_start: int = settings.setting(3, "networks in the queue at the start")
    queue_size: int = settings.setting(100, "networks in the queue at most")
    accuracy_window: int = settings.setting(
        100,
        "iterations that the network's running accuracy looks back on; 0: all since it was new",
        least=0,
    )
    push_every: int = settings.setting(30, "iterations between new networks in the queue")
    networks_trained: int = settings.setting(2, "networks of the queue trained in an iteration")
    train_steps: int = settings.setting(10, "steps that each of them is trained")
    train_batch: int = settings.setting(256, "batch size of that training")
    train_rate: float = settings.setting(0.01, "learning rate of that training")
    train_momentum: float = settings.setting(0.9, "momentum of that training", least=0, below=1)
    train_decay: float = settings.setting(5e-4, "weight decay of that training", least=0)


ABLATIONS = {
    "components": Ablation(
        "IDM Table 2",
        {
            "idm_queue": {"factor": 1, "regularisation": 0.0},
            "idm_queue_reg": {"factor": 1},
        },
        beside=("dm",),
    ),
    "partition": Ablation(
        "IDM Table 3", {"idm_queue_reg": {"factor": 1}, "idm_factor_3": {"factor": 3}}
    ),
}
"""Tables of the paper that vary its settings."""
