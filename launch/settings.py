"""Groups of flags that programs share, and the frozen settings made of each.

A program defines the groups that it has, reads them all once, and looks at no flag after that. A
value is None where nobody gave it by hand.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import choices, registries, runs
from dancejax.applications import settings as kinds
from dancejax.types import Json

from . import flagtypes, usage

FLAGS = flags.FLAGS
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
"""Each with JAX's name for how float32 numbers are multiplied."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a program that computes runs on: flags of the same names."""

    devices: int | None
    precision: str | None
    coordinator: str | None
    num_processes: int | None
    process_id: int | None


@dataclasses.dataclass(frozen=True)
class Work:
    """A program's work folder and how it runs.

    Attributes:
      folder: as it was given.
      run: the same folder, absolute, and what else a run has.
      seed: of everything random.
      given: the flags that were given by hand, as JSON has them, for config.json.
    """

    folder: Path
    run: runs.Run
    seed: int
    given: dict[str, Any]

    @property
    def path(self) -> Path:
        """The folder as an absolute path."""
        return self.folder.absolute()


def machine() -> Machine | None:
    """What the flags say of the machine; None for a program that does not compute."""
    if "devices" not in FLAGS:
        return None
    names = [field.name for field in dataclasses.fields(Machine)]
    return Machine(**{name: FLAGS[name].value if name in FLAGS else None for name in names})


def work(default: Path | None = None, *, shared: bool = False) -> Work:
    """The work folder; it can be written to, but nothing is made yet.

    Args:
      default: the folder where --workdir is not given.
      shared: whether another process may have it.
    """
    fields = [field.name for field in dataclasses.fields(runs.Run)]
    own = {name: FLAGS[name].value for name in FLAGS}
    how: dict[str, Any] = {k: v for k, v in own.items() if k in fields and v is not None}
    where = Path(FLAGS.workdir or default or "")
    run = runs.Run(runs.check_workdir(where, shared=shared), **how)
    names = set(FLAGS) - flagtypes.RENAMED.keys()
    given = {name: plain(FLAGS[name].value) for name in sorted(names) if FLAGS[name].present}
    return Work(where, run, FLAGS.seed, given)


def folder() -> Path:
    """The folder that --workdir names; it can be written to, but nothing is made yet."""
    return runs.check_workdir(FLAGS.workdir)


def plain(value: object) -> object:
    """A flag's value as JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, Path) else value


def by_hand(name: str) -> Any:
    """A flag's value if it was given by hand, else None."""
    return FLAGS[name].value if FLAGS[name].present else None


@usage.section("Data")
def define_data(*, required: bool = True) -> None:
    flagtypes.define_dataset(
        "the data set: fashion_mnist_mini (embedded), a TFDS name (cifar10, ...), a folder of "
        "images (CLASS/*.png, or train/ and test/ with such folders), an .npz file; hf:NAME or "
        "hf:FOLDER for a Hugging Face data set (Parquet, imagefolder, save_to_disk); below "
        "--data_dir tiny_imagenet, imagenet1k, imagenet10, imagenet100, imagenette, imagewoof, "
        "imagefruit, imagemeow, imagesquawk, imageyellow",
        required=required,
    )
    flagtypes.define_path(
        "data_dir", None, "folder of prepared TFDS data sets, or of ImageNet (default: TFDS's own)"
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "resize and centre-crop images to this side",
        lower_bound=1,
        upper_bound=2048,
    )
    flags.DEFINE_bool(
        "flip",
        None,
        "whether a mirrored image keeps its label, so that augmentation may mirror it (default: "
        "yes, but not for known sets of digits and letters)",
    )
    flags.DEFINE_string("hf_config", None, "configuration of a Hugging Face data set")
    flagtypes.define_texts(
        "hf_splits", "of a Hugging Face data set: TRAIN,TEST; of TRAIN alone a fifth is for testing"
    )
    flagtypes.define_texts("hf_columns", "of a Hugging Face data set: IMAGE,LABEL")


def data() -> kinds.DataSettings:
    """The data set that the flags name."""
    values: dict[str, Any] = {
        field.name: FLAGS[field.name].value for field in dataclasses.fields(kinds.DataSettings)
    }
    return kinds.DataSettings(**values)


@usage.section("Network")
def define_network(*, turns: bool = False) -> None:
    """turns: whether there may be several networks, which are matched in turns."""
    if turns:
        flagtypes.define_networks(
            "network",
            "convnet",
            "the network, or several that are matched in turns, one an iteration, with experts of "
            "their own: convnet,resnet10:width=16 (NAME:OPTION=VALUE; flags hold for all)",
        )
    else:
        flagtypes.define_network("network", "convnet", list(registries.NETWORKS), "the network")
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


def network() -> kinds.NetworkSettings:
    """The network that the flags name, with the options given."""
    names = ("width", "depth", "norm", "activation", "pooling", "initializer")
    options = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    options |= precision()
    given = by_hand("network")
    if not isinstance(given, list):
        return kinds.NetworkSettings(given, options)
    found = []
    for text in given:
        name, own = registries.parse_network(text)
        folder = text.replace(":", "-") if len(given) > 1 else ""
        found.append(kinds.NetworkSettings(name, {**options, **own}, folder=folder))
    return dataclasses.replace(found[0], turns=tuple(found[1:]))


@usage.section("Network")
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


def precision() -> Json:
    """What --precision sets of a network."""
    return {"dtype": "bfloat16"} if FLAGS.precision == "bfloat16" else {}


@usage.section("Run")
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


@usage.section("Run")
def define_trackers() -> None:
    flags.DEFINE_bool(
        "tensorboard", False, "log for TensorBoard too, into the folder tensorboard of the run"
    )
    flags.DEFINE_bool(
        "wandb",
        False,
        "log into a run of Weights & Biases too; it reads its own variables (WANDB_MODE=offline)",
    )


@usage.section("Run")
def define_placement() -> None:
    flags.DEFINE_enum(
        "placement",
        "device",
        choices.PLACEMENTS,
        "where the data set lives: host for one larger than the device's memory, whose batches are "
        "sent ahead of each step; results are the same",
    )
    flagtypes.rename("data_placement", "placement")


@usage.section("Experts")
def define_training() -> None:
    flags.DEFINE_integer("experts", 5, "how many experts", lower_bound=1)
    flags.DEFINE_integer(
        "expert_epochs",
        None,
        "epochs of an expert (default: the paper's 60, 80 from 128 pixels)",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "expert_batch_size",
        None,
        "batch size of an expert (default: the paper's 64, 128 from 128 pixels)",
        lower_bound=1,
    )
    flagtypes.define_number("expert_learning_rate", 0.01, "learning rate of an expert", above=0)
    flagtypes.rename("expert_batch", "expert_batch_size")
    flagtypes.rename("expert_rate", "expert_learning_rate")
    flags.DEFINE_integer(
        "snapshots",
        None,
        "intermediate parameters to store per expert (default: what the method needs: those after "
        "every epoch, or none)",
        lower_bound=0,
    )
    define_placement()


@usage.section("Experts")
def define_expert_dir() -> None:
    flagtypes.define_path("expert_dir", None, "pool of experts (default: WORKDIR/experts)")


def experts() -> kinds.ExpertSettings:
    """The experts that the flags describe."""
    return kinds.ExpertSettings(
        count=by_hand("experts"),
        epochs=FLAGS.expert_epochs,
        batch_size=FLAGS.expert_batch_size,
        learning_rate=FLAGS.expert_learning_rate,
        snapshots=FLAGS.snapshots,
        folder=FLAGS.expert_dir if "expert_dir" in FLAGS else None,
        default_count=int(FLAGS["experts"].default or 0),
    )


@usage.section("Evaluation")
def define_evaluation(repeats: int, meaning: str, *, test_points: int) -> None:
    """Define the flags of an evaluation, with the defaults of --repeats and --test_points."""
    flags.DEFINE_integer("repeats", repeats, meaning, lower_bound=1)

    flags.DEFINE_enum(
        "protocol",
        None,
        choices.PROTOCOLS,
        "default: that of the paper of the set's method",
    )
    flags.DEFINE_integer("epochs", None, "epochs (default: the protocol's)", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "batch size (default: the protocol's)", lower_bound=1)
    flagtypes.define_number(
        "evaluation_learning_rate",
        None,
        "learning rate of the networks that are evaluated (default: the protocol's)",
        above=0,
    )
    flagtypes.rename("rate", "evaluation_learning_rate")
    flags.DEFINE_enum(
        "draw",
        None,
        choices.DRAWS,
        "what draws its own choice among crop, scale and rotation in training: batch (default), as "
        "in the authors' setups, or image, as versions before 0.2 had it; strengths are each "
        "image's own",
    )
    flags.DEFINE_integer(
        "test_points", test_points, "epochs at which to test, the last too", lower_bound=1
    )


def evaluation() -> kinds.EvaluationSettings:
    """The evaluation that the flags describe."""
    return kinds.EvaluationSettings(
        protocol=FLAGS.protocol,
        epochs=FLAGS.epochs,
        batch_size=FLAGS.batch_size,
        learning_rate=FLAGS.evaluation_learning_rate,
        draw=FLAGS.draw,
        repeats=by_hand("repeats"),
        test_points=FLAGS.test_points,
        default_repeats=int(FLAGS["repeats"].default or 0),
    )


@usage.section("Data")
def define_other_data() -> None:
    flags.DEFINE_bool(
        "other_data",
        False,
        "take a set that was made from other data than the flags name; its test images may be "
        "among those that it was made from",
    )
