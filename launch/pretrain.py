"""Trains a pool of experts on a data set, for DANCE.

    python -m launch.pretrain --dataset=cifar10 --workdir=runs/cifar10/experts

Experts already in the folder are kept: give a larger --experts to extend a pool, or the same
command to go on after an interruption. The pool serves every IPC.
"""

import dataclasses
import statistics
from pathlib import Path

from absl import flags

from dancejax import experts, runs

from . import common

FLAGS = flags.FLAGS


def define_training() -> None:
    flags.DEFINE_integer("experts", 5, "how many experts", lower_bound=1)
    flags.DEFINE_integer(
        "expert_epochs", None, "epochs of an expert (default: the paper's 60, 80 from 128 pixels)",
        lower_bound=1,
    )  # fmt: skip
    flags.DEFINE_integer("expert_batch", 64, "batch size of an expert", lower_bound=1)
    flags.DEFINE_float("expert_rate", 0.01, "learning rate of an expert", lower_bound=0)
    flags.DEFINE_integer(
        "snapshots", 0, "intermediate parameters to store per expert", lower_bound=0
    )


def train(folder: Path) -> Path:
    """Trains the pool that the flags describe; says what it does on stderr."""
    dataset, test = common.load("train"), common.load("test")
    network = common.network(dataset)
    overrides = {} if FLAGS.expert_epochs is None else {"epochs": FLAGS.expert_epochs}
    config = experts.expert_training(
        min(dataset.image_shape[:2]),
        batch_size=FLAGS.expert_batch,
        learning_rate=FLAGS.expert_rate,
        **overrides,
    )
    common.say(
        f"{FLAGS.experts} experts on {dataset.name}: {len(dataset.labels)} images, "
        f"{dataset.num_classes} classes, {config.epochs} epochs, into {folder}"
    )
    results = experts.train_pool(
        folder,
        dataset,
        network,
        config,
        count=FLAGS.experts,
        seed=FLAGS.seed,
        snapshots=FLAGS.snapshots,
        test=test,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )
    accuracies = [100 * r["test_accuracy"] for r in results]
    result = {
        "experts": len(results),
        "accuracy_mean": statistics.fmean(accuracies),
        "accuracies": accuracies,
        "training": dataclasses.asdict(config),
    }
    runs.write_json(folder / "result.json", result)
    return folder


def main() -> None:
    folder = runs.open_workdir(FLAGS.workdir)
    common.start(folder, {})
    train(folder)
    common.show(runs.read_json(folder / "result.json"))


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    define_training()
    common.run(main)
