"""Exports a condensed set in forms that other tools read.

    python -m launch.export --condensed=runs/cifar10/ipc10/condensed --formats=png,huggingface \\
        --evaluation=runs/cifar10/ipc10/evaluation --licence=unknown --workdir=runs/cifar10/export

Each form goes to a folder of its name in the work folder, states its pixel range and normalisation,
and is read back and compared before it counts as done. The same command goes on after an
interruption, and more forms add to what is there. --with_test --dataset=... puts the test images
beside the training images.
"""

from pathlib import Path
from typing import Any

from absl import flags

from dancejax import condensed, exchange, runs
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError

from . import common, flagtypes
from .evaluate import set_folder

FLAGS = flags.FLAGS


def check_forms() -> None:
    """Raises UserError for a form that has no place for what is asked for."""
    for form in FLAGS.formats:
        if FLAGS.with_test and form not in exchange.with_test():
            raise UserError(
                f"{form} has no place for test images; --with_test is for "
                f"{', '.join(exchange.with_test())}."
            )


def evaluation(made: CondensedSet, path: Path) -> dict[str, Any] | None:
    """The result that --evaluation names, else the one beside the set if it is of this set."""
    folder = FLAGS.evaluation
    beside = path.parent / "evaluation"
    if folder is None and not (beside / "result.json").is_file():
        return None
    result = runs.read_json((folder or beside) / "result.json")
    try:
        own = result["train"]["fingerprint"] == condensed.fingerprint(made)
        sentence(result)
    except (KeyError, TypeError, ValueError) as error:
        if folder is None:
            return None
        raise UserError(f"{folder} holds no evaluation; give its --workdir.") from error
    if own:
        return result
    if folder is not None:
        raise UserError(f"{folder} is the evaluation of another set; give that of {path}.")
    return None


def sentence(result: dict[str, Any]) -> str:
    """An evaluation in words, for the READMEs."""
    spread = f" +- {result['accuracy_std']:.1f}" if result["repeats"] > 1 else ""
    return (
        f"{result['accuracy_mean']:.1f}{spread} % on the test set of {result['test']['name']}, "
        f"last epoch, {result['repeats']} networks ({result['network']['name']}, "
        f"{result['training']['epochs']} epochs)."
    )


_KEPT = (
    "accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats", "protocol", "network",
    "training", "test",
)  # fmt: skip


def test_images(made: CondensedSet, path: Path) -> Dataset | None:
    """The test split of the data set that the set was made from, with --with_test."""
    if not FLAGS.with_test:
        return None
    if FLAGS.dataset is None:
        raise UserError("--with_test needs --dataset, the data set that the set was made from.")
    if common.load_as(made, "train").fingerprint != made.source["fingerprint"]:
        raise UserError(
            f"--dataset={FLAGS.dataset} is not what {path} was made from: its training images "
            "differ, so that the test images may be among those that the set has seen."
        )
    return common.load_as(made, "test")


def main() -> None:
    common.check_workdir()
    check_forms()
    path = set_folder(FLAGS.condensed)
    made = condensed.load(path)
    result, test = evaluation(made, path), test_images(made, path)
    workdir = common.make_workdir()
    for form in exchange.FORMS:
        exchange.clear(workdir / form)
    options = exchange.ExportOptions(
        decoded=FLAGS.images == "decoded",
        licence=FLAGS.licence,
        accuracy=sentence(result) if result else None,
        evaluation={k: result[k] for k in _KEPT if k in result} if result else None,
        test=test,
    )
    for form in FLAGS.formats:
        there = (workdir / form).exists()
        about = exchange.ensure(made, workdir / form, form, options)
        lost, share = "", 100 * about["outside_of_range"]["share"]
        if about["outside_of_range"]["cut_off"]:
            lost = f", {share:.2f} % of the pixels cut off"
        common.say(
            f"{form}: {'there already, ' if there else ''}read back, largest difference "
            f"{about['largest_difference']:.2g}{lost}"
        )
        common.show(str(workdir / form))


if __name__ == "__main__":
    common.define_data(required=False)
    flagtypes.define_path("condensed", None, "folder of a condensed set or coreset", required=True)
    flagtypes.define_choices(
        "formats",
        None,
        "some of " + ", ".join(f"{name} ({form.title})" for name, form in exchange.FORMS.items()),
        list(exchange.FORMS),
        required=True,
    )
    flags.DEFINE_enum(
        "images", "decoded", ["decoded", "stored"],
        "the training images, or the stored ones that readers decode "
        f"({', '.join(exchange.with_stored())})",
    )  # fmt: skip
    flags.DEFINE_bool(
        "with_test",
        False,
        f"write the test images of --dataset, too, into {', '.join(exchange.with_test())}",
    )
    flagtypes.define_path(
        "evaluation",
        None,
        "work folder of launch.evaluate, for the READMEs (default: the folder evaluation beside "
        "the set, if there is one)",
    )
    flags.DEFINE_string("licence", "unknown", "of the source data, an identifier such as mit")
    flagtypes.define_path("workdir", None, "folder for the exports", required=True)
    common.run(main)
