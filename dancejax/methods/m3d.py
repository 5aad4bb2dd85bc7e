"""M3D: matching by the maximum mean discrepancy in an RKHS (Zhang et al., AAAI 2024)."""

import dataclasses
from functools import partial

import flax.linen as nn

from dancejax import mmd
from dancejax.errors import UserError
from dancejax.methods import base, dm
from dancejax.methods.base import Method
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE, Ablation, DatasetLike, Paper, side

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
    kernel: str = base.setting(
        "gaussian",
        "gaussian (five bands around the mean squared distance of the batch), linear, or "
        "polynomial, (x'y + offset)^degree",
    )
    offset: float = base.setting(1.0, "of the polynomial kernel", least=0)
    degree: int = base.setting(2, "of the polynomial kernel")


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


def paper(dataset: DatasetLike, ipc: int) -> Paper:
    """Return M3D's published settings, which are the same at every IPC.

    Args:
      dataset: whose image size they depend on.
      ipc: stored images per class.
    """
    large = side(dataset) >= LARGE
    return Paper(
        steps=1000 if large else 10_000,
        settings={"factor": 3 if large else 2, "learning_rate": 0.1 if large else 1.0},
        init="real",
        protocol="dance",
        title="M3D",
        architecture="resnetap10" if side(dataset) > 192 else "convnet",
        networks=10,
    )


def create(config: Config, network: nn.Module, optimizer: Optimizer = base.SGD) -> Method:
    """Return M3D as a Method.

    The loss of a class is the squared MMD of features, K(real, real) + K(syn, syn) - 2 K(real, syn)
    with means over all pairs (the biased estimate).

    Args:
      config: the settings.
      network: whose features are matched, with random parameters.
      optimizer: of the pixels.

    Raises:
      UserError: a setting that makes no sense.

    References:
      Zhang et al., "M3D: Dataset Condensation by Minimizing Maximum Mean Discrepancy", AAAI 2024.
    """
    if config.kernel not in KERNELS:
        raise UserError(f"unknown kernel {config.kernel!r}; choose one of {', '.join(KERNELS)}.")
    base.check_positive(config, "degree")
    kernels = {
        "gaussian": None,
        "linear": mmd.linear_kernel,
        "polynomial": partial(mmd.polynomial_kernel, c=config.offset, degree=config.degree),
    }
    discrepancy = partial(mmd.mmd2, kernel=kernels[config.kernel])
    return dm.matching("m3d", config, network, discrepancy, base.UNIT, optimizer)
