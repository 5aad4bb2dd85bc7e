"""Each measurement against a plain statement in float64, and what must hold of it."""

import dataclasses
import json

import jax
import matplotlib
import numpy as np
import pytest
import scipy.spatial
import scipy.stats

from dancejax import analysis, coreset, interpolate, networks, runs, training
from dancejax.analysis import (
    base,
    consistency,
    cost,
    density,
    discrepancy,
    expert_accuracy,
    features,
    interpolation,
    moments,
    plots,
    tsne,
)
from dancejax.analysis.features import ClassSums, Features
from dancejax.errors import UserError
from dancejax.training import expert_tests, experts, loop
from dancejax.types import Json

SMALL: dict[str, Json] = {
    "discrepancy": {"networks": 1},
    "moments": {"networks": 2},
    "consistency": {"networks": 1, "neighbours": 5},
    "interpolation": {"lambda_steps": 2},
    "tsne": {"classes": 2},
}


infer = jax.jit(networks.infer, static_argnums=0)


def plain_features(variables, images, dataset, network):
    """Features of all images at once, without the blocks of the package."""
    normalised = (np.asarray(images, np.float64) - dataset.mean) / dataset.std
    return np.asarray(infer(network, variables, normalised.astype(np.float32))[1])


def plain_moments(values):
    values = values.astype(np.float64)
    third = scipy.stats.skew(values, axis=0)
    return values.mean(0), values.var(0), np.where(values.var(0) > moments.CONSTANT, third, 0)


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
def test_moments_are_scipys(material):
    found = moments.measure(material, moments.Config(networks=2))
    wanted = []
    for number in range(2):
        variables = features.random_network(material, number)
        few = material.sets["few"]
        real = plain_features(variables, material.train.images / 255, few, material.network)
        own = plain_features(variables, few.images, few, material.network)
        pairs = [
            (plain_moments(real[material.train.labels == c]), plain_moments(own[few.labels == c]))
            for c in range(3)
        ]
        wanted.append([np.mean([np.linalg.norm(a[i] - b[i]) for a, b in pairs]) for i in range(3)])
    np.testing.assert_allclose(found.values["few"], wanted, rtol=1e-3)
    assert found.values["whole"].max() < 1e-3 * found.values["few"].min()
    assert found.values["wrong"].min() > 0.1


def test_skewness_of_a_constant_coordinate_is_zero():
    assert moments.moments(np.full((5, 2), 0.3)).skewness.tolist() == [0, 0]


def test_published_moments_are_of_cifar10_at_ten_images(sets):
    few = sets["few"]

    def named(method, **settings):
        source = {**few.source, "name": "cifar10"}
        return dataclasses.replace(
            few, method=method, source=source, settings=settings, origin={"ipc": 10}
        )

    of = {"a": named("dm"), "b": named("dm", moments=3), "c": named("m3d"), "d": few}
    assert moments.published(of) == {
        "a": (4.91, 7.37, 6.76), "b": (3.69, 6.14, 5.94), "c": (0.82, 1.23, 1.64),
    }  # fmt: skip


def test_discrepancy_is_the_relative_distance_of_class_means(material):
    found = discrepancy.measure(material, discrepancy.Config(networks=2))
    assert found.distances.shape == (2, 3, 3) and found.accuracies.shape == (2, 3)
    assert found.distances[:, :, 1].max() < 1e-9  # "whole" is the real images
    assert found.distances[:, :, 0].min() > 1e-4
    job = loop.Job("", material.network, material.training, material.train, 2, 3, "analysis", {})
    with runs.QUIET.working("", 1, "networks") as session:
        start = loop.init_team(job, [0], session.mesh).state.variables
    variables, few = interpolate.select(start, 0), material.sets["few"]
    real = plain_features(variables, material.train.images / 255, few, material.network)
    own = plain_features(variables, few.images, few, material.network)
    real, own = real.astype(np.float64), own.astype(np.float64)
    labels = material.train.labels
    squared = [
        ((real[labels == c].mean(0) - own[few.labels == c].mean(0)) ** 2).sum() for c in range(3)
    ]
    wanted = np.mean(squared) / (real**2).sum(1).mean()
    np.testing.assert_allclose(found.distances[0, 0, 0], wanted, rtol=1e-3)
    logits, _ = training.predict_all(variables, material.test, network=material.network)
    share = 100 * (logits.argmax(-1) == material.test.labels).mean()
    np.testing.assert_allclose(found.accuracies[0, 0], share, rtol=1e-5)
    assert found.accuracies[:, -1].mean() > found.accuracies[:, 0].mean()


def test_discrepancy_of_a_set_that_lacks_a_class():
    real = ClassSums(np.ones((1, 2, 3)), np.array([[1.0, 2.0]]), np.array([6.0]), np.zeros(1))
    own = ClassSums(np.zeros((1, 2, 3)), np.array([[1.0, 0.0]]), np.array([0.0]), np.zeros(1))
    assert discrepancy.discrepancy(real, own).tolist() == [3 / 2]


def test_discrepancy_from_the_host_is_that_from_the_device(material):
    config = discrepancy.Config(networks=1)
    device = discrepancy.measure(material, config)
    host = discrepancy.measure(material, config, runs.Run(progress=False, placement="host"))
    np.testing.assert_allclose(device.distances, host.distances, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(device.accuracies, host.accuracies, rtol=1e-6)


def test_finished_networks_are_kept(material, tmp_path):
    first = discrepancy.measure(material, discrepancy.Config(networks=1), runs.Run(tmp_path))
    kept = (tmp_path / "network_00.json").stat().st_mtime_ns
    more = discrepancy.measure(material, discrepancy.Config(networks=2), runs.Run(tmp_path))
    assert np.array_equal(more.distances[0], first.distances[0])
    assert (tmp_path / "network_00.json").stat().st_mtime_ns == kept
    (tmp_path / "network_00.json").write_text("{")
    again = discrepancy.measure(material, discrepancy.Config(networks=2), runs.Run(tmp_path))
    assert np.array_equal(again.distances, more.distances)
    other = dataclasses.replace(material, seed=4)
    with pytest.raises(UserError, match="seed"):
        discrepancy.measure(other, discrepancy.Config(networks=2), runs.Run(tmp_path))


def test_consistency_is_that_of_all_distances():
    rng = np.random.default_rng(0)
    real = Features(rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 3, 40))
    own = Features(rng.normal(size=(7, 6)).astype(np.float32), rng.integers(0, 3, 7))
    order = scipy.spatial.distance.cdist(own.values, real.values).argsort(1)
    right = real.labels[order] == own.labels[:, None]
    wanted = [right[:, :k].mean() for k in range(1, 11)]
    np.testing.assert_allclose(consistency.consistency(real, own, 10), wanted)


def test_consistency_of_real_images_is_high(material):
    found = consistency.measure(material, consistency.Config(networks=1, neighbours=5))
    for kind in consistency.KINDS:
        whole, wrong = (found.ratios[kind][label].mean(0) for label in ("whole", "wrong"))
        assert whole[0] == 1 and whole[-1] > 0.7 and wrong[0] == 0 and wrong[-1] < 0.3


def test_consistency_needs_as_many_images_as_neighbours(material):
    with pytest.raises(UserError, match="neighbours"):
        consistency.measure(material, consistency.Config(neighbours=100))


def test_interpolation_ends_at_the_expert_and_its_initialisation(material, snapshot_folder):
    found = interpolation.measure(material, interpolation.Config(lambda_steps=4))
    assert found.lambdas.tolist() == [0, 0.25, 0.5, 0.75, 1] and found.epochs == (0, 2, 3)
    right = expert_tests.test_pool(snapshot_folder, material.test, material.network, count=2)
    told = 100 * right.sum(1) / len(material.test)
    np.testing.assert_allclose(found.between[:, 0], told, rtol=1e-6)
    np.testing.assert_allclose(found.along[:, -1], told, rtol=1e-6)
    np.testing.assert_allclose(found.along[:, 0], found.between[:, -1], rtol=1e-6)
    middle = jax.tree.map(lambda a, b: (a[0] + b[0]) / 2, *material.experts.pool)
    logits, _ = training.predict_all(middle, material.test, network=material.network)
    share = 100 * (logits.argmax(-1) == material.test.labels).mean()
    np.testing.assert_allclose(found.between[0, 2], share, rtol=1e-6)


def test_interpolation_without_snapshots(material):
    alone = dataclasses.replace(material, expert_folder=None)
    found = interpolation.measure(alone, interpolation.Config(lambda_steps=1))
    assert found.epochs == () and {row["path"] for row in found.rows()} == {"interpolation"}


@pytest.fixture
def dance_set(material):
    """A set that says it was made with the first expert of the pool."""
    about = {**material.experts.settings(), "count": 1}
    network = material.experts.description["network"]
    return dataclasses.replace(
        material.sets["few"], method="dance", settings={"experts": about, "network": network}
    )


def test_experts_that_a_set_was_made_with_are_apart(material, dance_set):
    own = dataclasses.replace(material, sets={"mine": dance_set, **material.sets})
    found = {(g.images, g.experts): g.values for g in expert_accuracy.measure(own).groups}
    assert len(found["mine", "used"]) == len(found["mine", "held out"]) == 1
    assert len(found["few", "held out"]) == len(found[expert_accuracy.REAL, "all"]) == 2
    for n, key in enumerate([("mine", "used"), ("mine", "held out")]):
        variables = interpolate.select(material.experts.pool.final, n)
        data = features.training_images(dance_set, material.train)
        logits, _ = training.predict(variables, data, network=material.network)
        share = 100 * (np.asarray(logits).argmax(-1) == dance_set.labels).mean()
        np.testing.assert_allclose(found[key], share, rtol=1e-6)
    assert base.unseen_experts(own) == [1]


def test_experts_of_another_pool_are_unseen(material, dance_set):
    about = dance_set.settings["experts"]
    for settings in (
        {"experts": {**about, "seed": 9}},
        {"experts": {**about, "training": {**about["training"], "epochs": 9}}},
        {"network": {"name": "vgg11"}},
    ):
        other = dataclasses.replace(dance_set, settings={**dance_set.settings, **settings})
        assert list(base.used_experts(other, material.experts)) == []
    mute = dataclasses.replace(dance_set, settings={})
    assert base.used_experts(mute, material.experts) is None
    foreign = dataclasses.replace(dance_set, method="foreign", settings={})
    assert base.used_experts(foreign, material.experts) is None


def test_experts_of_networks_in_turns_are_seen(material, dance_set):
    about, network = (dance_set.settings[name] for name in ("experts", "network"))
    others = {**about, "seed": 9}
    for order in (1, -1):
        settings = {
            "experts": [others, about][::order],
            "networks": [{"name": "vgg11"}, network][::order],
        }
        turns = dataclasses.replace(dance_set, settings={**dance_set.settings, **settings})
        assert list(base.used_experts(turns, material.experts)) == [0]


def test_the_expert_that_a_coreset_was_chosen_by_is_seen(material):
    means = coreset.Means(experts=material.experts)
    chosen = coreset.choose("herding", material.train, 1, seed=0, means=means)
    assert list(base.used_experts(chosen, material.experts)) == [0]


def test_there_must_be_an_expert_that_no_set_was_made_with(material, dance_set):
    alone = dataclasses.replace(material.experts, pool=jax.tree.map(
        lambda x: x[:1], material.experts.pool))  # fmt: skip
    own = dataclasses.replace(material, sets={"mine": dance_set}, experts=alone)
    for name in ("consistency", "density", "tsne"):
        with pytest.raises(UserError, match="experts"):
            analysis.measure(name, own, **SMALL.get(name, {}))


def test_density_integrates_to_one_and_is_a_sum_of_gaussians():
    rng = np.random.default_rng(0)
    projected = {"real": rng.normal(size=200), "own": rng.normal(2, 0.1, size=5)}
    x, found = density.densities(projected)
    for label, values in projected.items():
        np.testing.assert_allclose(np.trapezoid(found[label], x), 1, atol=0.01)
        width = values.std(ddof=1) * len(values) ** -0.2  # Scott's rule
        kernels = scipy.stats.norm.pdf(x[:, None], values, width)
        np.testing.assert_allclose(found[label], kernels.mean(1), rtol=1e-6)


def test_density_of_the_real_images_is_the_real_one(material):
    found = density.measure(material, density.Config(class_number=1))
    np.testing.assert_allclose(found.values["whole"], found.values["real"], atol=1e-4)
    assert found.distances["whole"] < 1e-4 < found.distances["few"] < found.distances["wrong"]


def test_the_axis_is_the_first_right_singular_vector():
    rng = np.random.default_rng(0)
    real, own = rng.normal(size=(30, 4)) * [3, 1, 1, 1], rng.normal(size=(5, 4))
    found = density.project(real, {"own": own})
    centred = real - real.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = (own - real.mean(0)) @ axis / (centred @ axis).std(ddof=1)
    np.testing.assert_allclose(np.abs(found["own"]), np.abs(along), rtol=1e-6)
    np.testing.assert_allclose(found["real"].std(ddof=1), 1, rtol=1e-6)


def test_density_needs_a_class_with_images(material, sets):
    one = dataclasses.replace(
        sets["few"], images=sets["few"].images[::4], labels=sets["few"].labels[::4]
    )
    with pytest.raises(UserError, match="two different images"):
        density.measure(dataclasses.replace(material, sets={"one": one}))
    with pytest.raises(UserError, match="class"):
        density.measure(material, density.Config(class_number=3))


@pytest.mark.slow
def test_tsne_has_all_sets_in_one_embedding(material):
    config = tsne.Config(classes=2, per_class=10)
    found = tsne.measure(material, config)
    sizes = {label: len(own.labels) for label, own in found.points.items()}
    assert sizes == {"real": 20, "few": 8, "whole": 48, "wrong": 48}
    again = tsne.measure(material, config)
    for label, own in found.points.items():
        assert np.array_equal(own.values, again.points[label].values)
    few = found.points["few"]
    order = scipy.spatial.distance.cdist(few.values, found.points["real"].values).argmin(1)
    share = (found.points["real"].labels[order] == few.labels).mean()
    assert tsne.nearest_share(found.points["real"], few) == share
    assert tsne.nearest_share(found.points["real"], found.points["whole"]) > 0.7


def test_embedding_keeps_clusters_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    flat = tsne.embed(rng.normal(size=(60, 8)) + 20 * labels[:, None], 10, seed=0)
    assert tsne.nearest_share(Features(flat[::2], labels[::2]), Features(flat, labels)) == 1


def spend(folder, seconds, accuracies=()):
    about = {
        "seconds_per_iteration": seconds, "iterations": 100, "step_memory_mb": 50.0,
        "compile_seconds": 30.0, "device": "cpu",
    }  # fmt: skip
    (folder / "best").mkdir(parents=True)
    runs.write_json(folder / "result.json", about)
    if accuracies:
        tested = [{"iteration": 10 * n, "accuracy_mean": a} for n, a in enumerate(accuracies, 1)]
        runs.write_json(folder / "best" / "best_over_checkpoints.json", {"checkpoints": tested})


def test_cost_is_what_runs_wrote(material, tmp_path):
    spend(tmp_path / "few", 6.0, (40.0, 60.0, 55.0))
    spend(tmp_path / "whole", 3.0, (50.0, 70.0))
    folders = {"few": tmp_path / "few", "whole": tmp_path / "whole", "wrong": tmp_path}
    own = dataclasses.replace(material, run_folders=folders)
    found = cost.measure(own)
    few, whole, wrong = found.rows()
    assert found.target == 60 and (few["minutes"], whole["minutes"]) == (10.5, 5.5)
    assert (few["minutes_to_target"], whole["minutes_to_target"]) == (2.5, 1.5)
    assert wrong["minutes"] is None and "not known of wrong" in found.summary()
    later = cost.measure(own, cost.Config(target_accuracy=65.0)).rows()
    assert later[0]["minutes_to_target"] is None and later[1]["minutes_to_target"] == 1.5
    assert analysis.ANALYSES["cost"].inputs(own)["runs"]["few"]["iterations"] == 100
    with pytest.raises(UserError, match="cost"):
        cost.measure(material)
    (tmp_path / "few" / "result.json").write_text('{"seconds_per_iteration": 1}')
    with pytest.raises(UserError, match="edited"):
        cost.measure(own)


def test_published_cost_is_of_dances_table(material):
    named = dataclasses.replace(
        material.sets["few"], method="dance",
        source={**material.sets["few"].source, "name": "cifar10"}, origin={"ipc": 10},
    )  # fmt: skip
    assert cost.published({"a": named})["a"].seconds_per_iteration == 0.12


@pytest.mark.parametrize("name", analysis.ANALYSES)
def test_results_are_rows_a_sentence_and_a_plot(name, material, tmp_path):
    spend(tmp_path / "few", 6.0, (40.0, 60.0))
    own = dataclasses.replace(material, run_folders={"few": tmp_path / "few"})
    backend = matplotlib.get_backend()
    found = analysis.measure(name, own, **SMALL.get(name, {}))
    told = analysis.to_json(name, own, found, "plot.svg")
    assert list(told) == ["analysis", "title", "summary", "plot", "sets", "rows"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert len({tuple(row) for row in told["rows"]}) == 1
    assert any(c.isdigit() for c in told["summary"]) and told["summary"].count(". ") == 0
    first, second = (plots.svg(found.figure()) for _ in range(2))
    assert first == second and first.startswith(b"<?xml") and len(first) > 5000
    assert matplotlib.get_backend() == backend


def test_sets_differ_without_colour():
    styles = [plots.style(n) for n in range(5)]
    for field in ("color", "marker", "linestyle", "hatch"):
        assert len({str(getattr(s, field)) for s in styles}) == 5


def test_settings_are_checked(material):
    for name, settings, noun in (
        ("moments", {"networks": 0}, "networks"),
        ("moments", {"width": 3}, "width"),
        ("tsne", {"perplexity": -1.0}, "perplexity"),
        ("density", {"class_number": "a"}, "class_number"),
        ("moment", {}, "moment"),
    ):
        with pytest.raises(UserError, match=noun):
            analysis.measure(name, material, **settings)
    with pytest.raises(UserError, match="sets"):
        dataclasses.replace(material, sets={})
    with pytest.raises(UserError, match="real"):
        dataclasses.replace(material, sets={"real": material.sets["few"]})
    other = dataclasses.replace(material.sets["few"], classes=("a", "b", "c"))
    with pytest.raises(UserError, match="classes"):
        dataclasses.replace(material, sets={"other": other})


def test_networks_that_are_measured_are_those_of_no_condensation(material, train, network):
    """Neither experts of the same seed, nor networks of another purpose, begin alike."""
    seen = experts.train_experts(network, train, count=1, seed=3, epochs=1, batch_size=32)
    job = loop.Job("", network, material.training, train, 1, 3, "analysis", {})
    with runs.QUIET.working("", 1, "networks") as session:
        trained = interpolate.select(loop.init_team(job, [0], session.mesh).state.variables, 0)
    kernels = [
        np.asarray(variables["params"]["conv0"]["kernel"])
        for variables in (
            features.random_network(material, 0),
            trained,
            interpolate.select(seen.pool.init, 0),
        )
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(kernels[i], kernels[j])
