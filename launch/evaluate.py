"""Trains networks from scratch on a condensed set, a coreset or the whole set, and tests them.

    python -m launch.evaluate --dataset=cifar10 --condensed=runs/cifar10/ipc10/condensed \\
        --workdir=runs/cifar10/ipc10/evaluation

The result is the accuracy after the last epoch, mean and deviation over the networks. Without
--condensed the networks train on the whole set.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
from absl import flags

from dancejax import condensed, evaluate, exchange, runs
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.methods import presets
from dancejax.training import TrainConfig

from . import common

FLAGS = flags.FLAGS


def define_protocol(points: int) -> None:
    flags.DEFINE_enum(
        "protocol",
        None,
        evaluate.PROTOCOLS,
        "default: the paper's of the set's method; dm for dm and idm, dance for the rest",
    )
    flags.DEFINE_integer("epochs", None, "epochs (default: the protocol's)", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "batch size (default: the protocol's)", lower_bound=1)
    flags.DEFINE_float("rate", None, "learning rate (default: the protocol's)", lower_bound=0)
    flags.DEFINE_integer(
        "test_points", points, "epochs at which to test, the last too", lower_bound=1
    )


def protocol_for_method(method: str, test: ImageDataset) -> tuple[str, TrainConfig]:
    """The protocol that the flags and a set's method name, and how it trains."""
    overrides = {
        "epochs": FLAGS.epochs,
        "batch_size": FLAGS.batch_size,
        "learning_rate": FLAGS.rate,
    }
    given = {k: v for k, v in overrides.items() if v is not None}
    name = FLAGS.protocol or presets.PROTOCOLS.get(method, "dance")
    return name, evaluate.protocol(name, test.name, **given)


def check_source(made: CondensedSet, path: str | Path, test: ImageDataset) -> None:
    """Raises UserError unless a condensed set is of the data set that the flags name."""
    if made.source["name"] != test.name:
        raise UserError(
            f"{path} was made from {made.source['name']!r}, not from {test.name!r}; "
            "give that --dataset."
        )


def assess(
    chosen: CondensedSet | ImageDataset,
    test: ImageDataset,
    network: nn.Module,
    folder: Path,
    *,
    method: str = "",
) -> dict[str, Any]:
    """Evaluates a set as the flags and a method say, into a folder; returns its result.json."""
    name, config = protocol_for_method(method, test)
    result = evaluate.evaluate(
        chosen,
        test,
        network,
        config,
        repeats=FLAGS.repeats,
        seed=FLAGS.seed,
        points=FLAGS.test_points,
        workdir=folder,
        devices=FLAGS.devices,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )
    result = {"protocol": name, **result}
    runs.write_json(folder / "result.json", result)
    return result


def load_set(path: str | Path) -> CondensedSet:
    """A condensed set, a coreset, or an export of one."""
    path = Path(path).expanduser()
    return exchange.read(path) if exchange.is_export(path) else condensed.load(path)


def main() -> None:
    workdir = common.open_workdir()
    chosen = load_set(FLAGS.condensed) if FLAGS.condensed else None
    test = common.load_as(chosen, "test") if chosen else common.load("test")
    if chosen:
        check_source(chosen, FLAGS.condensed, test)
    method = chosen.method if chosen else ""
    common.start(workdir, {"protocol": protocol_for_method(method, test)[0]})
    train = chosen or common.load("train")
    result = assess(train, test, common.network(test), workdir, method=method)
    common.show(result)
    common.say(
        f"accuracy {result['accuracy_mean']:.2f} +- {result['accuracy_std']:.2f} % "
        f"(last epoch, {result['repeats']} networks); best over epochs, chosen on the test set: "
        f"{result['best_over_epochs_mean']:.2f} %"
    )


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    flags.DEFINE_string("condensed", None, "folder of a condensed set, a coreset or an export")
    flags.DEFINE_integer("repeats", 10, "networks to train", lower_bound=1)
    define_protocol(points=10)
    common.run(main)
