"""Stored trees: exact, verified, and never another run's."""

import random
import shutil
from pathlib import Path
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dancejax.errors import UserError
from dancejax.runs import checkpoint, integrity

FILE = Path("record.json")


class Pair(NamedTuple):
    left: jax.Array
    right: tuple


def example(seed: int = 0):
    key = jax.random.key(seed)
    params = {"w": jax.random.normal(key, (3, 4)), "b": jnp.arange(4)}
    return Pair(
        {"params": params, "opt": optax.sgd(0.1, 0.9).init(params), "key": key},
        (jnp.float32(seed), (), jnp.array(True)),
    )


def plain(tree):
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        tree,
    )


def test_round_trip_is_exact(tmp_path):
    tree = example(3)
    checkpoint.save_tree(tmp_path / "tree", tree, {"about": [1, "two"]})
    found = checkpoint.load_tree(tmp_path / "tree", example(0))
    chex.assert_trees_all_equal(plain(found), plain(tree))
    chex.assert_trees_all_equal_dtypes(plain(found), plain(tree))
    assert checkpoint.load_metadata(tmp_path / "tree") == {"about": [1, "two"]}
    np.testing.assert_array_equal(  # the key is a key again
        jax.random.normal(found.left["key"]), jax.random.normal(tree.left["key"])
    )
    shapes = jax.eval_shape(example)
    chex.assert_trees_all_equal(plain(checkpoint.load_tree(tmp_path / "tree", shapes)), plain(tree))


def test_newest_of_few_is_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save_step(tmp_path, step, example(step), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000002", "step_000000003"]
    step, tree, _ = checkpoint.latest_step(tmp_path, example(), {})
    assert step == 3
    chex.assert_trees_all_equal(plain(tree), plain(example(3)))
    assert checkpoint.latest_step(tmp_path / "empty", example(), {}) is None


def test_damaged_newest_is_set_aside_and_the_one_before_used(tmp_path, capsys):
    for step in (1, 2):
        checkpoint.save_step(tmp_path, step, example(step), {})
    (tmp_path / "step_000000002" / "manifest.json").write_text("{")
    stale = tmp_path / ".step_000000003.tmp"
    stale.mkdir()
    step, tree, _ = checkpoint.latest_step(tmp_path, example(), {})
    assert step == 1 and not stale.exists()
    chex.assert_trees_all_equal(plain(tree), plain(example(1)))
    assert (tmp_path / "damaged_step_000000002").exists()
    said = capsys.readouterr().err
    assert "step_000000002" in said and "going back one checkpoint" in said


def test_any_change_of_any_file_is_noticed_or_harmless(tmp_path):
    """Flips, cuts and removals in every file of a checkpoint."""
    good = tmp_path / "good"
    checkpoint.save_tree(good, example(1), {"a": 1})
    rng = random.Random(0)
    files = sorted(p.relative_to(good) for p in good.rglob("*") if p.is_file())
    noticed = 0
    for number in range(90):
        name = files[number % len(files)]
        bad = tmp_path / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        data = bytearray((bad / name).read_bytes())
        kind = rng.choice(["flip", "flip", "cut", "remove"])
        if kind == "remove":
            (bad / name).unlink()
        elif kind == "cut" or not data:
            (bad / name).write_bytes(data[: len(data) // 2])
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            (bad / name).write_bytes(data)
        try:
            found = checkpoint.load_tree(bad, example())
        except UserError:
            noticed += 1
            continue
        chex.assert_trees_all_equal(plain(found), plain(example(1)))
    assert noticed > 80  # but for JSON's white space, all


def test_another_runs_tree_is_refused(tmp_path):
    checkpoint.save_step(tmp_path, 1, example(), {"run": {"seed": 0, "ipc": 10}, "same": 1})
    with pytest.raises(UserError, match=r"run.ipc .* run.seed"):
        checkpoint.latest_step(tmp_path, example(), {"run": {"seed": 1, "ipc": 50}, "same": 1})
    with pytest.raises(UserError, match="new is null"):
        checkpoint.latest_step(
            tmp_path, example(), {"run": {"seed": 0, "ipc": 10}, "same": 1, "new": 2}
        )
    assert (tmp_path / "step_000000001").exists()


def test_trees_of_another_shape_are_refused(tmp_path):
    checkpoint.save_tree(tmp_path / "tree", {"w": jnp.zeros((2, 3))}, {})
    for other in ({"w": jnp.zeros((3, 2))}, {"v": jnp.zeros((2, 3))}, {"w": jnp.zeros(2)}):
        with pytest.raises(UserError, match="settings") as raised:
            checkpoint.load_tree(tmp_path / "tree", other)
        assert not isinstance(raised.value, integrity.DamagedError)


def test_a_checkpoint_that_does_not_fit_stays_where_it_is(tmp_path):
    """It is good: another network or number of devices is no reason to throw it away."""
    checkpoint.save_step(tmp_path, 1, {"w": jnp.zeros((2, 3))}, {})
    with pytest.raises(UserError, match="settings"):
        checkpoint.latest_step(tmp_path, {"w": jnp.zeros((4, 3))}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]


def test_longer_leading_axes_are_cut_where_asked(tmp_path):
    checkpoint.save_tree(
        tmp_path / "tree", {"w": jnp.arange(6.0).reshape(3, 2), "n": np.float64(1.5)}, {}
    )
    target = {"w": jnp.zeros((2, 2)), "n": np.float64(0)}
    found = checkpoint.load_tree(tmp_path / "tree", target, cut=True)
    np.testing.assert_array_equal(found["w"], [[0, 1], [2, 3]])
    with pytest.raises(UserError, match="settings"):  # too short is no repeat to leave out
        checkpoint.load_tree(
            tmp_path / "tree", {"w": jnp.zeros((4, 2)), "n": np.float64(0)}, cut=True
        )


def test_records_of_earlier_versions_are_read():
    found = {"method": "dance", "settings": {"ipc": 1, "rate": None}}
    wanted = {"method": "dance", "settings": {"ipc": 1, "rate": 0.1, "order": "joint"}}
    missing = {"settings.rate": integrity.UNKNOWN, "settings.order": "joint"}
    integrity.check_same(found, wanted, FILE, missing=missing)
    with pytest.raises(UserError, match=r"settings.order"):
        integrity.check_same(found, wanted, FILE, missing={"settings.rate": integrity.UNKNOWN})
    with pytest.raises(UserError, match=r"settings.order"):
        changed = {**wanted, "settings": {**wanted["settings"], "order": "classwise"}}
        integrity.check_same(found, changed, FILE, missing=missing)
    nested = {**found, "network": {"width": 8}}
    with pytest.raises(UserError, match=r"network.width"):  # what is recorded is compared
        integrity.check_same(nested, {**found, "network": {"width": 4}}, FILE,
                              missing={"network": integrity.UNKNOWN})  # fmt: skip
    integrity.check_same(found, {**found, "network": {"width": 4}}, FILE,
                          missing={"network": integrity.UNKNOWN})  # fmt: skip
    integrity.check_same({**found, "chunk": 1}, {**found, "chunk": 2}, FILE, ignored=("chunk",))


def test_nothing_half_written_where_there_is_no_room(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.runs, "write_json", full)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save_step(tmp_path, 1, example(), {})
    assert list(tmp_path.iterdir()) == []
