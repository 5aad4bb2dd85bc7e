"""What each backend likes, chosen in one place: batching, blocks, allocator, compilation cache."""

import contextlib
import ctypes
import functools
import gc
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from dancejax.runs.notes import say_once
from dancejax.runs.paths import cache_folder
from dancejax.types import Tree


def is_cpu() -> bool:
    """Whether programs compile for the CPU by default."""
    return jax.default_backend() == "cpu"


def use_cores(devices: int | None = None) -> None:
    """Makes JAX see this many CPU devices (None: one per core, at most 8), before its first use.

    Cores that work on classes or networks of their own are up to 1.3x faster than cores that share
    every operation. Without effect on accelerators, and once JAX is in use.
    """
    if devices is None:
        cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        devices = min(8, len(cores))
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)


def networks_per_call(count: int, bytes_each: int = 0) -> int:
    """How many networks to train in one call, on all devices of the mesh together.

    On accelerators a batch axis over networks fills the device, as far as its memory goes. On CPU
    `vmap` turns every convolution into a grouped one, which is several times slower: one network
    per device.

    Args:
      count: how many there are.
      bytes_each: what the activations of one network's batch take.
    """
    devices = jax.sharding.get_abstract_mesh().size or 1
    if is_cpu():
        return min(count, devices)
    fitting = memory_budget() // max(1, round(_COPIES * bytes_each))
    return max(1, min(count, devices * fitting))


_COPIES = 2.2
"""Copies of the activations that a gradient holds, as measured on condensation steps."""


def memory_budget() -> int:
    """Bytes of a device's memory that a step may take by an estimate: half of what there is."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit", 2**33)) // 2


def trajectory_budget() -> int:
    """Bytes that trajectories of experts may take on a device: a quarter of what it has.

    CPU devices, each of which has a copy, share that.
    """
    share = memory_budget() // 2
    return share // jax.local_device_count() if is_cpu() else share


def classes_per_call(num_classes: int, real: int, syn: int, bytes_per_image: int) -> int:
    """How many classes one block of a condensation step holds, when the user does not say.

    real, syn: images per class, seen forward only and with a gradient; bytes_per_image: of a
    network's activations. On CPU small blocks stay in cache (some 64 images). On accelerators a
    block takes at most half of the device's memory, by the measured needs of a step: two copies of
    the activations for the gradient, half a copy without.
    """
    if is_cpu():
        return max(1, min(num_classes, 64 // real))
    needed = bytes_per_image * (_COPIES * syn + 0.5 * real)
    return max(1, min(num_classes, int(memory_budget() / needed)))


def images_per_block(count: int, largest_activation: int) -> int:
    """How many of `count` images to take through a network at once.

    largest_activation: bytes of a network's largest layer for one image. On CPU blocks of what fits
    the inner cache (1 MB), but of 8, which matrix products need, as long as these fit the outer
    one; in equal parts. Accelerators take all.
    """
    inner, outer = 2**20 // largest_activation, 2**22 // largest_activation
    fitting = max(1, min(outer, max(8, inner)))
    if not is_cpu() or count <= fitting:
        return count
    return -(-count // -(-count // fitting))


def program_memory(compiled: Tree) -> int:
    """Bytes that a compiled program needs on the device: arguments, results and temporaries."""
    about = compiled.memory_analysis()
    held = about.argument_size_in_bytes + about.output_size_in_bytes - about.alias_size_in_bytes
    return held + about.temp_size_in_bytes


@functools.cache
def matmul_speed(side: int = 1024) -> float:
    """Float32 operations a second of matrix products on one device, the best of five."""
    a = jnp.ones((side, side))
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(a))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(product(a))
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def tune_allocator() -> bool:
    """Keep glibc from returning big activation buffers to the kernel after every step (Linux CPU).

    Returning and faulting them in again costs 1.5-2x of a training step. Call it before the first
    computation; it lasts for the process. Returns whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    return all(
        mallopt(option, value) == 1
        for option, value in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (mmap_max, 0))
    )


def return_memory() -> None:
    """Return what is free of this process to the system: compiling a program takes hundreds of MB,
    which glibc keeps (Linux)."""
    if sys.platform.startswith("linux"):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def enable_compilation_cache(path: str | os.PathLike[str] | None = None) -> None:
    """Keep compiled programs between processes, by default in the user's cache folder.

    Nothing is kept where there is no such folder and none can be made, which is said on stderr.
    """
    folder = cache_folder("xla") if path is None else Path(path)
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        say_once(f"compiled programs are not kept: {folder} cannot be written to")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
