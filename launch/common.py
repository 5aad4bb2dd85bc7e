"""What the programs share: starting up, the work folder, and saying errors in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

import dancejax
from dancejax.errors import UserError
from dancejax.runs import backend, parallel
from dancejax.types import Json

from . import guard
from .guard import command, end_dry_run, open_workdir as make_workdir, say, show
from .settings import PRECISIONS, Machine, Work, machine

jax = lazy_loader.load("jax")

if TYPE_CHECKING:
    from dancejax.data.dataset import Dataset

__all__ = ["command", "end_dry_run", "make_workdir", "run", "say", "show"]


def start_devices(machine: Machine | None) -> None:
    """Cores as devices on CPU, and the other processes of the run, before JAX is in use.

    Says what runs on what, for programs that compute.
    """
    if machine is None:
        check_backend()
        return
    # Far more devices than cores get in each other's way until nothing goes on.
    most = max(8, os.cpu_count() or 1)
    backend.use_cores(None if machine.devices is None else min(machine.devices, most))
    _join(machine)
    if machine.precision is not None:
        jax.config.update("jax_default_matmul_precision", PRECISIONS[machine.precision])
    check_backend()
    parallel.check_devices(machine.devices)
    device = jax.devices()[0].device_kind
    say(f"dancejax {dancejax.__version__}, jax {jax.__version__}, {jax.device_count()} x {device}")


def _join(machine: Machine) -> None:
    """Join the other processes of the run, if the flags name them."""
    count, number = machine.num_processes, machine.process_id
    if machine.coordinator is None:
        if count is not None or number is not None:
            raise UserError("--num_processes and --process_id need a --coordinator.")
        return
    if (count is None or number is None) and machine.coordinator != "auto":
        raise UserError("--coordinator=HOST:PORT needs --num_processes and --process_id.")
    if count is not None and number is not None and number >= count:
        raise UserError(
            f"--process_id={number} must be below --num_processes={count}; processes are counted "
            "from 0."
        )
    guard.quiet(bool(number))  # until JAX says which process this is
    guard.catch_aborts()
    parallel.start(machine.coordinator, count, number)


def check_backend() -> None:
    """Raises UserError, with what to install, where JAX can't start the backend it is to use."""
    try:
        guard.quiet(jax.process_index() != 0)
    except BACKEND_ERRORS as error:
        raise UserError(backend_problem(error)) from error


BACKENDS = {"cuda": "jax[cuda12]", "gpu": "jax[cuda12]", "tpu": "jax[tpu]"}
"""Names in JAX_PLATFORMS, with what to install for them."""


BACKEND_ERRORS = (RuntimeError, AssertionError)
"""What JAX raises for a backend that does not start; it only asserts where a plugin is missing."""


def backend_problem(error: Exception) -> str:
    """What is missing where JAX does not start, and how to install it, in one sentence."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    reason = (
        " ".join(str(error).split()).partition(" (you may need")[0][:200].rstrip(".")
        or "not installed"
    )
    packages = [BACKENDS[name] for name in wanted.split(",") if name in BACKENDS]
    advice = f"pip install '{packages[0]}', or " if packages else ""
    named = f"JAX_PLATFORMS={wanted!r} asks for" if wanted else "JAX chose"
    return f"{named} a backend that does not start ({reason}); {advice}set JAX_PLATFORMS=cpu."


def start(work: Work, settings: Json, dataset: Dataset | None = None) -> Path:
    """Make the work folder, this process's own until it ends, and return it.

    config.json (settings, flags and versions) is written when the run really begins: with its first
    loop, or at the program's end. A command that is refused before leaves the folder as it was.

    Args:
      work: the folder, and the flags.
      settings: what they came to.
      dataset: the training set, which reports want to know the size of.
    """
    if dataset is not None:
        about: dict[str, Any] = {
            "name": dataset.name,
            "images": len(dataset),
            "fingerprint": dataset.fingerprint,
        }
        settings = {**settings, "dataset": about}
    config = {
        "command": guard.program(),
        "flags": work.given,
        "settings": settings,
        "versions": {"dancejax": dancejax.__version__, "jax": jax.__version__},
        "device": str(jax.devices()[0].device_kind),
    }
    return guard.open_workdir(work.folder, config)


def run(main: Callable[[], None], *, backend: Callable[[], bool] | bool = True) -> None:
    """Run a program's main function: flags, devices, and every end in one sentence.

    Args:
      main: reads the settings and does the work.
      backend: start JAX before, and say so where it does not start; a function is called with the
        flags parsed.
    """

    def prepare() -> None:
        if backend() if callable(backend) else backend:
            start_devices(machine())

    guard.run(main, prepare)
