"""IDM's settings."""

import dataclasses

from dancejax.methods import settings
from dancejax.methods.settings import Ablation, setting


@dataclasses.dataclass(frozen=True)
class Config(settings.Config):
    """IDM's settings: those of all methods (`settings.Config`), the class-aware regularisation and
    the queue of networks."""

    factor: int = 2
    learning_rate: float = 0.2
    update_order: str = setting(
        "classwise", "classwise steps the optimiser after each class, joint once for all classes"
    )
    regularisation: float = setting(
        0.5,
        "lambda_reg of the cross-entropy, which the network's accuracy in percent multiplies",
        least=0,
    )
    queue_start: int = setting(3, "networks in the queue at the start")
    queue_size: int = setting(100, "networks in the queue at most")
    accuracy_window: int = setting(
        100,
        "iterations that the network's running accuracy looks back on; 0: all since it was new",
        least=0,
    )
    push_every: int = setting(30, "iterations between new networks in the queue")
    networks_trained: int = setting(2, "networks of the queue trained in an iteration")
    train_steps: int = setting(10, "steps that each of them is trained")
    train_batch: int = setting(256, "batch size of that training")
    train_rate: float = setting(0.01, "learning rate of that training")
    train_momentum: float = setting(0.9, "momentum of that training", least=0, below=1)
    train_decay: float = setting(5e-4, "weight decay of that training", least=0)


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
