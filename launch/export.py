"""Exports a condensed set in forms that other tools read.

    python -m launch.export --condensed=runs/cifar10/ipc10/condensed --formats=png,huggingface \\
        --evaluation=runs/cifar10/ipc10/evaluation --licence=unknown --workdir=runs/cifar10/export

png: a folder for each class. npz, safetensors: float32 arrays. torch: safetensors with normalised
NCHW tensors, for safetensors.torch.load_file. ddranking: what that package evaluates. tfds: a
prepared TFDS data set. huggingface: a dataset folder with Parquet and a card. Each goes to a folder
of its name in the work folder, states its pixel range and normalisation, and is read back and
compared before it counts as done.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dancejax import condensed, exchange, runs
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError

from . import common, flagtypes

FLAGS = flags.FLAGS


def accuracy_sentence() -> str | None:
    """What --evaluation says, for the READMEs."""
    if not FLAGS.evaluation:
        return None
    result = runs.read_json(FLAGS.evaluation / "result.json")
    try:
        return (
            f"{result['accuracy_mean']:.1f} +- {result['accuracy_std']:.1f} % on the test set of "
            f"{result['test']['name']}, last epoch, {result['repeats']} networks "
            f"({result['network']['name']}, {result['training']['epochs']} epochs)."
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{FLAGS.evaluation} holds no evaluation; give its --workdir.") from error


def check(made: CondensedSet, path: Path, about: dict[str, Any]) -> float:
    """Reads an export back; the largest difference of a decoded pixel, in [0, 1] units."""
    back = exchange.read(path)
    wanted, labels = (np.asarray(x) for x in made.decoded())
    found, numbers = (np.asarray(x) for x in back.decoded())
    if about["outside_of_range"]["cut_off"]:
        wanted = np.clip(wanted, 0, 1)
    allowed = 0.51 / 255 if about["outside_of_range"]["cut_off"] else 1e-5
    order, found_order = (np.argsort(x, kind="stable") for x in (labels, numbers))
    same = np.array_equal(labels[order], numbers[found_order])
    worst = float(np.abs(wanted[order] - found[found_order]).max()) if same else float("inf")
    # Decoding after cutting off is not cutting off after decoding.
    if not same or (worst > allowed and about["images"] == "decoded"):
        raise UserError(f"{path} does not read back as it was written; check the disk.")
    return worst


def main() -> None:
    common.check_workdir()
    made = condensed.load(FLAGS.condensed)
    sentence = accuracy_sentence()
    workdir = common.make_workdir()
    for form in FLAGS.formats:
        about = exchange.export(
            made,
            workdir / form,
            form,
            decoded=FLAGS.images == "decoded",
            licence=FLAGS.licence,
            accuracy=sentence,
        )
        worst = check(made, workdir / form, about)
        share = 100 * about["outside_of_range"]["share"]
        lost = (
            f", {share:.2f} % of the pixels cut off" if about["outside_of_range"]["cut_off"] else ""
        )
        common.say(f"{form}: read back, largest difference {worst:.2g}{lost}")
        common.show(str(workdir / form))


if __name__ == "__main__":
    flagtypes.define_path("condensed", None, "folder of a condensed set or coreset", required=True)
    flagtypes.define_choices(
        "formats", None, f"some of {', '.join(exchange.FORMS)}", exchange.FORMS, required=True
    )
    flags.DEFINE_enum(
        "images", "decoded", ["decoded", "stored"],
        "the training images, or the stored ones that readers decode (png, npz, safetensors)",
    )  # fmt: skip
    flagtypes.define_path("evaluation", None, "work folder of launch.evaluate, for the READMEs")
    flags.DEFINE_string("licence", "unknown", "of the source data, an identifier such as mit")
    flagtypes.define_path("workdir", None, "folder for the exports", required=True)
    common.run(main)
