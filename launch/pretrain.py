"""Trains a pool of experts on a data set, for DANCE.

    python -m launch.pretrain --dataset=cifar10 --workdir=runs/cifar10/experts

Experts already in the folder are kept: give a larger --experts to extend a pool, or the same
command to go on after an interruption. The pool serves every IPC.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import evaluation, networks, runs
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, experts

from . import common, flagtypes

FLAGS = flags.FLAGS


def define_training() -> None:
    flags.DEFINE_integer("experts", 5, "how many experts", lower_bound=1)
    flags.DEFINE_integer(
        "expert_epochs", None, "epochs of an expert (default: the paper's 60, 80 from 128 pixels)",
        lower_bound=1,
    )  # fmt: skip
    flags.DEFINE_integer(
        "expert_batch",
        None,
        "batch size of an expert (default: the paper's 64, 128 from 128 pixels)",
        lower_bound=1,
    )
    flagtypes.define_number("expert_rate", 0.01, "learning rate of an expert", above=0)
    flags.DEFINE_integer(
        "snapshots", 0, "intermediate parameters to store per expert", lower_bound=0
    )
    common.define_placement()


def define_expert_dir() -> None:
    flagtypes.define_path("expert_dir", None, "pool of experts (default: WORKDIR/experts)")


def training_config(dataset: Dataset, **overrides: Any) -> TrainConfig:
    """How the flags have experts trained."""
    if FLAGS.expert_epochs is not None:
        overrides["epochs"] = FLAGS.expert_epochs
    if FLAGS.expert_batch is not None:
        overrides["batch_size"] = FLAGS.expert_batch
    return experts.expert_training(
        min(dataset.image_shape[:2]),
        learning_rate=FLAGS.expert_rate,
        **overrides,
    )


def check_pool(dataset: Dataset, count: int | None) -> None:
    """Check the pool that --expert_dir names, if it does: its network, data and size.

    Raises:
      UserError: it has another network than the flags say, other data, or fewer than `count`.
    """
    if not FLAGS.expert_dir:
        return
    about = experts.read_description(FLAGS.expert_dir)
    stored = about["network"]
    for name, value in {"name": FLAGS.network, **common.network_options()}.items():
        if stored.get(name) != value:
            raise UserError(
                f"the experts in {FLAGS.expert_dir} have {name}={stored.get(name)}, not {value}; "
                "leave the network's flags out, or train a pool of such networks."
            )
    if about["dataset"]["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"the experts in {FLAGS.expert_dir} were trained on {about['dataset']['name']!r} as it "
            f"was then ({about['image_shape']}), not on this {dataset.name!r} "
            f"({list(dataset.image_shape)}); give the same data set and --image_size, or train a "
            "pool of its own with launch.pretrain."
        )
    available = experts.finished(FLAGS.expert_dir)
    if available < (count or 1):
        raise UserError(
            f"{FLAGS.expert_dir} holds {available} finished experts, {count or 1} are asked for; "
            "train more with launch.pretrain --experts."
        )


def pool_folder(workdir: Path, count: int, dataset: Dataset, *, tensorboard: bool = False) -> Path:
    """The pool that --expert_dir names, or one of `count` experts trained in the work folder."""
    if FLAGS.expert_dir:
        return Path(FLAGS.expert_dir)
    train(workdir / "experts", count, dataset, tensorboard=tensorboard)
    return workdir / "experts"


def train(
    folder: Path, count: int, dataset: Dataset, *, tensorboard: bool = False
) -> dict[str, Any]:
    """Trains the pool that the flags describe, and says so on stderr; returns its result.json."""
    test = common.load("test")
    network = common.network(dataset)
    config = training_config(dataset)
    common.say(
        f"{count} experts on {dataset.name}: {len(dataset.labels)} images, "
        f"{dataset.num_classes} classes, {config.epochs} epochs, into {folder}"
    )
    results = experts.train_pool(
        folder,
        dataset,
        network,
        config,
        count=count,
        seed=FLAGS.seed,
        snapshots=FLAGS.snapshots,
        test=test,
        placement=FLAGS.data_placement,
        devices=FLAGS.devices,
        at_once=FLAGS.networks_at_once,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        tensorboard=tensorboard,
    )
    accuracies = [100 * r["test_accuracy"] for r in results]
    result: dict[str, Any] = {
        "protocol": experts.PROTOCOL,
        "experts": len(results),
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracies": accuracies,
        "train": evaluation.describe_set(dataset),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
    }
    runs.write_json(folder / "result.json", result)
    return result


def main() -> None:
    common.check_workdir()
    dataset = common.load_train()
    folder = common.start({}, dataset)
    common.show(train(folder, FLAGS.experts, dataset, tensorboard=FLAGS.tensorboard))


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    common.define_tensorboard()
    define_training()
    common.run(main)
