"""The sentences over a report of one's own data: their arithmetic, and nothing unmeasured."""

import pytest

from dancejax import networks, report
from dancejax.report import headline
from tests.report.support import store, store_pool


def said(folder) -> list[str]:
    return headline.sentences(report.collect([folder]))


def test_condensed_images_stand_beside_all_and_random_ones(tmp_path):
    store(tmp_path / "made", "dance", 10, [45.0, 45.4], dataset="photos")
    store(tmp_path / "random", "random", 10, [21.7], dataset="photos", settings={})
    store_pool(tmp_path / "experts", [50.8], dataset="photos", images=10_000)
    assert said(tmp_path) == [
        "100 images reach 45.2 %, all 10,000 reach 50.8 %: 89 % of it with 1 % of the images; "
        "random ones 21.7 %."
    ]


def test_what_was_not_measured_is_not_said(tmp_path):
    store(tmp_path / "made", "dance", 10, [45.2], dataset="photos")
    assert said(tmp_path) == ["100 images reach 45.2 %."]
    store_pool(tmp_path / "experts", [50.8], dataset="photos")
    assert said(tmp_path) == ["100 images reach 45.2 %, all reach 50.8 %: 89 % of it."]


def test_other_networks_and_other_training_do_not_count(tmp_path):
    store(tmp_path / "made", "dance", 10, [45.2], dataset="photos")
    wide = networks.identity(networks.create("convnet", 10, (32, 32, 3), width=16))
    store(tmp_path / "random", "random", 10, [30.0], dataset="photos", settings={}, network=wide)
    store(tmp_path / "long", "random", 10, [31.0], dataset="photos", settings={}, epochs=7)
    assert said(tmp_path) == ["100 images reach 45.2 %."]


def test_the_best_method_of_each_number_of_images_is_named(tmp_path):
    for name, method, ipc, value in (
        ("a", "dm", 1, 30.0), ("b", "dance", 1, 20.0), ("c", "dance", 10, 40.0),
    ):  # fmt: skip
        store(tmp_path / name, method, ipc, [value], dataset="photos")
    assert said(tmp_path) == [
        "10 images (by DM) reach 30.0 %.",
        "100 images (by DANCE) reach 40.0 %.",
    ]


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.01, "1 %"), (0.00167, "0.17 %"), (0.104, "10 %"), (0.0164, "1.6 %")]
)
def test_small_shares_keep_two_digits(share, wanted):
    assert headline.percent(share) == wanted
