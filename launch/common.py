"""What the launchers share: flags, starting up, and saying errors in one sentence."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from absl import flags

import dancejax
from dancejax import data, networks, runs
from dancejax.applications import plan
from dancejax.condensed import CondensedSet
from dancejax.data import folder
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import backend, parallel, paths

from . import flagtypes, guard
from .guard import command, say, show

__all__ = ["command", "run", "say", "show"]

FLAGS = flags.FLAGS
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
"""Each with JAX's name for how float32 numbers are multiplied."""


def define_data(*, required: bool = True) -> None:
    flagtypes.define_dataset(
        "the data set: fashion_mnist_mini (embedded), a TFDS name (cifar10, ...), a folder of "
        "images (CLASS/*.png, or train/ and test/ with such folders), an .npz file; below "
        "--data_dir tiny_imagenet, imagenet1k, imagenet10, imagenet100, imagenette, imagewoof, "
        "imagefruit, imagemeow, imagesquawk, imageyellow",
        required=required,
    )
    flagtypes.define_path(
        "data_dir", None, "folder of prepared TFDS data sets, or of ImageNet (default: TFDS's own)"
    )
    flags.DEFINE_integer(
        "image_size", None, "resize and centre-crop images to this side", lower_bound=1,
        upper_bound=2048,
    )  # fmt: skip
    flags.DEFINE_bool(
        "flip",
        None,
        "whether a mirrored image keeps its label, so that augmentation may mirror it (default: "
        "yes, but not for known sets of digits and letters)",
    )


def define_network() -> None:
    flags.DEFINE_enum("network", "convnet", list(networks.NETWORKS), "the network")
    flags.DEFINE_integer(
        "width",
        None,
        "channels of the first layer, for densenet121 the growth rate (default: the published)",
        lower_bound=1,
        upper_bound=8192,
    )
    flags.DEFINE_integer("depth", None, "blocks of ConvNet (default: by image size)", lower_bound=1)
    flags.DEFINE_string(
        "norm", None, "instance (default; alexnet: none), none, batch, layer or group"
    )
    flags.DEFINE_string(
        "activation", None, "of ConvNet: relu (default), sigmoid, leaky_relu, swish"
    )
    flags.DEFINE_string("pooling", None, "of ConvNet: avg (default), max or none")
    flags.DEFINE_string("initializer", None, "uniform (default, the papers') or lecun")
    define_precision()


def define_precision() -> None:
    flags.DEFINE_enum(
        "precision",
        "tf32",
        list(PRECISIONS),
        "of every matrix product and convolution. tf32: float32 numbers that accelerators multiply "
        "on their fast units, as PyTorch does for convolutions (no difference on CPU); float32: "
        "exactly; bfloat16: networks compute in it, half the memory, means and losses stay float32 "
        "(slower on CPU)",
    )


def define_run(workdir: str | None = None, *, named: bool = False) -> None:
    """workdir: a default; named: the program makes one up, and says so in its help."""
    where = "folder for all that the run writes"
    if named:
        where += " (default: runs/DATASET-METHOD-ipcIPC)"
    flagtypes.define_path("workdir", workdir, where, required=not (workdir or named))
    flags.DEFINE_integer("seed", 0, "of everything random in the run", lower_bound=0)
    flagtypes.define_number("checkpoint_seconds", 300, "time between checkpoints", least=0)
    flags.DEFINE_integer(
        "devices",
        None,
        "how many devices share the work: classes in condensation, networks in training (default: "
        "all; on CPU a device is a core, by default at most 8)",
        lower_bound=1,
        upper_bound=1024,
    )
    flags.DEFINE_integer(
        "networks_at_once",
        None,
        "networks trained side by side at most (default: as many as suit the devices and their "
        "memory)",
        lower_bound=1,
    )
    flagtypes.define_address(
        "coordinator",
        "for several processes, each with its own devices and all with one --workdir: HOST:PORT of "
        "process 0, or auto on TPU pods and clusters that jax.distributed knows",
    )
    flags.DEFINE_integer("num_processes", None, "processes in all", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "number of this process, from 0", lower_bound=0)


def define_tensorboard() -> None:
    flags.DEFINE_bool(
        "tensorboard", False, "log for TensorBoard too, into the folder tensorboard of the run"
    )


def define_placement() -> None:
    flags.DEFINE_enum(
        "data_placement",
        "device",
        run.PLACEMENTS,
        "where the data set lives: host for one larger than the device's memory, whose batches are "
        "sent ahead of each step; results are the same",
    )


def check_workdir() -> Path:
    """The folder that --workdir names; it can be written to, but nothing is made yet."""
    return runs.check_workdir(FLAGS.workdir)


def load(split: str) -> Dataset:
    """The data set that the flags name."""
    return data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        split=split,
        image_size=FLAGS.image_size,
        flip=FLAGS.flip,
    )


def load_train() -> Dataset:
    """The training set; folders of images of several sizes get one that suits the machine."""
    path = paths.expand(FLAGS.dataset, "--dataset")
    if FLAGS.image_size is None and path.is_dir():
        size = plan.image_size(folder.sizes(path.resolve()))
        if size is not None:
            say(f"images are resized and centre-cropped to {size} (--image_size)")
            FLAGS.set_default("image_size", size)
    return load("train")


def choose_size_of(made: CondensedSet) -> None:
    """Have the data set that the flags name loaded at the size of a condensed set's images, and
    mirrored only if the set's own data were."""
    if FLAGS.flip is None and "flip" in made.source:
        FLAGS.set_default("flip", made.source["flip"])
    height, width, _ = made.image_shape
    if FLAGS.image_size is None and height == width:
        FLAGS.set_default("image_size", height)


def load_as(made: CondensedSet, split: str) -> Dataset:
    """The data set that the flags name, at the size of a condensed set's images."""
    choose_size_of(made)
    return load(split)


def network_options() -> dict[str, Any]:
    """Options of the network that were given as flags."""
    names = ("width", "depth", "norm", "activation", "pooling", "initializer")
    options = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    return {**options, **precision_options()}


def precision_options() -> dict[str, Any]:
    """What --precision sets of a network."""
    return {"dtype": "bfloat16"} if FLAGS.precision == "bfloat16" else {}


def network(dataset: Dataset) -> nn.Module:
    """The network that the flags name, for a data set."""
    return networks.create(
        FLAGS.network, dataset.num_classes, dataset.image_shape, **network_options()
    )


def given(*names: str) -> dict[str, Any]:
    """Those of the flags that were given by hand."""
    return {name: FLAGS[name].value for name in names if FLAGS[name].present}


def start_devices() -> None:
    """Cores as devices on CPU, and the other processes of the run, before JAX is in use.

    Says what runs on what, for programs that compute.
    """
    computes = "devices" in FLAGS
    if computes:
        # Far more devices than cores get in each other's way until nothing goes on.
        most = max(8, os.cpu_count() or 1)
        backend.use_cores(None if FLAGS.devices is None else min(FLAGS.devices, most))
        _join()
    if computes and "precision" in FLAGS:
        jax.config.update("jax_default_matmul_precision", PRECISIONS[FLAGS.precision])
    check_backend()
    if computes:
        parallel.check_devices(FLAGS.devices)
        device = jax.devices()[0].device_kind
        say(
            f"dancejax {dancejax.__version__}, jax {jax.__version__}, "
            f"{jax.device_count()} x {device}"
        )


def _join() -> None:
    """Join the other processes of the run, if the flags name them."""
    if FLAGS.coordinator is None:
        if FLAGS.num_processes is not None or FLAGS.process_id is not None:
            raise UserError("--num_processes and --process_id need a --coordinator.")
        return
    by_hand = FLAGS.num_processes is not None and FLAGS.process_id is not None
    if not by_hand and FLAGS.coordinator != "auto":
        raise UserError("--coordinator=HOST:PORT needs --num_processes and --process_id.")
    if by_hand and FLAGS.process_id >= FLAGS.num_processes:
        raise UserError(
            f"--process_id={FLAGS.process_id} must be below --num_processes="
            f"{FLAGS.num_processes}; processes are counted from 0."
        )
    guard.quiet(bool(FLAGS.process_id))  # until JAX says which process this is
    parallel.start(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)


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


def start(settings: dict[str, Any], dataset: Dataset | None = None) -> Path:
    """Makes the work folder, this process's own until it ends, and returns it.

    config.json (settings, flags and versions) is written when the run really begins: with its first
    loop, or at the program's end. A command that is refused before leaves the folder as it was.

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
        "flags": {k: plain(v.value) for k, v in FLAGS.__flags.items() if v.present},
        "settings": settings,
        "versions": {"dancejax": dancejax.__version__, "jax": jax.__version__},
        "device": str(jax.devices()[0].device_kind),
    }
    return guard.open_workdir(FLAGS.workdir, config)


def make_workdir() -> Path:
    """Makes the folder of --workdir for a program that writes no config.json."""
    return guard.open_workdir(FLAGS.workdir)


def plain(value: Any) -> Any:
    """A flag's value as JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, Path) else value


def accuracy(mean: float, std: float, networks: int, digits: int = 2) -> str:
    """Mean and deviation of accuracies in percent; a single network has no deviation."""
    text = f"{mean:.{digits}f}"
    return f"{text} +- {std:.{digits}f} %" if networks > 1 else f"{text} %"


def run(main: Callable[[], None], *, backend: bool = True) -> None:
    """Run a launcher's main function: flags, devices, and every end in one sentence.

    backend: start JAX before, and say so where it does not start.
    """
    guard.run(main, start_devices if backend else lambda: None)
