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

from dancejax import condensed, figures, interpolate, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.report import gallery
from dancejax.training import experts

from . import common, flagtypes
from .evaluate import check_source, define_other_data, load_set

FLAGS = flags.FLAGS


def sets_to_draw() -> dict[str, CondensedSet]:
    """The set of the run by its method, after that of --beside."""
    made = condensed.load(FLAGS.run / "condensed")
    if not FLAGS.beside:
        return {made.method: made}
    other = load_set(FLAGS.beside)
    first = other.method if other.method != made.method else f"{other.method} ({FLAGS.beside})"
    return {first: other, made.method: made}


def draw_features(sets: dict[str, CondensedSet], target: Path) -> Path:
    """Draw real and synthetic images under an expert's features; returns the file."""
    for label, made in sets.items():
        check_source(made, label)
    dataset = common.load_as([*sets.values()][-1], "train")
    pool, network, _ = experts.load_pool(
        FLAGS.expert_dir or FLAGS.run / "experts", count=1, dataset=dataset
    )
    runs.open_workdir(target)
    figure = gallery.features_figure(
        dataset, sets, network, interpolate.select(pool.final, 0),
        embedding=FLAGS.embedding, per_class=FLAGS.per_class, seed=FLAGS.seed,
    )  # fmt: skip
    runs.write_bytes(target / "features.png", figures.png(figure))
    return target / "features.png"


def main() -> None:
    target = runs.check_workdir(FLAGS.workdir or FLAGS.run / "pictures")
    sets = sets_to_draw()
    steps = FLAGS.run / "pictures"
    if not FLAGS.dataset and len([*steps.glob("step_*.png")]) < 2:
        raise UserError(
            f"{steps} has no pictures of steps; condense with --picture_every, or give --dataset "
            "to draw features."
        )
    drawn = [draw_features(sets, target)] if FLAGS.dataset else []
    written = gallery.save_evolution(steps, runs.open_workdir(target))
    common.show("\n".join(map(str, [*written, *drawn])))


if __name__ == "__main__":
    common.define_data(required=False)
    flagtypes.define_path("run", None, "work folder of launch.condense", required=True)
    flagtypes.define_path("workdir", None, "where to (default: the folder pictures of the run)")
    flagtypes.define_path("expert_dir", None, "pool of experts (default: RUN/experts)")
    flagtypes.define_path("beside", None, "another condensed set, as random/condensed of the run")
    flags.DEFINE_enum("embedding", "tsne", gallery.EMBEDDINGS, "of features in two dimensions")
    flags.DEFINE_integer("per_class", 100, "real images of each class", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the embedding", lower_bound=0)
    define_other_data()
    common.run(main)
