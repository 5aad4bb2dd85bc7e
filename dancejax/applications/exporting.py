"""A condensed set exported in several forms, with its evaluation and test images."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dancejax import condensed, exchange, runs
from dancejax.applications import assess, sides
from dancejax.applications.settings import DataSettings, Say, quiet
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError

_KEPT = (
    "accuracy_mean",
    "accuracy_std",
    "best_over_epochs_mean",
    "repeats",
    "protocol",
    "network",
    "training",
    "test",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is exported, and how.

    Attributes:
      condensed: folder of a condensed set or coreset, or the work folder of its run.
      formats: some of `exchange.FORMS`.
      decoded: whether the training images are written, else the stored ones.
      evaluation: folder with the set's evaluation (None: the one beside the set, if it is of it).
      licence: of the source data (None: what the source stated, else unknown).
      data: the data set whose test images are written, too (None: what the run of the set says, if
        that was of a folder of images).
      with_test: whether they are.
    """

    condensed: Path
    formats: Sequence[str]
    decoded: bool = True
    evaluation: Path | None = None
    licence: str | None = None
    data: DataSettings | None = None
    with_test: bool = False


def prepare(settings: Settings) -> "Export":
    """Read and check what is to be exported; nothing is written.

    Raises:
      UserError: a form has no place for test images, they are of other data than the set, or the
        evaluation is of another set.
    """
    for form in settings.formats:
        if settings.with_test and form not in exchange.with_test():
            raise UserError(
                f"{form} has no place for test images; --with_test is for "
                f"{', '.join(exchange.with_test())}."
            )
    path = assess.set_folder(settings.condensed)
    made = condensed.load(path)
    result = _evaluation(settings, made, path)
    return Export(settings, made, result, _test_images(settings, made, path))


@dataclasses.dataclass(frozen=True)
class Export:
    """A set that is ready to be exported, with its evaluation and test images, if any."""

    settings: Settings
    made: CondensedSet
    result: dict[str, Any] | None
    test: Dataset | None

    def write(self, folder: Path, *, say: Say = quiet) -> Iterator[Path]:
        """Write each form to a folder of its name, read it back, and give its path.

        What is there already is only read; the same call goes on after an interruption.
        """
        settings, result = self.settings, self.result
        for form in exchange.FORMS:
            exchange.clear(folder / form)
        options = exchange.ExportOptions(
            decoded=settings.decoded,
            licence=settings.licence or _licence(self.made),
            accuracy=_sentence(result) if result else None,
            evaluation={k: result[k] for k in _KEPT if k in result} if result else None,
            test=self.test,
        )
        for form in settings.formats:
            there = (folder / form).exists()
            about = exchange.ensure(self.made, folder / form, form, options)
            lost, share = "", 100 * about["outside_of_range"]["share"]
            if about["outside_of_range"]["cut_off"]:
                lost = f", {share:.2f} % of the pixels cut off"
            say(
                f"{form}: {'there already, ' if there else ''}read back, largest difference "
                f"{about['largest_difference']:.2g}{lost}"
            )
            yield folder / form


def _licence(made: CondensedSet) -> str:
    return str((made.source.get("provenance") or {}).get("licence", "unknown"))


def _evaluation(settings: Settings, made: CondensedSet, path: Path) -> dict[str, Any] | None:
    """The result that is named, else the one beside the set if it is of this set."""
    folder = settings.evaluation
    beside = path.parent / "evaluation"
    if folder is None and not (beside / "result.json").is_file():
        return None
    result: dict[str, Any] = runs.read_json((folder or beside) / "result.json")
    try:
        own = result["train"]["fingerprint"] == condensed.fingerprint(made)
        _sentence(result)
    except (KeyError, TypeError, ValueError) as error:
        if folder is None:
            return None
        raise UserError(f"{folder} holds no evaluation; give its --workdir.") from error
    if own:
        return result
    if folder is not None:
        raise UserError(f"{folder} is the evaluation of another set; give that of {path}.")
    return None


def _sentence(result: dict[str, Any]) -> str:
    """An evaluation in words, for the READMEs."""
    spread = f" +- {result['accuracy_std']:.1f}" if result["repeats"] > 1 else ""
    return (
        f"{result['accuracy_mean']:.1f}{spread} % on the test set of {result['test']['name']}, "
        f"last epoch, {result['repeats']} networks ({result['network']['name']}, "
        f"{result['training']['epochs']} epochs)."
    )


def _test_images(settings: Settings, made: CondensedSet, path: Path) -> Dataset | None:
    """The test split of the data set that the set was made from."""
    if not settings.with_test:
        return None
    if settings.data is None:
        return sides.read_test(path.parent, made)
    data = settings.data.like(made)
    if data.load("train").fingerprint != made.source["fingerprint"]:
        raise UserError(
            f"--dataset={data.dataset} is not what {path} was made from: its training images "
            "differ, so that the test images may be among those that the set has seen."
        )
    return data.load("test")
