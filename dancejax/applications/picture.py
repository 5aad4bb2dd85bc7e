"""Pictures of a run: before and after, its evolution, and its features beside real ones."""

import dataclasses
from pathlib import Path

from dancejax import condensed, figures, runs
from dancejax.applications import assess
from dancejax.applications.settings import DataSettings
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.report import gallery
from dancejax.runs import Run
from dancejax.training import experts


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is drawn.

    Attributes:
      run: work folder of a condensation.
      data: whose images are drawn beside, by their features; None: features are not drawn.
      expert_dir: the pool whose first expert's features are taken (None: the run's own).
      beside: folder of another condensed set, whose features are drawn, too.
      embedding: one of `choices.EMBEDDINGS`.
      per_class: real images of each class.
      seed: of the embedding.
      other_data: whether sets of other data are taken.
    """

    run: Path
    data: DataSettings | None = None
    expert_dir: Path | None = None
    beside: Path | None = None
    embedding: str = "tsne"
    per_class: int = 100
    seed: int = 0
    other_data: bool = False


def draw(settings: Settings, *, run: Run) -> list[Path]:
    """Draw the pictures, and return their files.

    Args:
      settings: what is drawn.
      run: with the folder that they go to.

    Raises:
      UserError: there is nothing to draw, or sets and data do not fit together.
    """
    sets, steps = _sets(settings), settings.run / "pictures"
    if settings.data is None and len([*steps.glob("step_*.png")]) < 2:
        raise UserError(
            f"{steps} has no pictures of steps; condense with --picture_every, or give --dataset "
            "to draw features."
        )
    drawn = [_features(settings, settings.data, sets, run)] if settings.data else []
    return [*gallery.save_evolution(steps, _folder(run)), *drawn]


def _folder(run: Run) -> Path:
    """The folder of a run, which is made."""
    assert run.folder is not None
    return runs.open_workdir(run.folder)


def _sets(settings: Settings) -> dict[str, CondensedSet]:
    """The set of the run by its method, after that of `beside`."""
    made = condensed.load(settings.run / "condensed")
    if not settings.beside:
        return {made.method: made}
    other = assess.load_set(settings.beside)
    first = other.method if other.method != made.method else f"{other.method} ({settings.beside})"
    return {first: other, made.method: made}


def _features(
    settings: Settings, data: DataSettings, sets: dict[str, CondensedSet], run: Run
) -> Path:
    """Draw real and synthetic images under an expert's features; returns the file."""
    data, _ = assess.check_sources(sets, data, other_data=settings.other_data)
    dataset = data.load("train")
    pool = settings.expert_dir or settings.run / "experts"
    found = experts.load_pool(pool, count=1, dataset=dataset)
    folder = _folder(run)
    figure = gallery.features_figure(
        dataset,
        sets,
        found,
        embedding=settings.embedding,
        per_class=settings.per_class,
        seed=settings.seed,
    )
    runs.write_bytes(folder / "features.png", figures.png(figure))
    return folder / "features.png"
