"""What the launchers share: flags, starting up, and saying errors in one sentence."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import flax.linen as nn
import jax
from absl import app, flags, logging

import dancejax
from dancejax import backend, data, networks, parallel, runs
from dancejax.condensed import CondensedSet
from dancejax.data import streaming
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError

FLAGS = flags.FLAGS
_LOCKS: list[TextIO | None] = []
"""Held until the process ends."""
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
"""Each with JAX's name for how float32 numbers are multiplied."""


def define_data(*, required: bool = True) -> None:
    flags.DEFINE_string(
        "dataset",
        None,
        "what to condense: fashion_mnist_mini (embedded), a TFDS name (cifar10, ...), a folder of "
        "images (CLASS/*.png, or train/ and test/ with such folders), an .npz file; below "
        "--data_dir tiny_imagenet, imagenet1k, imagenet10, imagenet100, imagenette, imagewoof, "
        "imagefruit, imagemeow, imagesquawk, imageyellow",
        required=required,
    )
    flags.DEFINE_string(
        "data_dir", None, "folder of prepared TFDS data sets, or of ImageNet (default: TFDS's own)"
    )
    flags.DEFINE_integer(
        "image_size", None, "resize and centre-crop images to this side", lower_bound=1
    )


def define_network() -> None:
    flags.DEFINE_string("network", "convnet", f"one of {', '.join(networks.NETWORKS)}")
    flags.DEFINE_integer(
        "width",
        None,
        "channels of the first layer, for densenet121 the growth rate (default: the published)",
        lower_bound=1,
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
        "of convolutions. tf32: float32 numbers that accelerators multiply on their fast units, as "
        "PyTorch does (no difference on CPU); float32: exactly; bfloat16: half the memory, means "
        "and losses stay float32 (slower on CPU)",
    )


def define_run(workdir: str | None = None, *, named: bool = False) -> None:
    """workdir: a default; named: the program makes one up, and says so in its help."""
    where = "folder for all that the run writes"
    if named:
        where += " (default: runs/DATASET-METHOD-ipcIPC)"
    flags.DEFINE_string("workdir", workdir, where, required=not (workdir or named))
    flags.DEFINE_integer("seed", 0, "of everything random in the run", lower_bound=0)
    flags.DEFINE_float("checkpoint_seconds", 300, "time between checkpoints", lower_bound=0)
    flags.DEFINE_integer(
        "devices",
        None,
        "how many devices share the work: classes in condensation, networks in training (default: "
        "all; on CPU a device is a core, by default at most 8)",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "for several processes, each with its own devices and all with one --workdir: host:port of "
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
        streaming.PLACEMENTS,
        "where the data set lives: host for one larger than the device's memory, whose batches are "
        "sent ahead of each step; results are the same",
    )


def open_workdir() -> Path:
    """The folder that --workdir names, writable, and this process's own until it ends."""
    workdir = runs.open_workdir(FLAGS.workdir)
    _LOCKS.append(runs.lock(workdir))
    return workdir


def load(split: str) -> ImageDataset:
    """The data set that the flags name."""
    return data.load(
        FLAGS.dataset, data_dir=FLAGS.data_dir, split=split, image_size=FLAGS.image_size
    )


def load_as(made: CondensedSet, split: str) -> ImageDataset:
    """The data set that the flags name, at the size of a condensed set's images."""
    height, width, _ = made.image_shape
    if FLAGS.image_size is None and height == width:
        FLAGS.set_default("image_size", height)
    return load(split)


def network_options() -> dict[str, Any]:
    """Options of the network that were given as flags."""
    names = ("width", "depth", "norm", "activation", "pooling", "initializer")
    options = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    return {**options, **precision_options()}


def precision_options() -> dict[str, Any]:
    """What --precision sets of a network."""
    return {"dtype": "bfloat16"} if FLAGS.precision == "bfloat16" else {}


def network(dataset: ImageDataset) -> nn.Module:
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
    _start_devices()
    if "devices" in FLAGS:
        device = jax.devices()[0].device_kind
        say(f"dancejax {dancejax.__version__}, jax {jax.__version__}, "
            f"{jax.device_count()} x {device}")  # fmt: skip


def _start_devices() -> None:
    if "devices" not in FLAGS:
        return
    backend.use_cores(FLAGS.devices)
    if "precision" in FLAGS:
        jax.config.update("jax_default_matmul_precision", PRECISIONS[FLAGS.precision])
    if FLAGS.coordinator is None:
        if FLAGS.num_processes is not None or FLAGS.process_id is not None:
            raise UserError("--num_processes and --process_id need a --coordinator.")
        return
    by_hand = FLAGS.num_processes is not None and FLAGS.process_id is not None
    if not by_hand and FLAGS.coordinator != "auto":
        raise UserError("--coordinator=HOST:PORT needs --num_processes and --process_id.")
    parallel.start(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)


def start(workdir: Path, settings: dict[str, Any], dataset: ImageDataset | None = None) -> None:
    """Writes config.json (settings, flags and versions) for a run that begins.

    dataset: the training set, which reports want to know the size of.
    """
    if dataset is not None:
        about = {
            "name": dataset.name,
            "images": len(dataset),
            "fingerprint": dataset.fingerprint,
        }
        settings = {**settings, "dataset": about}
    runs.write_json(
        workdir / "config.json",
        {
            "command": Path(sys.argv[0]).stem,
            "flags": {k: v.value for k, v in FLAGS.__flags.items() if v.present},
            "settings": settings,
            "versions": {"dancejax": dancejax.__version__, "jax": jax.__version__},
            "device": str(jax.devices()[0].device_kind),
        },
    )


def command() -> str:
    """The command that was given, as a user would type it."""
    return shlex.join(["python", "-m", f"launch.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def say(text: str) -> None:
    """Talk goes to stderr, results to stdout."""
    if parallel.is_primary():
        print(text, file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    if parallel.is_primary():
        print(json.dumps(result, indent=2))


def _parse(argv: list[str]) -> list[str]:
    """absl's parsing, with errors as one sentence and status 2, and --help with status 0."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        say(f"error: {' '.join(str(error).split())}; --help lists the flags.")
        sys.exit(2)
    except SystemExit:  # after --help, which absl ends with status 1
        sys.exit(0)


def run(main: Callable[[], None]) -> None:
    """Starts a launcher: flags, allocator, compilation cache, and errors as one sentence."""

    def guarded(argv: list[str]) -> None:
        try:
            if len(argv) > 1:
                raise UserError(
                    f"unexpected argument {argv[1]!r}; options are given as --name=value."
                )
            start_devices()
            main()
            sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except runs.Interrupted as stopped:
            say("Stopped. What is finished is saved; give the same command again to go on.")
            sys.exit(128 + stopped.signum)
        except BrokenPipeError:  # the reader of stdout, as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except MemoryError:
            say("error: out of memory; choose a smaller --batch_real, --ipc or data set.")
            sys.exit(2)

    # Without this --help would leave out the flags that are not defined in the main module itself.
    for module, own in FLAGS.flags_by_module_dict().items():
        if module.startswith(__package__):
            for flag in own:
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    logging.set_verbosity(logging.WARNING)
    backend.tune_allocator()
    if "DANCEJAX_NO_CACHE" not in os.environ:
        backend.enable_compilation_cache()
    app.run(guarded, flags_parser=_parse)
