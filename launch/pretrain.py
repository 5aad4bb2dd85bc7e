"""Trains a pool of experts on a data set, for DANCE.

    python -m launch.pretrain --dataset=cifar10 --workdir=runs/cifar10/experts

Experts already in the folder are kept: give a larger --experts to extend a pool, or the same
command to go on after an interruption. The pool serves every IPC.
"""

from __future__ import annotations

from dancejax.applications import pool

from . import common, settings


def main() -> None:
    work, data, experts = settings.work(), settings.data(), settings.experts()
    network, data = settings.network(), data.sized(common.say)
    train = data.load("train")
    common.start(work, {}, train)
    result = pool.train(
        train,
        data.load("test"),
        network.create(train),
        experts,
        seed=work.seed,
        say=common.say,
        run=work.run,
    )
    common.show(result)


if __name__ == "__main__":
    settings.define_data()
    settings.define_network()
    settings.define_run()
    settings.define_trackers()
    settings.define_training()
    common.run(main)
