"""The sweep's own tables."""

from dancejax.applications import cross, grid_table


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
