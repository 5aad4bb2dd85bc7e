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
from typing import TYPE_CHECKING, Any

from absl import flags

from dancejax import choices, condensed, exchange
from dancejax.errors import UserError

from . import common, flagtypes, settings

if TYPE_CHECKING:
    from dancejax.applications.settings import DataSettings
    from dancejax.condensed import CondensedSet

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """Someone else's set, and what it was condensed from; the rest are flags."""

    source: Path
    data: DataSettings
    pixel_values: str
    mean: list[float] | None
    std: list[float] | None
    factor: int | None
    labels: Path | None
    soft_labels: str | None
    method: str
    check_pixels: bool


def numbers(name: str) -> list[float] | None:
    given: list[str] = FLAGS[name].value or []
    try:
        return [float(value) for value in given] or None
    except ValueError as error:
        raise UserError(f"--{name} must be numbers, not {','.join(given)}.") from error


def read() -> Settings:
    apart = ("data", "mean", "std")
    names = [f.name for f in dataclasses.fields(Settings) if f.name not in apart]
    given: dict[str, Any] = {name: FLAGS[name].value for name in names}
    return Settings(data=settings.data(), mean=numbers("mean"), std=numbers("std"), **given)


def convert(given: Settings) -> CondensedSet:
    if exchange.is_export(given.source):
        return exchange.read(given.source)
    options = {f.name: getattr(given, f.name) for f in dataclasses.fields(exchange.ReadOptions)}
    train = given.data.load("train")
    return exchange.read_foreign(given.source, train, exchange.ReadOptions(**options))


def check_place(made: CondensedSet, folder: Path) -> None:
    """Raise UserError if the folder holds another set."""
    if not (folder / "manifest.json").exists():
        return
    if condensed.fingerprint(condensed.load(folder)) != condensed.fingerprint(made):
        raise UserError(f"{folder} holds another set; choose another --workdir, or remove it.")


def main() -> None:
    folder = settings.folder()
    made = convert(read())
    check_place(made, folder / "condensed")
    workdir = common.make_workdir(folder)
    condensed.save(made, workdir / "condensed")
    common.say(
        f"{len(made.images)} images of {made.num_classes} classes; look at "
        f"{workdir / 'condensed' / 'preview.png'} to see whether the pixels are right"
    )
    common.show(str(workdir / "condensed"))


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
