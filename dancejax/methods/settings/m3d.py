"""M3D's settings."""

import dataclasses

from dancejax.methods.settings import Ablation, dm, setting

KERNELS = ("gaussian", "linear", "polynomial")


@dataclasses.dataclass(frozen=True)
class Config(dm.MatchingConfig):
    """M3D's settings: those of matching, in [0, 1] pixel space, and the kernel.

    iterations_per_model: IPM.
    """

    factor: int = 2
    iterations_per_model: int = 5
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    kernel: str = setting(
        "gaussian",
        "gaussian (five bands around the mean squared distance of the batch), linear, or "
        "polynomial, (x'y + offset)^degree",
    )
    offset: float = setting(1.0, "of the polynomial kernel", least=0)
    degree: int = setting(2, "of the polynomial kernel")


ABLATIONS = {
    "kernel": Ablation(
        "M3D Figure 6", {f"m3d_{name}": {"kernel": name} for name in ("linear", "polynomial")}
    ),
    "sampling": Ablation(
        "M3D Figure 6", {f"m3d_ipm_{n}": {"iterations_per_model": n} for n in (1, 2, 10, 20, 50)}
    ),
    "iterations": Ablation(
        "M3D Figure 3", {f"m3d_iterations_{n}": {"iterations": n} for n in (1000, 2000, 5000)}
    ),
}
"""Tables and figures of the paper that vary its settings."""
