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
from typing import Any

from absl import flags

from dancejax import choices, runs
from dancejax.applications import picture

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


def read() -> tuple[picture.Settings, Path | None]:
    """What is drawn, and the folder for it, if one is named."""
    names = {field.name for field in dataclasses.fields(picture.Settings)} - {"data"}
    given: dict[str, Any] = {name: FLAGS[name].value for name in names}
    data = settings.data() if FLAGS.dataset else None
    return picture.Settings(data=data, **given), FLAGS.workdir


def main() -> None:
    given, workdir = read()
    run = runs.Run(runs.check_workdir(workdir or given.run / "pictures"))
    common.show("\n".join(map(str, picture.draw(given, run=run))))


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
