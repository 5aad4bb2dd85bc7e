"""Applications whose parts can be made apart: what their parts are, and parts made as calls."""

import re
from pathlib import Path

import pytest

from dancejax import Run
from dancejax.applications import analyse, continual, cross, grid, nas
from dancejax.applications.programs import (
    analyse as analyse_program,
    continual as continual_program,
    cross as cross_program,
    nas as nas_program,
    sweep as sweep_program,
)
from dancejax.applications.settings import DataSettings, EvaluationSettings
from dancejax.condensed import save
from dancejax.coreset import random

ROOT = Path(__file__).resolve().parents[2]
DATA = DataSettings("fashion_mnist_mini")


def programs(folder):
    run, sets = Run(folder), {"a": folder / "sets" / "a"}
    return {
        "sweep": sweep_program.Sweep(
            grid.Settings(DATA, ["dm", "dance", "random"], [1, 2], seeds=[0, 1]), run
        ),
        "cross": cross_program.Cross(
            cross.Settings({"a": None}, ["convnet", "resnet10:width=16"], DATA), sets, run
        ),
        "analyse": analyse_program.Analyse(
            analyse.Settings(sets, ["moments", "discrepancy"], DATA), run
        ),
        "continual": continual_program.Continual(
            continual.Settings(DATA, ["dance", "random"], orders=2, whole_epochs=1), run
        ),
        "nas": nas_program.Nas(
            nas.Settings(DATA, "depth=2,3 width=8", coresets=["random"]), [sets["a"]], run
        ),
    }


def flags_of(name):
    """The flags of a program, from the page of all flags."""
    found = set()
    for section in (ROOT / "docs/flags.md").read_text().split("\n## ")[1:]:
        head, _, rest = section.partition("\n")
        if name in head.split(", "):
            found |= set(re.findall(r"^\| `--(\w+)`", rest, re.M))
    return found


@pytest.mark.parametrize("name", ["sweep", "cross", "analyse", "continual", "nas"])
def test_parts_can_be_made_in_order_and_apart(name, tmp_path):
    parts = programs(tmp_path)[name].parts()
    names = [part.name for part in parts]
    assert len(set(names)) == len(names) > 1
    assert len({part.folder for part in parts}) == len(parts)
    for number, part in enumerate(parts):
        assert part.folder.is_relative_to(tmp_path)
        assert set(part.after) <= set(names[:number])
        assert set(part.changes) <= flags_of(name)
    assert not list(tmp_path.iterdir())


def test_parts_stay_the_same_when_there_are_more(tmp_path):
    def found(**more):
        settings = grid.Settings(DATA, ["dance"], [1], **more)
        return sweep_program.Sweep(settings, Run(tmp_path)).parts()

    assert found() == [part for part in found(seeds=[0, 1]) if "seed1" not in part.name]


def test_methods_wait_for_the_experts_of_their_own_order(tmp_path):
    after = {part.name: part.after for part in programs(tmp_path)["continual"].parts()}
    assert after["order-1-dance"] == ("order-1-experts",) and after["order-1-random"] == ()


def test_cells_made_one_by_one_come_to_what_all_together_do(tmp_path):
    train = DATA.load("train")
    sets = {label: random(train, 1, seed=seed) for seed, label in enumerate("ab")}
    folders, began = {label: tmp_path / "sets" / label for label in sets}, []
    for label, made in sets.items():
        save(made, folders[label])
    how = EvaluationSettings("dm", epochs=1, repeats=1)
    table = cross.Settings(sets, ["convnet:width=4"], DATA, evaluation=how)
    whole = cross_program.Cross(table, folders, Run(tmp_path / "whole", progress=False))
    shown = whole.make_all(began.append)
    apart = cross_program.Cross(table, folders, Run(tmp_path / "apart", progress=False))
    assert apart.collect() == "" and began == [None]
    parts = apart.parts()
    make = apart.maker([part.name for part in parts])
    for part in reversed(parts):
        result = make(part.name)
        assert (part.folder / part.result).exists()
        assert apart.describe(part.name, result) == f"{result['accuracy_mean']:.1f} %"
    assert apart.collect() == shown
