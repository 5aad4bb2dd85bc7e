"""Draws a run: before and after, its evolution, and its features beside real ones.

    python -m launch.picture --run=runs/cifar10/ipc10
    python -m launch.picture --run=runs/cifar10/ipc10 --dataset=cifar10 \\
        --expert_dir=runs/cifar10/experts

The first command writes before_after.png and evolution.gif into the run's folder "pictures". With
--dataset it adds features.png: real and synthetic images, under the features of the first expert of
the run or of --expert_dir, in two dimensions; beside the run's own set that of --beside.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from dancejax import choices, condensed, figures, runs
from dancejax.applications import assess
from dancejax.errors import UserError
from dancejax.report import gallery
from dancejax.training import experts

from . import common, flagtypes, settings

if TYPE_CHECKING:
    from dancejax.applications.settings import DataSettings
    from dancejax.condensed import CondensedSet

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is drawn; data is None where features are not."""

    run: Path
    workdir: Path | None
    data: DataSettings | None
    expert_dir: Path | None
    beside: Path | None
    embedding: str
    per_class: int
    seed: int
    other_data: bool


def read() -> Settings:
    names = [field.name for field in dataclasses.fields(Settings) if field.name != "data"]
    given: dict[str, Any] = {name: FLAGS[name].value for name in names}
    return Settings(data=settings.data() if FLAGS.dataset else None, **given)


def sets_to_draw(given: Settings) -> dict[str, CondensedSet]:
    """The set of the run by its method, after that of --beside."""
    made = condensed.load(given.run / "condensed")
    if not given.beside:
        return {made.method: made}
    other = assess.load_set(given.beside)
    first = other.method if other.method != made.method else f"{other.method} ({given.beside})"
    return {first: other, made.method: made}


def draw_features(
    given: Settings, data: DataSettings, sets: dict[str, CondensedSet], target: Path
) -> Path:
    """Draw real and synthetic images under an expert's features; returns the file."""
    data, _ = assess.check_sources(sets, data, other_data=given.other_data)
    dataset = data.load("train")
    folder = given.expert_dir or given.run / "experts"
    found = experts.load_pool(folder, count=1, dataset=dataset)
    runs.open_workdir(target)
    figure = gallery.features_figure(
        dataset,
        sets,
        found,
        embedding=given.embedding,
        per_class=given.per_class,
        seed=given.seed,
    )
    runs.write_bytes(target / "features.png", figures.png(figure))
    return target / "features.png"


def main() -> None:
    given = read()
    target = runs.check_workdir(given.workdir or given.run / "pictures")
    sets = sets_to_draw(given)
    steps = given.run / "pictures"
    if given.data is None and len([*steps.glob("step_*.png")]) < 2:
        raise UserError(
            f"{steps} has no pictures of steps; condense with --picture_every, or give --dataset "
            "to draw features."
        )
    drawn = [draw_features(given, given.data, sets, target)] if given.data else []
    written = gallery.save_evolution(steps, runs.open_workdir(target))
    common.show("\n".join(map(str, [*written, *drawn])))


if __name__ == "__main__":
    settings.define_data(required=False)
    flagtypes.define_path("run", None, "work folder of launch.condense", required=True)
    flagtypes.define_path("workdir", None, "where to (default: the folder pictures of the run)")
    flagtypes.define_path("expert_dir", None, "pool of experts (default: RUN/experts)")
    flagtypes.define_path("beside", None, "another condensed set, as random/condensed of the run")
    flags.DEFINE_enum("embedding", "tsne", choices.EMBEDDINGS, "of features in two dimensions")
    flags.DEFINE_integer("per_class", 100, "real images of each class", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the embedding", lower_bound=0)
    settings.define_other_data()
    common.run(main)
