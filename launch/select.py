"""Chooses a coreset: real images, in the form of a condensed set.

python -m launch.select --dataset=cifar10 --ipc=10 --workdir=runs/cifar10/random10
"""

from absl import flags

from dancejax import condensed, coreset, runs

from . import common

FLAGS = flags.FLAGS


def main() -> None:
    workdir = runs.open_workdir(FLAGS.workdir)
    chosen = coreset.random(common.load("train"), FLAGS.ipc, seed=FLAGS.seed)
    common.start(workdir, {"method": chosen.method, **chosen.settings})
    condensed.save(chosen, workdir / "condensed")
    common.say(f"coreset: {workdir / 'condensed'}")


if __name__ == "__main__":
    common.define_data()
    common.define_run()
    flags.DEFINE_integer("ipc", None, "images per class", lower_bound=1, required=True)
    common.run(main)
