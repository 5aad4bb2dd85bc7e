"""Predicts a DANCE iteration and an expert on machines that are not here, from counted operations.

    python scripts/scale.py

Operations are XLA's count of a forward pass (`cost_analysis` of the lowered program), and bytes
those of the outputs of the layers; nothing is measured. The table stands in docs/scale.md.
"""

from typing import NamedTuple
from unittest import mock

from dancejax import methods, networks
from dancejax.applications import plan
from dancejax.runs import backend, parallel
from dancejax.training import experts

WIDTH, IPC = 128, 10
SHARE_OF_PEAK = 0.35
"""Assumed, of the units' peak, for convolutions of 128 channels."""
TOUCHED = 2
"""Times that the output of a layer goes through the memory in a pass: written, and read."""


class Device(NamedTuple):
    """Peak operations and bytes a second, memory in bytes, and how many there are."""

    name: str
    operations: float
    bandwidth: float
    memory: float
    count: int


MACHINES = (
    Device("H100", 495e12, 3.35e12, 80e9, 1),
    Device("8 x H100", 495e12, 3.35e12, 80e9, 8),
    Device("v5e-8, bfloat16", 197e12, 0.82e12, 16e9, 8),
)
"""Dense TF32 of an H100 SXM, bfloat16 of a TPU v5e: the vendors' figures."""


class Task(NamedTuple):
    """A data set: classes, side of its images, and how many train an expert."""

    name: str
    classes: int
    side: int
    images: int


TASKS = (
    Task("CIFAR-100", 100, 32, 50_000),
    Task("TinyImageNet", 200, 64, 100_000),
    Task("ImageNette", 10, 128, 9_469),
)


def seconds(passes: float, operations: float, moved: float, device: Device) -> tuple[float, str]:
    """What forward passes take on a device, and what bounds them."""
    arithmetic = passes * operations / (SHARE_OF_PEAK * device.operations)
    memory = passes * moved / device.bandwidth
    return max(arithmetic, memory), "arithmetic" if arithmetic > memory else "bandwidth"


def main() -> None:
    print("| data set | machine | GFLOP an image | DANCE step | bound by | memory a class "
          "| expert | pool of 5 |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for task in TASKS:
        shape = (task.side, task.side, 3)
        network = networks.create("convnet", task.classes, shape, width=WIDTH)
        facts = methods.DatasetFacts(image_shape=shape)
        published = methods.paper("dance", facts, IPC).settings
        settings = {k: v for k, v in published.items() if k != "optimizer"}
        method = methods.create("dance", network, **settings)
        with mock.patch.object(backend, "is_cpu", return_value=False):  # not by Winograd
            operations = plan.forward_operations(network, shape)
        activations, _ = networks.activation_bytes(network, shape)
        epochs = experts.expert_training(task.side).epochs
        for device in MACHINES:
            half = 0.5 if "bfloat16" in device.name else 1.0
            moved = TOUCHED * activations * half
            shared = parallel.sharing(task.classes, method.config.batch_real, device.count)
            blocks, size = parallel.shares(task.classes, device.count // shared, 1)
            every = sum(plan.step_passes(method, task.classes, IPC).values())
            own = every / task.classes * blocks * size / shared
            step, bound = seconds(own, operations, moved, device)
            decoded = min(IPC * method.factor**2, method.config.batch_syn or 10**9)
            held = activations * half * (2.2 * decoded + 0.5 * method.config.batch_real)
            once, _ = seconds(plan.GRADIENT * task.images * epochs, operations, moved, device)
            turns = -(-5 // device.count)
            minutes = f"{once / 60:.1f} min | {turns * once / 60:.1f} min"
            print(
                f"| {task.name} | {device.name} | {operations / 1e9:.3f} | {1e3 * step:.0f} ms "
                f"| {bound} | {held / 1e9:.2f} GB | {minutes} |"
            )


if __name__ == "__main__":
    main()
