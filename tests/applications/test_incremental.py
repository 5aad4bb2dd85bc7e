"""Classes that come step by step: orders, steps, data sets, memories and measures."""

import numpy as np
import pytest

from dancejax import coreset, report
from dancejax.applications import incremental
from dancejax.applications.courses import Course, Result
from dancejax.errors import UserError


@pytest.mark.parametrize("order", [0, 4])
def test_orders_are_permutations_of_numpys_legacy_generator(order):
    np.random.seed(order)
    wanted = np.random.permutation(100)
    np.testing.assert_array_equal(incremental.class_order(100, order), wanted)
    np.testing.assert_array_equal(np.concatenate(incremental.class_steps(100, 5, order)), wanted)
    assert [len(step) for step in incremental.class_steps(10, 3, order)] == [4, 3, 3]


def test_fewer_classes_than_steps_are_refused():
    with pytest.raises(UserError, match="classes"):
        incremental.class_steps(3, 4, 0)


def test_a_steps_data_set_has_its_classes_alone(train):
    labels = np.array([2, 0])
    own = incremental.of_classes(train, labels, renumbered=True)
    assert own.classes == (train.classes[2], train.classes[0]) and own.mean == train.mean
    for number, label in enumerate(labels):
        np.testing.assert_array_equal(
            own.images[own.labels == number], train.images[train.labels == label]
        )
    kept = incremental.of_classes(train, labels, renumbered=False)
    assert kept.classes == train.classes
    np.testing.assert_array_equal(kept.labels, train.labels[train.labels != 1])


def test_a_memory_has_each_steps_images_under_the_labels_of_the_whole(train):
    steps = [np.array([2, 0]), np.array([1])]
    sets = [
        coreset.random(incremental.of_classes(train, labels, renumbered=True), 3)
        for labels in steps
    ]
    memory = incremental.memory_of(sets, steps, train)
    assert memory.classes == train.classes and memory.ipc == 3
    assert memory.labels.tolist() == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    for image, label in zip(memory.images, memory.labels, strict=True):
        originals = train.images[train.labels == label].astype(np.float32) / 255
        assert (originals == image).all(axis=(1, 2, 3)).any()
    assert incremental.memory_of(sets[:1], steps[:1], train).labels.tolist() == [2, 2, 2, 0, 0, 0]


def random_course(rng, order, method="dm", steps=4, networks=3):
    """A course with the array behind it, NaN for classes not seen yet, [networks, steps, steps]."""
    full = rng.uniform(0, 100, (networks, steps, steps))
    full[:, ~np.tri(steps, dtype=bool)] = np.nan
    rows = tuple(
        tuple(tuple(full[n, t, : t + 1].tolist()) for n in range(networks)) for t in range(steps)
    )
    tests = tuple(rng.integers(10, 99, steps).tolist())
    classes = tuple((f"a{t}", f"b{t}") for t in range(steps))
    images = tuple(4 * (t + 1) for t in range(steps))
    return Course(method, order, classes, images, tests, rows), full


def test_measures_are_those_of_arrays():
    rng = np.random.default_rng(0)
    made = [random_course(rng, order) for order in range(5)]
    found = Result("mine", 2, 4, tuple(course for course, _ in made)).summary("dm")
    curves, lost = [], []
    for course, full in made:
        tests = np.array(course.tests)
        right = np.nansum(full * tests, axis=-1)
        curves.append((right / np.cumsum(tests)).mean(0))
        best = np.nanmax(full[:, :-1, :-1], axis=1)
        lost.append((best - full[:, -1, :-1]).mean())
    curves = np.array(curves)
    np.testing.assert_allclose([point.mean for point in found.curve], curves.mean(0))
    np.testing.assert_allclose([point.std for point in found.curve], curves.std(0, ddof=1))
    np.testing.assert_allclose(found.average, [curves.mean(), curves.mean(1).std(ddof=1)])
    np.testing.assert_allclose(found.forgetting, [np.mean(lost), np.std(lost, ddof=1)])
    assert found.final == found.curve[-1] and found.classes == (2, 4, 6, 8)


def test_one_order_deviates_over_its_networks_and_one_network_not_at_all():
    course, full = random_course(np.random.default_rng(1), 0)
    final = Result("mine", 2, 4, (course,)).summary("dm").final
    values = (full[:, -1] * course.tests).sum(-1) / sum(course.tests)
    np.testing.assert_allclose(final, [values.mean(), values.std(ddof=1)])
    course, _ = random_course(np.random.default_rng(1), 0, networks=1)
    assert Result("mine", 2, 4, (course,)).summary("dm").final.std is None


def test_one_step_forgets_nothing():
    assert incremental.forgetting([(50.0,)]) == 0


def test_papers_values_stand_beside_their_own_task_only():
    rng = np.random.default_rng(2)
    courses = tuple(random_course(rng, 0, method, steps=5)[0] for method in ("idm", "kcenter"))
    head, _, idm, kcenter, *_ = Result("cifar100", 20, 5, courses).table().splitlines()
    assert head.endswith("| papers, final |") and kcenter.endswith("| - |")
    assert "39.3 (IDM Figure 8a)" in idm
    for other in (Result("cifar100", 10, 5, courses), Result("cifar10", 20, 5, courses)):
        assert "papers" not in other.table()


def test_csv_has_a_line_for_each_network_after_each_step():
    course, full = random_course(np.random.default_rng(3), 1)
    head, *lines = Result("mine", 2, 4, (course,)).csv().splitlines()
    assert len(lines) == 3 * 4 and head.split(",")[:4] == ["method", "order", "network", "step"]
    last = dict(zip(head.split(","), lines[3].split(","), strict=True))
    assert (last["network"], last["step"], last["classes_seen"]) == ("0", "4", "8")
    np.testing.assert_allclose(float(last["accuracy_step_2"]), full[0, 3, 1])


def test_reports_have_a_section_of_it(tmp_path):
    rng = np.random.default_rng(4)
    courses = tuple(random_course(rng, 0, method)[0] for method in ("dm", "random"))
    found = Result("mine", 2, 4, courses)
    found.write(tmp_path)
    content = report.gather([tmp_path])
    (section,) = content.analyses
    assert str(found.summary("dm").final) in section.summary and "DM" in section.summary
    assert section.plot.media == "image/png" and len(section.table.rows) == 2
    assert not content.notes
