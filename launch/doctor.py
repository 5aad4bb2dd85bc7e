"""Says what this machine offers, and what is missing for which purpose.

    python -m launch.doctor

Prints versions, devices, memory, room on the disk, how fast the machine multiplies matrices, and
the optional packages. Exit status 1 if something that dancejax needs does not work.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

import lazy_loader

import dancejax
from dancejax.data import tfds_source
from dancejax.runs import backend, paths

from . import common

jax = lazy_loader.load("jax")

REQUIRED = ("jax", "flax", "optax", "orbax-checkpoint", "chex", "numpy", "pillow", "matplotlib",
            "safetensors", "jinja2", "scikit-learn", "absl-py", "tqdm")  # fmt: skip
OPTIONAL = {
    "tensorflow-datasets": "reading data sets that TFDS has prepared",
    "array_record": "reading data sets that TFDS has prepared",
    "tensorflow": "preparing TFDS data sets, once",
    "pyarrow": "exports as Hugging Face data sets",
    "torch": "reading .pt files, benchmarks",
    "tensorboardX": "--tensorboard",
    "wandb": "--wandb",
    "jupytext": "the notebooks",
}


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def megabytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def machine() -> dict[str, str]:
    devices = jax.devices()
    found = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(os.cpu_count()),
        "devices": f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()})",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory"] = megabytes(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        found["device memory"] = megabytes(stats["bytes_limit"])
    found["room here"] = megabytes(shutil.disk_usage(Path.cwd()).free)
    speed = backend.matmul_speed(2048) / 1e9
    found["matrix products"] = f"{speed:.0f} GFLOP/s in float32 on one device"
    found["allocator"] = "tuned" if backend.tune_allocator() else "as the system has it"
    cached = paths.cache_folder("xla")
    off = cached is None or "DANCEJAX_NO_CACHE" in os.environ
    found["compilation cache"] = "off" if off else str(cached)
    found["TFDS data sets"] = str(tfds_source.default_data_dir() or "no home folder")
    return found


def main() -> None:
    lines = [f"dancejax {dancejax.__version__}", "needed"]
    missing = []
    for package in REQUIRED:
        found = version(package)
        missing += [] if found else [package]
        lines.append(f"  {package:<20} {found or 'MISSING'}")
    lines.append("optional")
    for package, purpose in OPTIONAL.items():
        absent = f"not there; for {purpose}: pip install {package}"
        lines.append(f"  {package:<20} {version(package) or absent}")
    common.show("\n".join(lines))
    try:
        found_machine = machine()
    except common.BACKEND_ERRORS as error:
        common.say(f"error: {common.backend_problem(error)}")
        sys.exit(1)
    common.show("machine")
    common.show("\n".join(f"  {name:<20} {text}" for name, text in found_machine.items()))
    if jax.default_backend() == "cpu":
        common.show(
            "There is no accelerator that JAX sees: the papers' settings would take days here;\n"
            "use --preset=auto, which chooses settings for two cores."
        )
    if missing:
        common.say(f"error: {', '.join(missing)} is missing; install dancejax again.")
        sys.exit(1)


if __name__ == "__main__":
    common.run(main, backend=False)
