"""What earlier versions wrote is read by every later one: files that are not to be made again.

fixtures/format1 was made by `python -m tests.test_formats FOLDER`; fixtures/first_edition by
version 0.1.0: a pool of two experts trained without a test set, three experts stopped in the last
on two devices, a run of DANCE after 4 iterations with what came out after 6, and an evaluation.
"""

import json
import shutil
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from dancejax import condensation, condensed, evaluation, methods, networks
from dancejax.condensed import CondensedSet
from dancejax.errors import UserError
from dancejax.runs import Run, checkpoint
from dancejax.training import expert_tests, experts, protocols

FOLDER = Path(__file__).parent / "fixtures" / "format1"
METADATA = {"method": "dance", "settings": {"ipc": 2}}


def tree():
    return {
        "pixels": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
        "state": (np.int32(7), np.arange(5, dtype=np.uint8)),
        "key": jax.random.key(3),
    }


def example() -> CondensedSet:
    images = (np.arange(4 * 8 * 8, dtype=np.float32) % 97 / 96).reshape(4, 8, 8, 1)
    return CondensedSet(
        images=images,
        labels=np.array([0, 0, 1, 1], np.int32),
        classes=("cat", "dog"),
        mean=(0.25,),
        std=(0.5,),
        factor=2,
        method="dance",
        source={"name": "pets", "fingerprint": "ab" * 32, "split": "train"},
        settings={"ipc": 2, "steps": 3},
    )


def test_a_checkpoint_of_format_1():
    found = checkpoint.latest_step(FOLDER / "checkpoints", tree(), METADATA)
    assert found is not None and found[0] == 12
    key, expected = found[1].pop("key"), tree()
    chex.assert_trees_all_equal(jax.random.key_data(key), jax.random.key_data(expected.pop("key")))
    chex.assert_trees_all_equal(found[1], expected)


def test_a_condensed_set_of_format_1():
    found = condensed.load(FOLDER / "condensed")
    assert condensed.fingerprint(found) == condensed.fingerprint(example())
    for field in ("classes", "mean", "std", "factor", "method", "source", "settings"):
        assert getattr(found, field) == getattr(example(), field)


@pytest.fixture
def first(tmp_path) -> Path:
    """Folders that the first edition left, of tiny runs on `small`'s images."""
    return Path(shutil.copytree(FOLDER.parent / "first_edition", tmp_path / "first"))


@pytest.fixture(scope="module")
def small(train):
    return networks.create("convnet", 3, train.image_shape, width=4, depth=2)


def expert_config():
    return experts.expert_training(28, epochs=3, batch_size=16)


@pytest.mark.slow
def test_a_pool_of_the_first_edition_can_be_extended(first, train, test, small):
    before = experts.load_pool(first / "pool").pool
    experts.train_pool(train, small, expert_config(), count=3, snapshots=1, run=first / "pool")
    correct = expert_tests.test_pool(first / "pool", test, small, count=3)
    assert correct.shape == (3, test.num_classes) and (correct.sum(1) > 0).all()
    after = experts.load_pool(first / "pool").pool
    chex.assert_trees_all_equal(before, jax.tree.map(lambda x: x[:2], after))


def test_a_team_of_the_first_edition_goes_on_with_fewer_devices(first, train, small, capsys):
    """Stopped on two devices in the last of three experts, which stood twice in the checkpoint."""
    about = checkpoint.latest_metadata(first / "padded" / "training")
    assert about is not None and about["members"] == [2]
    experts.train_pool(train, small, expert_config(), count=3, run=first / "padded")
    assert "Set aside" not in capsys.readouterr().err
    assert experts.finished(first / "padded") == 3


def test_a_run_of_the_first_edition_goes_on_to_the_same_bytes(first, train, small):
    pool = experts.load_pool(first / "pool", count=2).pool
    method = methods.create("dance", network=small, batch_real=8, update_order="joint")
    run = Run(first / "run", log_every=2)
    common = {"ipc": 2, "steps": 6, "experts": pool, "run": run}
    made = condensation.condense(method, train, **common)
    # To rounding where this machine's instructions are not those of the one that made the files.
    np.testing.assert_allclose(made.images, np.load(first / "after_6.npy"), atol=1e-5)
    other = methods.create("dance", network=small, batch_real=8)
    with pytest.raises(UserError, match="update_order"):  # which is another run's now
        condensation.condense(other, train, **common)


@pytest.mark.slow
def test_an_evaluation_of_the_first_edition_goes_on(first, train, test, small):
    """With the keys that its networks had; finished ones are taken as they are."""
    pool = experts.load_pool(first / "pool", count=2).pool
    method = methods.create("dance", network=small, batch_real=8, update_order="joint")
    made = condensation.condense(method, train, ipc=2, steps=4, experts=pool, run=first / "run")
    lines = (first / "evaluation" / "evaluation.jsonl").read_text().splitlines()
    assert condensed.fingerprint(made) == json.loads(lines[0])["train"]["fingerprint"]
    config = protocols.protocol("dance", "x", epochs=4, draw="image")
    result = evaluation.evaluate(
        made, test, small, config, repeats=3, test_points=2, run=first / "evaluation",
    )  # fmt: skip
    assert list(result.accuracies[:2]) == [json.loads(line)["curve"][-1] for line in lines[1:]]
    assert result.record["keys"] == "experts"


if __name__ == "__main__":
    made = Path(sys.argv[1])
    checkpoint.save_step(made / "checkpoints", 12, tree(), METADATA)
    condensed.save(example(), made / "condensed")
