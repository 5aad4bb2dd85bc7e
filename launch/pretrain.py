"""Trains a pool of experts on a data set, for methods that need them.

    python -m launch.pretrain --dataset=cifar10 --workdir=runs/cifar10/experts

Experts already in the folder are kept: give a larger --experts to extend a pool, or the same
command to go on after an interruption. The pool serves every IPC. Of several networks, for instance
--network=convnet,resnet10:width=16, each has a pool in a folder of its own below --workdir.
"""

from __future__ import annotations

from dancejax.applications import pool

from . import common, settings


def main() -> None:
    work, data, experts = settings.work(), settings.data(), settings.experts()
    network, data = settings.network(), data.sized(common.say)
    train = data.load("train")
    common.start(work, {}, train)
    modules = [own.create(train) for own in network.each]
    test = data.load("test")
    results = [
        pool.train(
            train,
            test,
            module,
            experts,
            seed=work.seed,
            say=common.say,
            run=work.run.within(own.folder),
        )
        for own, module in zip(network.each, modules, strict=True)
    ]
    common.show(results if network.turns else results[0])


if __name__ == "__main__":
    settings.define_data()
    settings.define_network(turns=True)
    settings.define_run()
    settings.define_trackers()
    settings.define_training()
    common.run(main)
