"""Gives a condensed set or coreset soft labels: what experts say of its training images.

    python -m launch.label --condensed=runs/cifar10/ipc10/condensed \\
        --expert_dir=runs/cifar10/experts --workdir=runs/cifar10/ipc10-soft
    python -m launch.evaluate --dataset=cifar10 --condensed=runs/cifar10/ipc10-soft/condensed \\
        --protocol=dance_soft --workdir=runs/cifar10/ipc10-soft/evaluation

The set with its soft labels is a set of its own in the work folder, which every program takes, and
exports have them, too. Protocols whose name ends in _soft train on them. Label random images with
the same experts, too (launch.select): much of what soft labels bring they bring to any images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from dancejax import condensed, labelling
from dancejax.applications import assess
from dancejax.errors import UserError
from dancejax.training import experts

from . import common, flagtypes, settings

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is labelled, by which experts: flags of the same names."""

    condensed: Path
    expert_dir: Path
    experts: int | None
    temperature: float
    correct: bool


def read() -> Settings:
    """What the flags ask for."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given: dict[str, Any] = {name: FLAGS[name].value for name in names}
    return Settings(**given)


def main() -> None:
    given, folder = read(), settings.folder()
    condensed.check_place(folder / "condensed")
    made = assess.load_set(given.condensed)
    pool = experts.load_pool(given.expert_dir, count=given.experts)
    soft = labelling.soften(made, pool, temperature=given.temperature, correct=given.correct)
    place = folder / "condensed"
    if (place / "manifest.json").exists():
        if condensed.fingerprint(condensed.load(place)) != condensed.fingerprint(soft):
            raise UserError(f"{place} holds another set; choose another --workdir, or remove it.")
    else:
        common.make_workdir(folder)
        condensed.save(soft, place)
    common.say(f"{len(soft.images)} images with the soft labels of {pool.count} experts")
    common.show(str(place))


if __name__ == "__main__":
    flagtypes.define_path("condensed", None, "folder of a condensed set or coreset", required=True)
    flagtypes.define_path("expert_dir", None, "pool of experts, of its data set", required=True)
    flags.DEFINE_integer(
        "experts", None, "how many of the pool, the first ones (default: all)", lower_bound=1
    )
    flagtypes.define_number("temperature", 1.0, "logits are divided by it before softmax", above=0)
    flags.DEFINE_bool(
        "correct", True, "images that the experts take for another class keep their hard label"
    )
    flagtypes.define_path("workdir", None, "folder for the result", required=True)
    common.run(main)
