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

from absl import flags

from dancejax import condensed, exchange
from dancejax.errors import UserError

from . import common, flagtypes

FLAGS = flags.FLAGS


def numbers(name: str) -> list[float] | None:
    given: list[str] = FLAGS[name].value or []
    try:
        return [float(value) for value in given] or None
    except ValueError as error:
        raise UserError(f"--{name} must be numbers, not {','.join(given)}.") from error


def main() -> None:
    common.check_workdir()
    source = FLAGS.source
    if exchange.is_export(source):
        made = exchange.read(source)
    else:
        options = exchange.ReadOptions(
            pixel_values=FLAGS.pixel_values,
            mean=numbers("mean"),
            std=numbers("std"),
            factor=FLAGS.factor,
            labels=FLAGS.labels,
            method=FLAGS.method,
            check_pixels=FLAGS.check_pixels,
        )
        made = exchange.read_foreign(source, common.load("train"), options)
    workdir = common.make_workdir()
    condensed.save(made, workdir / "condensed")
    common.say(
        f"{len(made.images)} images of {made.num_classes} classes; look at "
        f"{workdir / 'condensed' / 'preview.png'} to see whether the pixels are right"
    )
    common.show(str(workdir / "condensed"))


if __name__ == "__main__":
    common.define_data()
    flagtypes.define_path("source", None, "the condensed set", required=True)
    flagtypes.define_path("labels", None, "a file with its labels, if they are not with the images")
    flags.DEFINE_enum(
        "pixel_values", "unit", exchange.PIXELS,
        "what the numbers mean: unit is [0, 1], byte 0 to 255, normalised (pixel - mean) / std",
    )  # fmt: skip
    flags.DEFINE_list("mean", [], "of the normalisation (default: the data set's)")
    flags.DEFINE_list("std", [], "of the normalisation (default: the data set's)")
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
