"""What format 1 wrote is read by every later version: a committed checkpoint and condensed set.

They were made by `python -m tests.test_formats FOLDER`, and are not to be made again.
"""

import sys
from pathlib import Path

import chex
import jax
import numpy as np

from dancejax import checkpoint, condensed
from dancejax.condensed import CondensedSet

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


if __name__ == "__main__":
    made = Path(sys.argv[1])
    checkpoint.save_step(made / "checkpoints", 12, tree(), METADATA)
    condensed.save(example(), made / "condensed")
