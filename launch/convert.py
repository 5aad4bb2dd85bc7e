"""Turns someone else's condensed set into ours, to be evaluated as ours are.

    python -m launch.convert --source=theirs.pt --pixel_values=normalised --dataset=cifar10 \\
        --workdir=runs/theirs
    python -m launch.evaluate --dataset=cifar10 --condensed=runs/theirs/condensed \\
        --workdir=runs/theirs/evaluation

--source is a folder with a folder of images for each class, an .npz, .safetensors or PyTorch file
(which is read without running any code in it), or an export of ours. --dataset is what it was
condensed from. Numbers that fit another meaning of the pixels far better are refused, and so are
collages without --factor.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import choices, exchange, runs
from dancejax.applications import convert
from dancejax.errors import UserError

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def numbers(name: str) -> list[float] | None:
    given: list[str] = FLAGS[name].value or []
    try:
        return [float(value) for value in given] or None
    except ValueError as error:
        raise UserError(f"--{name} must be numbers, not {','.join(given)}.") from error


def read() -> tuple[convert.Settings, Path]:
    """What is read, and the work folder."""
    names = {field.name for field in dataclasses.fields(exchange.ReadOptions)} - {"mean", "std"}
    given: dict[str, Any] = {name: FLAGS[name].value for name in names}
    reading = exchange.ReadOptions(mean=numbers("mean"), std=numbers("std"), **given)
    return convert.Settings(FLAGS.source, settings.data(), reading), settings.folder()


def main() -> None:
    given, folder = read()
    made = convert.read(given)
    run = runs.Run(common.make_workdir(folder))
    common.show(str(convert.save(made, run=run, say=common.say)))


if __name__ == "__main__":
    settings.define_data()
    flagtypes.define_path("source", None, "the condensed set", required=True)
    flagtypes.define_path(
        "labels",
        None,
        "a file with its labels, if they are "
        "neither with the images nor in the file beside that has labels for images in its name",
    )
    flags.DEFINE_enum(
        "soft_labels",
        None,
        choices.SOFT_LABELS,
        "what labels of several numbers an image are: shares of the classes, or logits",
    )
    flags.DEFINE_enum(
        "pixel_values",
        "unit",
        choices.PIXELS,
        "what the numbers mean: unit is [0, 1], byte 0 to 255, normalised (pixel - mean) / std, "
        "whitened by ZCA over the training images, which is undone",
    )
    usual = "of the normalisation (default: the data set's, and none before a whitening)"
    flags.DEFINE_list("mean", [], usual)
    flags.DEFINE_list("std", [], usual)
    flags.DEFINE_integer(
        "factor",
        None,
        "tiles a side that each image is cut into (default: 1, but images that look like collages "
        "are refused)",
        lower_bound=1,
    )
    flags.DEFINE_bool(
        "check_pixels", True, "refuse --pixel_values where another choice fits the data far better"
    )
    flags.DEFINE_string("method", "foreign", "the name that reports give it")
    flagtypes.define_path("workdir", None, "folder for the result", required=True)
    common.run(main)
