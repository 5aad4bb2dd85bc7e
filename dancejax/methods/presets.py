"""The papers' settings by method, data set and IPC, in one place."""

import dataclasses
from typing import Any

from dancejax import augment
from dancejax.errors import UserError

PROTOCOLS = {"dm": "dm", "idm": "dm", "m3d": "dance", "dance": "dance"}
"""The evaluation protocol of each paper."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """How a paper runs a method.

    steps: iterations. config: fields of the method's Config. init: what the stored images start
    from, one of `condense.INITS`. network: options of ConvNet that are not its defaults.
    """

    steps: int
    config: dict[str, Any]
    init: str = "real"
    network: dict[str, Any] = dataclasses.field(default_factory=dict)


def paper(
    method: str,
    *,
    dataset: str,
    image_side: int,
    ipc: int,
    flip: bool = True,
    smallest: int | None = None,
) -> Preset:
    """Return the published settings.

    The papers' data sets are told apart by side: up to 32, TinyImageNet at 64, ImageNet subsets
    from 128 on; CIFAR-10 and CIFAR-100 are "cifar10" and "cifar100". Other data sets get those of
    the same side. IPC from 1 to 50 have published settings (DM: up to 1250); above, the rules that
    the papers state go on: DM's rate of 10 from 100 on, DANCE's rate in proportion to IPC, IDM's
    and M3D's settings for 50.

    Args:
      method: a method's name.
      dataset: name of the data set.
      image_side: pixels.
      ipc: stored images per class.
      flip: whether a mirrored image keeps its label; digits are never mirrored.
      smallest: images of the smallest class, which bounds IDM's batch of 5000.

    Raises:
      UserError: the method has no published settings.
    """
    large, tiny = image_side >= 128, 48 < image_side < 128
    match method:
        case "dm":
            found = _dm(dataset, tiny, ipc)
        case "idm":
            found = _idm(dataset, large, tiny, ipc, smallest)
        case "m3d":
            config = {"factor": 3 if large else 2, "learning_rate": 0.1 if large else 1.0}
            found = Preset(1000 if large else 10_000, config, "real")
        case "dance":
            config = {"factor": 3 if large else 2, "learning_rate": (0.1 if large else 0.01) * ipc}
            found = Preset(10_000, config, "first_nearest")
        case _:
            raise UserError(f"there are no published settings for {method!r}; set them by flags.")
    if flip or method not in ("dm", "idm"):
        return found
    strategy = augment.without("color_crop_cutout_flip_scale_rotate", "flip")
    return dataclasses.replace(found, config={**found.config, "augmentation": strategy})


def _dm(dataset: str, tiny: bool, ipc: int) -> Preset:
    rate = 10.0 if ipc >= 100 and dataset != "cifar100" else 1.0
    return Preset(10_000 if tiny else 20_000, {"learning_rate": rate})


def _idm(dataset: str, large: bool, tiny: bool, ipc: int, smallest: int | None) -> Preset:
    hundred = dataset == "cifar100" and 1 < ipc < 50
    regularisation = (
        3.0 if large else 0.8 if tiny and ipc >= 50 else 0.1 if ipc >= 50 or hundred else 0.5
    )
    many = ipc == 1 and dataset in ("cifar10", "cifar100")
    batch = 128 if large else 5000 if many else 256
    config = {
        "factor": 1 if large and ipc >= 50 else 2,
        # 5000 of a class of 500 would be ten copies of each.
        "batch_real": batch if smallest is None else min(batch, smallest),
        "queue_size": 50 if large and ipc < 50 else 100,
        "push_every": 50 if large else 5 if many else 30,
        "train_steps": 50 if hundred or (tiny and ipc >= 50) else 10,
        "regularisation": regularisation,
        "accuracy_window": 500 if ipc >= 50 else 100,
    }
    return Preset(20_000, config, "real_mean", {"depth": 3} if tiny else {})
