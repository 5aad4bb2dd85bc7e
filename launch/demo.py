"""Condenses embedded real images: experts, DANCE, evaluation, pictures and a table.

    python -m launch.demo --workdir=runs/demo

Condenses 600 Fashion-MNIST images per class to 10 and compares networks trained on the result with
networks trained on 10 randomly chosen images per class, and on all. A few minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from dancejax import condensed, coreset, runs
from dancejax.applications import assess, own_folder, settings as kinds
from dancejax.training import experts

from . import common, settings

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """The job, and epochs of networks that are trained on all images."""

    job: own_folder.Settings
    whole_epochs: int


def read() -> tuple[Settings, settings.Work]:
    work = settings.work()
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
    return Settings(job, FLAGS.whole_epochs), work


def train_experts(job: own_folder.Job) -> experts.Experts:
    """Train and test the experts."""
    own, run = job.settings.experts, job.run.within("experts")
    config = own.training(job.train)
    count, seed = own.number, job.settings.seed
    experts.train_pool(
        job.train, job.network, config, count=count, seed=seed, test=job.test, run=run
    )
    assert run.folder is not None
    return experts.load_pool(run.folder, count=count, dataset=job.train)


def main() -> None:
    given, work = read()
    job = own_folder.prepare(given.job, run=work.run, estimate=False)
    own, how = job.settings, job.settings.evaluation
    workdir = common.start(work, {}, job.train)
    common.say(f"1/4 {own.experts.number} experts, {own.experts.epochs} epochs each")
    found = train_experts(job)

    common.say(f"2/4 DANCE, {own.ipc} images per class, {own.steps} iterations")
    made = own_folder.make(job, [found])
    condensed.save(made, workdir / "condensed")
    chosen = coreset.random(job.train, own.ipc, seed=own.seed)
    condensed.save(chosen, workdir / "random")

    common.say(f"3/4 evaluation, {how.networks} networks each")
    whole = dataclasses.replace(how, epochs=given.whole_epochs)
    rows = {}
    for name, train, settings_of in (
        (f"random, {own.ipc} per class", chosen, how),
        (f"DANCE, {own.ipc} per class", made, how),
        (f"all, {len(job.train.labels) // job.train.num_classes} per class", job.train, whole),
    ):
        folder = f"evaluation_{'whole' if train is job.train else name.split(',')[0].lower()}"
        assert job.test is not None
        tested = assess.Tested(train, job.test, job.network)
        rows[name] = assess.assess(tested, settings_of, seed=own.seed, run=work.run.within(folder))
    report(workdir, rows, job)


def report(workdir: Path, rows: dict[str, assess.Assessment], job: own_folder.Job) -> None:
    """Write the table and the pictures on a page, and print the table."""
    common.say("4/4 report")
    lines = ["| training set | epochs | test accuracy, last epoch |", "|---|---|---|"]
    for name, row in rows.items():
        result = row.evaluation
        accuracy = common.accuracy(result.accuracy_mean, result.accuracy_std, result.repeats, 1)
        lines.append(f"| {name} | {result.record['training']['epochs']} | {accuracy} |")
    table = "\n".join(lines)
    settings = job.settings
    page = (
        f"# {job.train.name}: DANCE against random images\n\n{table}\n\n"
        f"Mean and deviation of {settings.evaluation.networks} networks (ConvNet-3, width "
        f"{settings.network.options['width']}) on {result.test_images} test images.\n\n"
        "![condensed set](condensed/preview.png)\n\n![random images](random/preview.png)\n"
    )
    runs.write_bytes(workdir / "report.md", page.encode())
    shown = {name: row.evaluation.to_dict() for name, row in rows.items()}
    runs.write_json(workdir / "result.json", shown)
    common.show(table)
    common.say(f"report: {workdir / 'report.md'}")


if __name__ == "__main__":
    settings.define_run("runs/demo")
    flags.DEFINE_integer("ipc", 10, "images per class", lower_bound=1)
    flags.DEFINE_integer("width", 32, "channels of ConvNet", lower_bound=1, upper_bound=8192)
    flags.DEFINE_integer("experts", 3, "experts", lower_bound=1)
    flags.DEFINE_integer("expert_epochs", 8, "epochs of an expert", lower_bound=1)
    flags.DEFINE_integer("steps", 300, "iterations of DANCE", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "networks per evaluation", lower_bound=1)
    flags.DEFINE_integer("epochs", 100, "epochs of training on a small set", lower_bound=1)
    flags.DEFINE_integer("whole_epochs", 8, "epochs of training on all images", lower_bound=1)
    common.run(main)
