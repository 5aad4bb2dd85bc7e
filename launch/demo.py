"""Condenses embedded real images: experts, DANCE, evaluation, pictures and a table.

    python -m launch.demo --workdir=runs/demo

Condenses 600 Fashion-MNIST images per class to 10 and compares networks trained on the result with
networks trained on 10 randomly chosen images per class, and on all (the experts). Two and a half
minutes on two CPU cores.
"""

from __future__ import annotations

from absl import flags

from dancejax.applications import demo, own_folder, settings as kinds

from . import common, settings

FLAGS = flags.FLAGS


def read() -> tuple[own_folder.Settings, settings.Work]:
    job = own_folder.Settings(
        kinds.DataSettings("fashion_mnist_mini"),
        FLAGS.ipc,
        method="dance",
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
    common.start(work, {}, job.train)
    common.show(demo.carry_out(job, say=common.say))


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
