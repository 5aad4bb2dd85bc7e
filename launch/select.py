"""Chooses a coreset: real images, in the form of a condensed set.

    python -m launch.select --dataset=cifar10 --method=herding --ipc=10 \\
        --expert_dir=runs/cifar10/experts --workdir=runs/cifar10/herding10

Herding, k-center and k-means take the features of the first network of --expert_dir, by default the
folder "experts" in the work folder, where it is trained if it is missing. Forgetting trains a
network of its own in the same way and watches it; it takes the images most often forgotten, as the
papers' tables do, forgetting_least those least often forgotten.
"""

from __future__ import annotations

from absl import flags

from dancejax import registries
from dancejax.applications import coresets

from . import common, settings

FLAGS = flags.FLAGS


def read() -> tuple[coresets.Settings, settings.Work]:
    """The coreset, and the work folder."""
    work = settings.work()
    chosen = coresets.Settings(
        FLAGS.method,
        settings.data(),
        FLAGS.ipc,
        seed=FLAGS.seed,
        network=settings.network(),
        experts=settings.experts(),
    )
    return chosen, work


def main() -> None:
    chosen, work = read()
    about = {"method": chosen.name, "ipc": chosen.ipc, "seed": chosen.seed}
    coresets.select(
        chosen,
        run=work.run,
        say=common.say,
        begin=lambda train: common.start(work, about, train),
    )
    common.say(f"coreset: {work.path / 'condensed'}")


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_training()
    settings.define_expert_dir()
    flags.DEFINE_enum("method", "random", list(registries.CORESETS), "how the images are chosen")
    flags.DEFINE_integer("ipc", None, "images per class", lower_bound=1, required=True)
    common.run(main)
