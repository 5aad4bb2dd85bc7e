"""Cells of a grid: a finished set is taken for what it was made with."""

import dataclasses
import shutil

import pytest

from dancejax.applications import grid, grid_check
from dancejax.applications.cell import Cell
from dancejax.applications.settings import DataSettings, ExpertSettings
from dancejax.errors import UserError
from dancejax.runs import Run
from dancejax.training import experts

SMALL = {"batch_real": 8}


@pytest.fixture
def small(train, test, network, pool_folder, tmp_path):
    settings = grid.Settings(
        DataSettings("embedded"),
        ["dance", "dm"],
        steps=1,
        config=SMALL,
        experts=ExpertSettings(folder=pool_folder),
    )
    return grid.Grid(settings, train, test, network, Run(tmp_path))


def by(small, **given):
    """The same grid with other experts."""
    changed = dataclasses.replace(small.settings.experts, **given)
    return small._replace(settings=dataclasses.replace(small.settings, experts=changed))


def test_a_set_of_other_experts_is_no_answer(small, tmp_path):
    cell = Cell("dance", 1, 0, "")
    made = grid.make(cell, small)
    assert made.settings["experts"]["count"] == 2
    again = grid.make(cell, by(small, count=2))
    assert (again.images == made.images).all()
    with pytest.raises(UserError, match="count"):
        grid.make(cell, by(small, count=1))
    other = tmp_path / "other"
    config = experts.expert_training(28, epochs=1, batch_size=16)
    experts.train_pool(small.train, small.network, config, count=2, run=other)
    with pytest.raises(UserError, match="epochs"):
        grid.make(cell, by(small, folder=other))


def test_a_set_of_another_network_is_no_answer(small):
    cell = Cell("dm", 1, 0, "")
    made = grid.make(cell, small)
    assert (grid.make(cell, small).images == made.images).all()
    wider = small._replace(network=small.network.clone(width=4))
    with pytest.raises(UserError, match="width"):
        grid.make(cell, wider)
    grid_check.check_there([cell], small)
    with pytest.raises(UserError, match="width"):
        grid_check.check_there([cell], wider)


def test_experts_of_other_settings_are_said_before_anything_is_made(small, pool_folder, tmp_path):
    shutil.copytree(pool_folder, tmp_path / "experts")
    trained = {"epochs": 3, "batch_size": 16, "snapshots": 2}
    own = by(small, folder=None, **trained)
    grid_check.check_there([], own)
    with pytest.raises(UserError, match="epochs"):
        grid_check.check_there([], by(own, epochs=4))
