"""Spaces of networks, rank correlations, and what a search came to."""

import numpy as np
import pytest
from scipy import stats

from dancejax import registries, report
from dancejax.applications import ranking, spaces
from dancejax.applications.ranking import Proxy, Result
from dancejax.applications.settings import NetworkSettings
from dancejax.errors import UserError


def test_dm720_are_the_720_networks_of_dms_table():
    space = spaces.parse("dm720")
    assert np.prod([len(values) for values in space.values()]) == 720
    assert spaces.parse(spaces.describe(space)) == space


def test_a_space_is_the_product_of_its_options_over_the_networks_own(train):
    base = NetworkSettings(options={"norm": "none", "depth": 1})
    found = spaces.create(spaces.parse("depth=1,2 width=4,8"), train, base)
    assert [(net.depth, net.width, net.norm) for net in found.values()] == [
        (1, 4, "none"), (1, 8, "none"), (2, 4, "none"), (2, 8, "none")
    ]  # fmt: skip
    name, options = registries.parse_network(list(found)[2])
    assert (name, options) == ("convnet", {"depth": 2, "width": 4})


@pytest.mark.parametrize(
    ("space", "noun"),
    [
        ("", "empty"),
        ("depth", "option"),
        ("depth=1,,2", "option"),
        ("depth=1,1", "twice"),
        ("depth=1 depth=2", "twice"),
        ("depth=9", "depth"),
        ("colour=red", "colour"),
        ("norm=best", "norm"),
        ("width=6 norm=group", "groups"),
    ],
)
def test_spaces_without_networks_are_refused(space, noun, train):
    with pytest.raises(UserError, match=noun):
        spaces.create(spaces.parse(space), train, NetworkSettings())


def test_correlation_is_scipys_with_its_bootstrap():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40).round(1)
    y = x + rng.normal(size=40)
    found = ranking.correlation(x.tolist(), y.tolist(), resamples=500)
    assert found.value == stats.spearmanr(x, y).statistic and found.networks == 40
    wanted = stats.bootstrap(
        (x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False,
        n_resamples=500, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose((found.low, found.high), wanted, rtol=1e-12)


def test_correlations_of_few_or_equal_networks():
    assert ranking.correlation([1, 2], [1, 2], resamples=9).value is None
    assert ranking.correlation([1, 1, 1], [1, 2, 3], resamples=9).value is None
    found = ranking.correlation([1, 2, 3], [1, 3, 2], resamples=200)  # some resamples are equal
    assert found.value == 0.5 and -1 <= found.low <= found.high <= 1


def result(task="", whole=True):
    """Four networks, ranked as a, b, c, d by the whole set and b, a, d, c by the proxy."""
    proxies = [Proxy("mine", "dm", 20, 5), Proxy(ranking.WHOLE, "whole_dataset", 900, 50)]
    validation = {"mine": (50.0, 60.0, 30.0, 40.0), ranking.WHOLE: (91.0, 90.0, 80.0, 70.0)}
    test = dict(zip("abcd", (90.0, 89.0, 79.0, 69.0), strict=True))
    return Result(
        "cifar10", task, tuple("abcd"), 4, tuple(proxies[: 1 + whole]), validation,
        test if whole else {"b": 89.0}, {"mine": (60.0,) * 4, ranking.WHOLE: (120.0,) * 4},
        share=0.75,
    )  # fmt: skip


def test_a_proxy_chooses_by_its_validation_accuracy():
    mine, whole = (result().choice(proxy) for proxy in result().proxies)
    assert (mine.network, mine.validation, mine.accuracy, mine.minutes) == ("b", 60.0, 89.0, 4.0)
    assert (whole.network, whole.accuracy) == ("a", 90.0)
    every = stats.spearmanr((50, 60, 30, 40), (90, 89, 79, 69)).statistic
    top = stats.spearmanr((60, 50, 40), (89, 90, 69)).statistic
    assert mine.every.value == pytest.approx(every) and mine.top.value == pytest.approx(top)
    assert mine.top.networks == 3 and whole.every.value == 1


def test_without_the_whole_set_there_is_no_correlation():
    (proxy,) = result(whole=False).proxies
    found = result(whole=False).choice(proxy)
    assert found.accuracy == 89.0 and found.top is found.every is None


def test_papers_values_stand_beside_their_own_search():
    text = result("nas_cifar10_720_convnets_50ipc").table()
    assert "82.8, 0.76, 142.6 (DM Table 5)" in text and "85.9, 1, 3580.2" in text
    assert "papers" not in result().table()


def test_the_ranking_has_a_line_for_each_network():
    lines = result().csv().splitlines()
    assert lines[0] == "network,mine,whole,whole_test" and lines[2] == "b,60.0,90.0,89.0"


def test_reports_have_a_section_of_it(tmp_path):
    result().write(tmp_path)
    content = report.gather([tmp_path])
    (section,) = content.analyses
    every = stats.spearmanr((50, 60, 30, 40), (90, 89, 79, 69)).statistic
    assert f"{every:.2f}" in section.summary and section.table.rows[0][:3] == ("mine", "20", "b")
    assert not content.notes
