"""Condenses embedded real images: experts, DANCE, evaluation, pictures and a table.

    python -m launch.demo --workdir=runs/demo

Condenses 600 Fashion-MNIST images per class to 10 and compares networks trained on the result with
networks trained on 10 randomly chosen images per class, and on all. A few minutes on two CPU cores.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
from absl import flags

from dancejax import condensation, condensed, coreset, data, evaluation, methods, networks, runs
from dancejax.data.dataset import Dataset
from dancejax.training import experts, protocols

from . import common

FLAGS = flags.FLAGS


def assess(
    train: Any, test: Dataset, network: nn.Module, folder: Path, epochs: int
) -> dict[str, Any]:
    config = protocols.protocol("dance", test.name, epochs=epochs)
    folder = runs.open_workdir(folder)
    result = evaluation.evaluate(
        train,
        test,
        network,
        config,
        repeats=FLAGS.repeats,
        seed=FLAGS.seed,
        points=5,
        workdir=folder,
        devices=FLAGS.devices,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )
    runs.write_json(folder / "result.json", {"protocol": "dance", **result})
    return result


def main() -> None:
    workdir = common.check_workdir()
    train = data.load("fashion_mnist_mini", split="train")
    test = data.load("fashion_mnist_mini", split="test")
    network = networks.create("convnet", train.num_classes, train.image_shape, width=FLAGS.width)
    method = methods.create("dance", network=network, batch_real=64)
    coreset.check_ipc(train, FLAGS.ipc)
    common.start({}, train)

    common.say(f"1/4 {FLAGS.experts} experts, {FLAGS.expert_epochs} epochs each")
    config = experts.expert_training(28, epochs=FLAGS.expert_epochs)
    experts.train_pool(
        workdir / "experts", train, network, config, count=FLAGS.experts, seed=FLAGS.seed,
        test=test, devices=FLAGS.devices, checkpoint_seconds=FLAGS.checkpoint_seconds,
    )  # fmt: skip
    pool, _, _ = experts.load_pool(workdir / "experts", count=FLAGS.experts, dataset=train)

    common.say(f"2/4 DANCE, {FLAGS.ipc} images per class, {FLAGS.steps} iterations")
    made = condensation.condense(
        method, train, ipc=FLAGS.ipc, steps=FLAGS.steps, pool=pool, seed=FLAGS.seed,
        workdir=workdir, picture_every=max(1, FLAGS.steps // 5), devices=FLAGS.devices,
        settings={"network": networks.identity(network)},
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )  # fmt: skip
    condensed.save(made, workdir / "condensed")
    chosen = coreset.random(train, FLAGS.ipc, seed=FLAGS.seed)
    condensed.save(chosen, workdir / "random")

    common.say(f"3/4 evaluation, {FLAGS.repeats} networks each")
    rows = {
        f"random, {FLAGS.ipc} per class": assess(
            chosen, test, network, workdir / "evaluation_random", FLAGS.epochs
        ),
        f"DANCE, {FLAGS.ipc} per class": assess(
            made, test, network, workdir / "evaluation_dance", FLAGS.epochs
        ),
        f"all, {len(train.labels) // train.num_classes} per class": assess(
            train, test, network, workdir / "evaluation_whole", FLAGS.whole_epochs
        ),
    }
    report(workdir, rows, train, test)


def report(workdir: Path, rows: dict[str, Any], train: Dataset, test: Dataset) -> None:
    """Write the table and the pictures on a page, and print the table."""
    common.say("4/4 report")
    lines = ["| training set | epochs | test accuracy, last epoch |", "|---|---|---|"]
    for name, row in rows.items():
        accuracy = common.accuracy(row["accuracy_mean"], row["accuracy_std"], FLAGS.repeats, 1)
        lines.append(f"| {name} | {row['training']['epochs']} | {accuracy} |")
    table = "\n".join(lines)
    page = (
        f"# {train.name}: DANCE against random images\n\n{table}\n\n"
        f"Mean and deviation of {FLAGS.repeats} networks (ConvNet-3, width {FLAGS.width}) on "
        f"{len(test.labels)} test images.\n\n![condensed set](condensed/preview.png)\n\n"
        "![random images](random/preview.png)\n"
    )
    runs.write_bytes(workdir / "report.md", page.encode())
    runs.write_json(workdir / "result.json", rows)
    common.show(table)
    common.say(f"report: {workdir / 'report.md'}")


if __name__ == "__main__":
    common.define_run("runs/demo")
    flags.DEFINE_integer("ipc", 10, "images per class", lower_bound=1)
    flags.DEFINE_integer("width", 32, "channels of ConvNet", lower_bound=1, upper_bound=8192)
    flags.DEFINE_integer("experts", 3, "experts", lower_bound=1)
    flags.DEFINE_integer("expert_epochs", 8, "epochs of an expert", lower_bound=1)
    flags.DEFINE_integer("steps", 300, "iterations of DANCE", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "networks per evaluation", lower_bound=1)
    flags.DEFINE_integer("epochs", 100, "epochs of training on a small set", lower_bound=1)
    flags.DEFINE_integer("whole_epochs", 8, "epochs of training on all images", lower_bound=1)
    common.run(main)
