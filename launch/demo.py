"""Condenses embedded real images: experts, DANCE, evaluation, pictures and a table.

    python -m launch.demo --workdir=runs/demo

Condenses 600 Fashion-MNIST images per class to 10 and compares networks trained on the result with
networks trained on 10 randomly chosen images per class, and on all (the experts). Two and a half
minutes on two CPU cores.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from absl import flags

from dancejax import condensed, coreset, runs
from dancejax.applications import assess, own_folder, settings as kinds
from dancejax.text import accuracy
from dancejax.types import Json

from . import common, settings

FLAGS = flags.FLAGS


def read() -> tuple[own_folder.Settings, settings.Work]:
    job = own_folder.Settings(
        kinds.DataSettings("fashion_mnist_mini"),
        FLAGS.ipc,
        preset="auto",
        steps=FLAGS.steps,
        config={"batch_real": 64},
        seed=FLAGS.seed,
        network=kinds.NetworkSettings("convnet", {"width": FLAGS.width}),
        experts=kinds.ExpertSettings(FLAGS.experts, FLAGS.expert_epochs),
        evaluation=kinds.EvaluationSettings("dance", FLAGS.epochs, repeats=FLAGS.repeats),
        evaluate=True,
        picture_every=max(1, FLAGS.steps // 5),
    )
    return job, settings.work()


def main() -> None:
    given, work = read()
    job = own_folder.prepare(given, run=work.run, estimate=False)
    own, how = job.settings, job.settings.evaluation
    workdir = common.start(work, {}, job.train)
    common.say(f"1/4 {own.experts.number} experts, {own.experts.epochs} epochs each")
    found = own_folder.ready_experts(job)

    common.say(f"2/4 DANCE, {own.ipc} images per class, {own.steps} iterations")
    made = own_folder.make(job, found)
    condensed.save(made, workdir / "condensed")
    chosen = coreset.random(job.train, own.ipc, seed=own.seed)
    condensed.save(chosen, workdir / "random")

    common.say(f"3/4 evaluation, {how.networks} networks each")
    rows: dict[str, Json] = {}
    for name, train in (("random", chosen), ("DANCE", made)):
        assert job.test is not None
        tested = assess.Tested(train, job.test, job.network)
        folder = work.run.within(f"evaluation_{name.lower()}")
        result = assess.assess(tested, how, seed=own.seed, run=folder).evaluation
        rows[f"{name}, {own.ipc} per class"] = result.to_dict()
    every = len(job.train.labels) // job.train.num_classes
    rows[f"all, {every} per class"] = runs.read_json(workdir / "experts" / "result.json")
    report(workdir, rows, job)


def report(workdir: Path, rows: dict[str, Json], job: own_folder.Job) -> None:
    """Write the table and the pictures on a page, and print the table."""
    common.say("4/4 report")
    lines = ["| training set | networks, epochs | test accuracy, last epoch |", "|---|---|---|"]
    for name, row in rows.items():
        found = row["accuracies"]
        std = statistics.stdev(found) if len(found) > 1 else 0.0
        reached = accuracy(row["accuracy_mean"], std, len(found), 1)
        lines.append(f"| {name} | {len(found)}, {row['training']['epochs']} | {reached} |")
    table = "\n".join(lines)
    width, test = job.settings.network.options["width"], job.test
    assert test is not None
    page = (
        f"# {job.train.name}: DANCE against random images\n\n{table}\n\n"
        f"Mean and deviation of networks (ConvNet-3, width {width}) on {len(test)} test images; "
        "those of all images are the experts.\n\n"
        "![condensed set](condensed/preview.png)\n\n![random images](random/preview.png)\n"
    )
    runs.write_bytes(workdir / "report.md", page.encode())
    runs.write_json(workdir / "result.json", rows)
    common.show(table)
    common.say(f"report: {workdir / 'report.md'}")


if __name__ == "__main__":
    settings.define_run("runs/demo")
    flags.DEFINE_integer("ipc", 10, "images per class", lower_bound=1)
    flags.DEFINE_integer("width", 32, "channels of ConvNet", lower_bound=1, upper_bound=8192)
    flags.DEFINE_integer("experts", 2, "experts", lower_bound=1)
    flags.DEFINE_integer("expert_epochs", 8, "epochs of an expert", lower_bound=1)
    flags.DEFINE_integer("steps", 300, "iterations of DANCE", lower_bound=1)
    flags.DEFINE_integer("repeats", 4, "networks per evaluation", lower_bound=1)
    flags.DEFINE_integer("epochs", 75, "epochs of training on a small set", lower_bound=1)
    common.run(main)
