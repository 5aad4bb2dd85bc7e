"""What is compared with which published number, which settings are named, and how."""

import dataclasses
import json

import pytest

from dancejax import methods, networks, report
from dancejax.report import compare, papers, tables
from dancejax.training import experts
from tests.report.support import CIFAR, as_published, store


def test_published_settings_differ_in_nothing(tmp_path):
    store(tmp_path / "a", "dance", 10, [70.0] * 5 + [71.0] * 5)
    (entry,) = report.collect([tmp_path])
    assert compare.differences(entry) == []
    assert compare.label(entry) == "DANCE"
    paper = compare.published(entry)
    assert (paper.accuracy, paper.std, paper.source) == (70.8, 0.2, "DANCE Table 1")
    (table,) = tables.accuracy_tables([entry])
    (row,) = [dict(zip(table.columns, line, strict=True)) for line in table.rows]
    assert row["accuracy"] == "70.5 +- 0.5" and row["difference"] == "-0.3"
    assert (
        row["best over epochs"] == "72.0"
        and row["deviation over"] == "10 networks"
        and "differs in" not in row
    )


@pytest.mark.parametrize(
    ("changes", "named", "row"),
    [
        ({"factor": 1}, "factor 1 (paper: 2)", 56.1),
        ({"pltda": False}, "pltda off (paper: on)", 64.8),
        ({"calibration": False}, "calibration off (paper: on)", 65.6),
        ({"steps": 300}, "iterations 300 (paper: 10000)", 70.8),
        ({"learning_rate": 0.5}, "learning_rate 0.5 (paper: 0.1)", 70.8),
        ({"learning_rate": None}, None, 70.8),
        ({"pltda": False, "calibration": False}, "pltda off (paper: on)", None),
        ({"network": {**CIFAR, "width": 32}}, "condensed on convnet of width 32", 70.8),
        (
            {"experts": {"count": 3, "training": dataclasses.asdict(
                experts.expert_training(32, epochs=10))}},
            "experts' epochs 10 (paper: 60); number of experts 3 (paper: 5)", 70.2,
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named_and_ablations_find_their_row(changes, named, row, tmp_path):
    settings = as_published("dance", 10, **changes)
    store(tmp_path / "a", "dance", 10, [70.0] * 10, settings=settings)
    (entry,) = report.collect([tmp_path])
    found = "; ".join(map(str, compare.differences(entry)))
    assert found == "" if named is None else named in found
    paper = compare.published(entry)
    assert (paper and paper.accuracy) == row


def test_networks_in_turns_are_in_the_name(tmp_path):
    resnet = networks.identity(networks.create("resnet10", 10, (32, 32, 3), width=16))
    training = dataclasses.asdict(experts.expert_training(32))
    pools = [{"count": 5, "training": training}, {"count": 3, "training": training}]
    settings = as_published("dance", 10, networks=[CIFAR, resnet], experts=pools)
    store(tmp_path / "a", "dance", 10, [70.0] * 10, settings=settings)
    (entry,) = report.collect([tmp_path])
    assert compare.label(entry) == "DANCE, convnet + resnet10, 3 experts"
    found = "; ".join(map(str, compare.differences(entry)))
    assert "networks in turns convnet + resnet10 (paper: convnet)" in found
    assert "condensed on resnet10 of width 16 (paper: 64)" in found


def test_protocol_networks_and_size_are_named(tmp_path):
    store(tmp_path / "a", "dm", 10, [40.0, 42.0], protocol="dance", epochs=300)
    config = {"settings": {"dataset": {"fingerprint": "f", "images": 20000, "name": "cifar10"}}}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    (entry,) = report.collect([tmp_path])
    found = list(map(str, compare.differences(entry)))
    assert "protocol dance (paper: dm)" in found
    assert "evaluation's epochs 300 (dance protocol: 1500)" in found
    assert "networks 2 (paper: 100)" in found
    assert "training images 20000 (paper: 50000)" in found


def test_networks_that_need_a_whole_image_are_compared_at_its_shape(tmp_path):
    """VGG-11 takes 28x28 grey images, which it widens, but not coloured ones."""
    vgg = networks.identity(networks.create("vgg11", 10, (28, 28, 1), width=8))
    store(tmp_path / "a", "dm", 1, [60.0], dataset="fashion_mnist", network=vgg, shape=(28, 28, 1))
    (entry,) = report.collect([tmp_path])
    assert "evaluated on vgg11 of width 8 (paper: 64)" in map(str, compare.differences(entry))


@pytest.mark.parametrize(
    ("method", "changes", "wanted"),
    [
        ("dance", {"experts": 1}, "DANCE, 1 expert"),
        ("dance", {"experts": 3}, "DANCE, 3 experts"),
        ("dance", {"pltda": False}, "DANCE, no PLTDA"),
        ("dance", {"calibration": False, "factor": 1}, "DANCE, factor 1, no calibration"),
        ("m3d", {"kernel": "linear"}, "M3D, kernel linear"),
        ("idm", {}, "IDM"),
    ],
)
def test_labels_are_for_people(method, changes, wanted, tmp_path):
    if "experts" in changes:
        training = dataclasses.asdict(experts.expert_training(32))
        changes = {"experts": {"training": training, "count": changes["experts"]}}
    store(tmp_path / "a", method, 10, [70.0], settings=as_published(method, 10, **changes))
    (entry,) = report.collect([tmp_path])
    assert sorted(compare.label(entry).split(", ")) == sorted(wanted.split(", "))
    assert wanted.split(", ")[0] in report.summary([entry])


def test_papers_tables_are_whole():
    found = papers.accuracies()
    assert len(found) == 443 and len(papers.costs()) == 17
    assert all(0 < row.accuracy <= 100 and (row.std is None or row.std < 10) for row in found)
    published = {
        name for name in methods.METHODS if methods.paper(name, methods.DatasetFacts(), 1).published
    }
    assert {row.paper for row in found} == published == set(methods.METHODS) - {"dancejax"}
    own = papers.published("m3d", "cifar10", 10, {"convnet", "convnet3"})
    assert (own.accuracy, own.source) == (63.5, "M3D Table 2")
    whole = papers.published("whole_dataset", "cifar10", None, {"convnet"})
    assert whole.accuracy == 84.8


def test_names_say_what_varies_between_runs_and_only_that(tmp_path):
    for number, changes in enumerate(({}, {"steps": 300}, {"steps": 300, "init": "real_nearest"})):
        settings = as_published("dm", 10, batch_real=64, **changes)
        store(tmp_path / str(number), "dm", 10, [40.0], settings=settings)
    names = {compare.label(entry) for entry in report.collect([tmp_path])}
    assert names == {"DM", "DM, 300 iterations", "DM, start real nearest, 300 iterations"}
    (alone,) = report.collect([tmp_path / "1"])
    assert compare.label(alone) == "DM"


def test_evaluations_of_one_set_that_differ_have_different_names(tmp_path):
    store(tmp_path / "a", "dm", 10, [40.0])
    store(tmp_path / "b", "dm", 10, [41.0], batch_size=64)
    names = sorted(compare.label(entry) for entry in report.collect([tmp_path]))
    assert names == ["DM", "DM, evaluation's batch size 64"]


def test_settings_that_tables_vary_are_read_from_the_tables():
    assert papers.ablated("dance") == {"pltda", "calibration", "factor", "experts"}
    assert papers.ablated("dm") == {"moments"} and papers.ablated("random") == frozenset()
    assert papers.ablation_row("idm", {"factor": 1}) == "idm_queue_reg"
    assert papers.ablation_row("m3d", {"kernel": "linear"}) is None  # no number in print
    stray = {row.method for row in papers.accuracies() if row.method.startswith(
        tuple(f"{name}_" for name in methods.METHODS))}  # fmt: skip
    tables = [table for name in methods.METHODS for table in methods.ablations(name).values()]
    assert stray <= {row for table in tables for row in table.rows}
