"""The sweep's own tables."""

import pytest

from dancejax import methods
from dancejax.applications import cross, grid, grid_table
from dancejax.applications.cell import Cell, plan_of, variants_of
from dancejax.applications.settings import DataSettings
from dancejax.errors import UserError
from dancejax.methods import DatasetFacts


def row(seed, mean, repeats=2, variant="", **changes):
    return {
        "method": "dance", "ipc": 10, "seed": seed, "variant": variant, "accuracy_mean": mean,
        "accuracy_std": 0.5, "best_over_epochs_mean": mean, "repeats": repeats,
        "protocol": "dance", "epochs": 30, "iterations": 5, "seconds_per_iteration": 0.1,
        "step_memory_mb": 7.0, **changes,
    }  # fmt: skip


def cells(text):
    head, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_seeds_of_a_cell_are_one_line_with_the_deviation_over_sets():
    rows = [row(0, 60.0), row(1, 62.0), row(2, 64.0), row(0, 50.0, variant="pltda=false")]
    several, one = cells(grid_table.table(rows))
    assert several["accuracy, last epoch (%)"] == "62.0 +- 2.0"
    assert several["deviation over"] == "3 sets, 2 networks each" and several["seeds"] == "0, 1, 2"
    assert one["accuracy, last epoch (%)"] == "50.0 +- 0.5"
    assert one["deviation over"] == "2 networks" and one["variant"] == "pltda=false"


def test_one_network_has_no_deviation():
    (line,) = cells(grid_table.table([row(0, 60.0, repeats=1)]))
    assert line["accuracy, last epoch (%)"] == "60.0" and line["deviation over"] == "1 network"
    found = cross.table([
        {"set": "a|b", "network": "n", "accuracy_mean": 1.0, "accuracy_std": 0.0, "repeats": 1}
    ])  # fmt: skip
    assert found.endswith("| a\\|b | 1.0 |")


def test_published_numbers_stand_beside_where_there_are_some():
    one = {"accuracy": 64.8, "std": 0.1, "source": "DANCE Table 5"}
    rows = [row(0, 60.0, variant="pltda=false", published=one), row(0, 70.0, published=None)]
    found = [line["published"] for line in cells(grid_table.table(rows))]
    assert found == ["64.8 +- 0.1 (DANCE Table 5)", "-"]
    assert "published" not in grid_table.table(rows[1:])


def test_variants_go_to_the_methods_that_have_them_or_to_the_one_they_name():
    variants = ["factor=1", "idm:factor=3", "kernel=linear"]
    assert variants_of("idm", variants) == ["factor=1", "factor=3"]
    assert variants_of("dm", variants) == ["factor=1"]
    assert variants_of("random", variants) == []
    source = DataSettings("fashion_mnist_mini")
    names = [c.name for c in grid.Settings(source, ["idm", "dm"], [1], variants=variants[1:2],
                                           plain=False).cells()]  # fmt: skip
    assert names == ["idm-ipc1-seed0-factor=3", "dm-ipc1-seed0"]
    for names, variant, noun in ((["dm"], "idm:factor=3", "has not"), (["dm"], "kern=1", "kern"),
                                   (["dm"], "iterations=0", "iterations")):  # fmt: skip
        with pytest.raises(UserError, match=noun):
            grid.Settings(source, names, [1], variants=[variant]).cells()


@pytest.mark.parametrize("name", methods.METHODS)
def test_ablations_are_settings_that_their_method_has(name, network):
    for table in methods.ablations(name).values():
        for settings in table.rows.values():
            variant = ",".join(f"{key}={value}".lower() for key, value in settings.items())
            parsed = Cell(name, 10, variant=variant).settings()
            assert parsed == settings
            plan = plan_of(Cell(name, 10, variant=variant), DatasetFacts(), None, {})
            usual = methods.paper(name, DatasetFacts(), 10).steps
            assert plan.steps == settings.get("iterations", usual)
            methods.create(name, network, **plan.settings)
