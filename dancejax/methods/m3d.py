"""M3D: matching by the maximum mean discrepancy in an RKHS (Zhang et al., AAAI 2024)."""

from functools import partial

import flax.linen as nn

from dancejax import mmd
from dancejax.errors import UserError
from dancejax.methods import base, dm
from dancejax.methods.base import Method
from dancejax.methods.optimizers import Optimizer
from dancejax.methods.papers import LARGE, DatasetLike, Paper, side
from dancejax.methods.settings.m3d import (
    ABLATIONS as ABLATIONS,
    KERNELS as KERNELS,
    Config as Config,
)


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
