"""Exports a condensed set in forms that other tools read.

    python -m launch.export --condensed=runs/cifar10/ipc10/condensed --formats=png,huggingface \\
        --evaluation=runs/cifar10/ipc10/evaluation --licence=unknown --workdir=runs/cifar10/export

png: a folder for each class. npz, safetensors: float32 arrays. torch: safetensors with normalised
NCHW tensors, for safetensors.torch.load_file. ddranking: what that package evaluates. tfds: a
prepared TFDS data set. huggingface: a dataset folder with Parquet and a card. Each goes to a folder
of its name in the work folder, states its pixel range and normalisation, and is read back and
compared before it counts as done. The same command goes on after an interruption, and more forms
add to what is there. --with_test --dataset=... puts the test images beside the training images;
for a run on a folder of images --with_test alone finds them by the run's split.json.
"""

from __future__ import annotations

from absl import flags

from dancejax import exchange
from dancejax.applications import exporting

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def read() -> exporting.Settings:
    """What is exported, and how."""
    return exporting.Settings(
        FLAGS.condensed,
        FLAGS.formats,
        decoded=FLAGS.images == "decoded",
        evaluation=FLAGS.evaluation,
        licence=FLAGS.licence,
        data=settings.data() if FLAGS.dataset else None,
        with_test=FLAGS.with_test,
    )


def main() -> None:
    folder = settings.folder()
    export = exporting.prepare(read())
    for path in export.write(common.make_workdir(folder), say=common.say):
        common.show(str(path))


if __name__ == "__main__":
    settings.define_data(required=False)
    flagtypes.define_path("condensed", None, "folder of a condensed set or coreset", required=True)
    flagtypes.define_choices(
        "formats",
        None,
        "some of " + ", ".join(f"{name} ({form.title})" for name, form in exchange.FORMS.items()),
        list(exchange.FORMS),
        required=True,
    )
    flags.DEFINE_enum(
        "images",
        "decoded",
        ["decoded", "stored"],
        "the training images, or the stored ones that readers decode "
        f"({', '.join(exchange.with_stored())})",
    )
    flags.DEFINE_bool(
        "with_test",
        False,
        "write the test images, too, of --dataset or of the run on a folder of images, into "
        f"{', '.join(exchange.with_test())}",
    )
    flagtypes.define_path(
        "evaluation",
        None,
        "work folder of launch.evaluate, for the READMEs (default: the folder evaluation beside "
        "the set, if there is one)",
    )
    flags.DEFINE_string(
        "licence",
        None,
        "of the source data, an identifier such as mit (default: what the source states, else "
        "unknown)",
    )
    flagtypes.define_path("workdir", None, "folder for the exports", required=True)
    common.run(main)
