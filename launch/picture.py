"""Draws a run: before and after, its evolution, and its features beside real ones.

    python -m launch.picture --run=runs/cifar10/ipc10
    python -m launch.picture --run=runs/cifar10/ipc10 --dataset=cifar10 \\
        --expert_dir=runs/cifar10/experts

The first command writes before_after.png and evolution.gif into the run's folder "pictures". With
--dataset it adds features.png: real and synthetic images, under the features of the first expert of
the run or of --expert_dir, in two dimensions; beside the run's own set that of --beside.
"""

from pathlib import Path

from absl import flags

from dancejax import condensed, experts, figures, gallery, interpolate, runs
from dancejax.errors import UserError

from . import common

FLAGS = flags.FLAGS


def main() -> None:
    run = Path(FLAGS.run).expanduser()
    made = condensed.load(run / "condensed")
    target = runs.open_workdir(FLAGS.workdir or run / "pictures")
    written = gallery.save_evolution(run / "pictures", target)
    if not written and not FLAGS.dataset:
        raise UserError(
            f"{run / 'pictures'} has no pictures of steps; condense with --picture_every, or give "
            "--dataset to draw features."
        )
    if FLAGS.dataset:
        dataset = common.load_as(made, "train")
        folder = Path(FLAGS.expert_dir or run / "experts")
        pool, network, _ = experts.load_pool(folder, count=1, dataset=dataset)
        sets = {made.method: made}
        if FLAGS.beside:
            other = condensed.load(FLAGS.beside)
            sets = {other.method: other, made.method: made}
        figure = gallery.features_figure(
            dataset, sets, network, interpolate.select(pool.final, 0),
            embedding=FLAGS.embedding, per_class=FLAGS.per_class, seed=FLAGS.seed,
        )  # fmt: skip
        runs.write_bytes(target / "features.png", figures.png(figure))
        written.append(target / "features.png")
    print(*written, sep="\n")


if __name__ == "__main__":
    common.define_data(required=False)
    flags.DEFINE_string("run", None, "work folder of launch.condense", required=True)
    flags.DEFINE_string("workdir", None, "where to (default: the folder pictures of the run)")
    flags.DEFINE_string("expert_dir", None, "pool of experts (default: RUN/experts)")
    flags.DEFINE_string("beside", None, "another condensed set, as random/condensed of the run")
    flags.DEFINE_enum("embedding", "tsne", gallery.EMBEDDINGS, "of features in two dimensions")
    flags.DEFINE_integer("per_class", 100, "real images of each class", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the embedding", lower_bound=0)
    common.run(main)
