"""How well the experts of a pool do: their right answers on a test set, kept beside them."""

import contextlib
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from dancejax import checks, runs, training
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import integrity, parallel
from dancejax.training import experts
from dancejax.types import Json, Tree

_FILE = "tests.json"


def test_pool(
    folder: Path, test: Dataset, network: nn.Module, *, count: int, devices: int | None = None
) -> np.ndarray:
    """Count what experts 0..count-1 of a pool get right.

    Args:
      folder: of the pool. What was counted is kept in its tests.json, by the test set's
        fingerprint, and not counted again.
      test: what they are tested on, of the experts' classes and image shape.
      network: theirs.
      count: how many, at least 1; all of them finished.
      devices: over how many they are spread at most (None: all there are).

    Returns:
      int64 [count, C], right answers in each class.

    Raises:
      UserError: the pool is missing or damaged, or has fewer experts.
    """
    checks.instance("the test set", test, Dataset, hint=Dataset.HINT)
    checks.whole("count (of experts)", count, 1)
    earlier: Json = parallel.primary_says(lambda: _read(Path(folder)))
    known: list[list[int]] = earlier["correct"].get(test.fingerprint, [])
    if len(known) < count:
        pool = experts.load_pool(folder, count=count, network=network).pool
        rest = jax.tree.map(lambda x: x[len(known) :], pool.final)
        missing = count - len(known)
        with parallel.use(parallel.NETWORKS, parallel.devices_for(missing, devices)) as mesh:
            known = [*known, *_correct(rest, test, network, mesh).tolist()]
        correct = {**earlier["correct"], test.fingerprint: known}
        runs.write_json(Path(folder) / _FILE, integrity.seal({**earlier, "correct": correct}))
    return np.array(known[:count])


def _read(folder: Path) -> Json:
    """What was counted before: {"pool": checksum of pool.json, "correct": {test set: [[...]]}}.

    Nothing where there is no such file, a damaged one, or one of another pool.
    """
    pool = integrity.read_manifest(folder / "pool.json")["manifest_sha256"]
    with contextlib.suppress(UserError):
        found = integrity.read_manifest(folder / _FILE)
        if found["pool"] == pool:
            return {"pool": pool, "correct": found["correct"]}
    return {"pool": pool, "correct": {}}


def _correct(variables: Tree, test: Dataset, network: nn.Module, mesh: Mesh) -> np.ndarray:
    """Right answers of stacked networks in each class."""
    count = len(jax.tree.leaves(variables)[0])
    filled = np.minimum(np.arange(count + -count % mesh.size), count - 1)
    stacked = jax.tree.map(lambda x: x[filled], variables)
    placed = parallel.place(stacked, mesh, parallel.NETWORKS)
    data = training.train_data(test)
    return training.correct_in_parts(placed, data, network=network, mesh=mesh)[:count]
