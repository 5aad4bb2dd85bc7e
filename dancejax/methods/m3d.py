"""M3D: matching by the maximum mean discrepancy in an RKHS (AAAI 2024)."""

import dataclasses
from functools import partial

import flax.linen as nn

from dancejax import mmd
from dancejax.errors import UserError
from dancejax.methods import base, dm
from dancejax.methods.base import Method

KERNELS = ("gaussian", "linear", "polynomial")


@dataclasses.dataclass(frozen=True)
class Config(dm.Config):
    """M3D's settings: DM's, in [0, 1] pixel space, and the kernel. iterations_per_model: IPM."""

    factor: int = 2
    iterations_per_model: int = 5
    augmentation: str = "color_crop_cutout"
    mode: str = "multi"
    kernel: str = base.setting(
        "gaussian",
        "gaussian (five bands around the mean squared distance of the batch), linear, or "
        "polynomial, (x'y + offset)^degree",
    )
    offset: float = base.setting(1.0, "of the polynomial kernel")
    degree: int = base.setting(2, "of the polynomial kernel")


def create(config: Config, network: nn.Module) -> Method:
    """M3D as a Method."""
    if config.kernel not in KERNELS:
        raise UserError(f"unknown kernel {config.kernel!r}; choose one of {', '.join(KERNELS)}.")
    base.check_positive(config, "degree")
    kernels = {
        "gaussian": None,
        "linear": mmd.linear_kernel,
        "polynomial": partial(mmd.polynomial_kernel, c=config.offset, degree=config.degree),
    }
    discrepancy = partial(mmd.mmd2, kernel=kernels[config.kernel])
    return dm.matching("m3d", config, network, discrepancy, base.UNIT)
