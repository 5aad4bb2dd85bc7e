"""The papers' settings by method, data set and IPC, in one place."""

import dataclasses
from typing import Any

from dancejax.errors import UserError

PROTOCOLS = {"dm": "dm", "idm": "dm", "m3d": "dance", "dance": "dance"}
"""The evaluation protocol of each paper."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """How a paper runs a method: iterations, and fields of the method's Config."""

    steps: int
    config: dict[str, Any]


def paper(method: str, *, dataset: str, image_side: int, ipc: int) -> Preset:
    """The published settings.

    The papers' data sets are told apart by side: up to 32, TinyImageNet at 64, ImageNet subsets
    from 128 on; CIFAR-100 is "cifar100". Other data sets get those of the same side. IPC from 1 to
    50 have published settings (DM: up to 1250); above, the rules that the papers state go on: DM's
    rate of 10 from 100 on, DANCE's rate in proportion to IPC, IDM's and M3D's settings for 50.
    """
    large, tiny = image_side >= 128, 48 < image_side < 128
    if method == "dm":
        config = {"learning_rate": 10.0 if ipc >= 100 else 1.0}
        return Preset(10_000 if tiny else 20_000, config)
    if method == "idm":
        hundred = dataset == "cifar100" and 1 < ipc < 50
        regularisation = (
            3.0 if large else 0.8 if tiny and ipc >= 50 else 0.1 if ipc >= 50 or hundred else 0.5
        )
        config = {
            "batch_real": 128 if large else 5000 if ipc == 1 else 256,
            "push_every": 50 if large else 5 if ipc == 1 else 30,
            "train_steps": 50 if hundred or (tiny and ipc >= 50) else 10,
            "regularisation": regularisation,
        }
        return Preset(20_000, config)
    if method == "m3d":
        config = {"factor": 3 if large else 2, "learning_rate": 0.1 if large else 1.0}
        return Preset(1000 if large else 10_000, config)
    if method == "dance":
        config = {"factor": 3 if large else 2, "learning_rate": (0.1 if large else 0.01) * ipc}
        return Preset(10_000, config)
    raise UserError(f"there are no published settings for {method!r}; set them by flags.")
