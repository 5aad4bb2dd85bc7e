"""Chooses a coreset: real images, in the form of a condensed set.

    python -m launch.select --dataset=cifar10 --method=herding --ipc=10 \\
        --expert_dir=runs/cifar10/experts --workdir=runs/cifar10/herding10

Herding, k-center and k-means take the features of the first network of --expert_dir, by default the
folder "experts" in the work folder, where it is trained if it is missing. Forgetting trains a
network of its own in the same way and watches it; it takes the images most often forgotten, as the
papers' tables do, forgetting_least those least often forgotten.
"""

from pathlib import Path

from absl import flags

from dancejax import condensed, coreset, interpolate, networks
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.training import experts, loop

from . import common, pretrain

FLAGS = flags.FLAGS


def choose(dataset: Dataset, workdir: Path) -> CondensedSet:
    if FLAGS.method == "random":
        return coreset.random(dataset, FLAGS.ipc, seed=FLAGS.seed)
    if FLAGS.method.startswith("forgetting"):
        config = pretrain.training_config(dataset, cutmix=0.0)
        network = common.network(dataset)
        return coreset.forgetting(
            dataset,
            FLAGS.ipc,
            network,
            config,
            least=FLAGS.method == "forgetting_least",
            seed=FLAGS.seed,
            workdir=workdir,
            placement=FLAGS.data_placement,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
        )
    folder = pretrain.pool_folder(workdir, 1, dataset)
    pool, network, about = experts.load_pool(folder, count=1, dataset=dataset)
    settings = {"network": networks.identity(network), "training": about["training"]}
    variables = interpolate.select(pool.final, 0)
    return coreset.by_features(
        FLAGS.method, dataset, FLAGS.ipc, network, variables, settings=settings
    )


def main() -> None:
    common.check_workdir()
    dataset = common.load_train()
    coreset.check_ipc(dataset, FLAGS.ipc)
    if FLAGS.method in coreset.BY_FEATURES:
        pretrain.check_pool(dataset, 1)
    workdir = common.start({"method": FLAGS.method, "ipc": FLAGS.ipc, "seed": FLAGS.seed}, dataset)
    chosen = choose(dataset, workdir)
    condensed.save(chosen, workdir / "condensed")
    loop.clear(workdir / "training")
    common.say(f"coreset: {workdir / 'condensed'}")


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    pretrain.define_training()
    pretrain.define_expert_dir()
    flags.DEFINE_enum("method", "random", coreset.CORESETS, "how the images are chosen")
    flags.DEFINE_integer("ipc", None, "images per class", lower_bound=1, required=True)
    common.run(main)
