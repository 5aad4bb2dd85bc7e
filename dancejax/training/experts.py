"""Pools of experts: networks trained on the real set, stored from initialisation to the end.

A pool is a folder: pool.json (what it was trained on and how), expert_00000/ and on (Orbax trees
"init", "final" and, by choice, "trajectory"), training/ (checkpoints of experts under way) and
tests.json (what `expert_tests.test_pool` counted).
Expert n depends on the seed and n alone, so that a pool can be extended and shared.
"""

import contextlib
import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dancejax import checks, interpolate, keys, networks, runs, training
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods.base import ExpertPool
from dancejax.runs import Run, checkpoint, integrity, parallel
from dancejax.training import TrainConfig, loop
from dancejax.training.recorders import InMemory, Recorder, expert_path
from dancejax.types import Json, Tree

PROTOCOL = "experts"
"""What stands for the evaluation protocol in the results of a pool."""


def expert_training(image_side: int, **overrides: Any) -> TrainConfig:
    """DANCE's training of experts (IJCAI 2024): 60 epochs of batches of 64, from 128 pixels on 80
    epochs of batches of 128."""
    large = image_side >= 128
    # There is but one operation to choose from, so that it does not matter what draws it; records
    # of pools say "image".
    usual = {"epochs": 80 if large else 60, "batch_size": 128 if large else 64, "draw": "image"}
    return training.make_config(**{**usual, **overrides})


def describe(
    dataset: Dataset, network: nn.Module, config: TrainConfig, seed: int, snapshots: int
) -> Json:
    """What a pool was made from: two pools with equal descriptions hold the same experts."""
    return {
        "format": integrity.FORMAT,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "image_shape": list(dataset.image_shape),
        "num_classes": dataset.num_classes,
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "snapshots": snapshots,
    }


def read_description(folder: Path) -> Json:
    """What `describe` said of a pool; raises UserError for a missing or damaged pool.json."""
    sealed = integrity.read_manifest(Path(folder) / "pool.json")
    if sealed.get("format") != integrity.FORMAT:
        raise UserError(
            f"{folder} has format {sealed.get('format')!r}; this version reads format "
            f"{integrity.FORMAT}."
        )
    return {name: value for name, value in sealed.items() if name != "manifest_sha256"}


def train_pool(
    dataset: Dataset,
    network: nn.Module,
    config: TrainConfig,
    *,
    count: int,
    seed: int = 0,
    snapshots: int = 0,
    run: Run | str | os.PathLike[str],
) -> list[Json]:
    """Train experts 0..count-1 into the run's folder, leaving out those already there.

    Args:
      dataset: what they are trained on.
      network: what is trained.
      config: how it is trained; `expert_training` makes the paper's.
      count: experts in all, at least 1.
      seed: of their initialisation and training.
      snapshots: how many intermediate parameters to keep, evenly spread over the epochs, beside the
        initial and the final ones.
      run: the pool's folder, and how to train. Stopping saves and raises Interrupted; the same call
        goes on.

    Returns:
      Each expert's metadata: "member" and "final_loss".

    Raises:
      UserError: the folder holds a pool of other settings, or what is given does not fit together.
    """
    run = runs.of(run)
    checks.whole("count (of experts)", count, 1)
    checks.whole("seed", seed)
    checks.whole("snapshots", snapshots)
    _check_parts(dataset, network, config)
    if not 0 <= snapshots < config.epochs:
        raise UserError(f"snapshots must lie between 0 and {config.epochs - 1}, not {snapshots}.")
    run = run.opened()
    if run.folder is None:
        raise UserError("a pool of experts needs a folder; give run=FOLDER.")
    folder = run.folder
    description = describe(dataset, network, config, seed, snapshots)
    _describe_folder(folder, description)
    missing = parallel.primary_says(
        lambda: [n for n in range(count) if not expert_path(folder, n).exists()]
    )
    if missing:
        size = _bytes(network, dataset.image_shape)
        runs.check_space(folder, (snapshots + 2) * len(missing) * size + 2**20)
        data = training.train_data(dataset)
        job = loop.Job("experts", network, config, data, count, seed, keys.EXPERTS, description)
        with contextlib.closing(run.log()) as log:
            loop.train(job, missing, Recorder(job, folder, log, snapshots), run)
    return [checkpoint.load_metadata(expert_path(folder, n)) for n in range(count)]


def _describe_folder(folder: Path, description: Json) -> None:
    """Write pool.json, or compare with the one that is there."""
    if (folder / "pool.json").exists():
        check_description(folder, description)
    else:
        runs.write_json(folder / "pool.json", integrity.seal(description))


def check_description(folder: Path, description: Json) -> None:
    """Raise UserError if a pool is not of what `describe` says, or pool.json is missing."""
    found, wanted = read_description(folder), integrity.plain(description)
    integrity.check_same(found, wanted, folder / "pool.json", missing=training.EARLIER)


def _bytes(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """What the variables of one network take."""
    leaves = jax.tree.leaves(_shapes(network, shape))
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in leaves)


def _check_parts(dataset: Dataset, network: nn.Module, config: TrainConfig) -> None:
    """Raise UserError for parts that no pool can be made of."""
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    checks.instance("config", config, TrainConfig, hint="expert_training makes one")
    networks.check(network, dataset.num_classes, dataset.image_shape)


def fingerprint(parameters: Tree) -> str:
    """sha256 over all the parameters of a pool: which experts a run was made with."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(parameters):
        digest.update(integrity.digest(leaf).encode())
    return digest.hexdigest()


def finished(folder: Path) -> int:
    """How many experts a folder holds."""
    return len(list(Path(folder).glob("expert_?????")))


def settings(description: Json, count: int) -> Json:
    """What a set says of so many experts of a pool, of which `describe` says what it is."""
    return {"training": description["training"], "seed": description["seed"], "count": count}


@dataclasses.dataclass(frozen=True)
class Experts:
    """A pool of experts in memory, with what it is.

    Attributes:
      pool: stacked variables before and after training, leaves [N, ...].
      network: whose variables they are.
      description: as `describe` gives it.
      trajectories: variables before training and after each epoch, leaves [N, T, ...], NumPy
        arrays; None where they were not asked for.
    """

    pool: ExpertPool
    network: nn.Module
    description: dict[str, Any]
    trajectories: networks.Variables | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return int(jax.tree.leaves(self.pool.final)[0].shape[0])

    def settings(self, first: int | None = None) -> Json:
        """What a set says of the experts that it was made with: all, or the first so many."""
        return settings(self.description, self.count if first is None else first)


def load_pool(
    folder: Path,
    *,
    count: int | None = None,
    dataset: Dataset | None = None,
    network: nn.Module | None = None,
    trajectories: bool = False,
) -> Experts:
    """Read and verify a pool of experts.

    Args:
      folder: of the pool.
      count: the first so many experts; None: all.
      dataset: what the experts must have been trained on; None: anything.
      network: that of the experts; needed where it is a module of one's own, which cannot be made
        from its name.
      trajectories: whether to read the parameters after every epoch, too.

    Raises:
      UserError: the pool is missing or damaged, has too few experts or snapshots, or is of another
        data set or network.
    """
    folder = checks.path("folder", folder)
    if count is not None:
        checks.whole("count (of experts)", count)
    description = read_description(folder)
    shape = _image_shape(description)
    if dataset is not None and dataset.fingerprint != description["dataset"]["fingerprint"]:
        raise UserError(
            f"the experts in {folder} were trained on {description['dataset']['name']!r}, "
            f"not on this {dataset.name!r}; train a pool of its own with launch.pretrain."
        )
    if trajectories:
        check_trajectories(folder, description)
    network = networks.from_identity(description["network"], shape, network=network)
    available = finished(folder)
    wanted = available if count is None else count
    if wanted < 1 or wanted > available:
        raise UserError(
            f"{folder} holds {available} finished experts, {max(1, wanted)} are asked for; "
            "train more with launch.pretrain --experts."
        )
    target = _shapes(network, shape)
    trees = []
    for n in range(wanted):
        path = expert_path(Path(folder), n)
        trees.append(checkpoint.load_tree(path, _with_trajectory(target, description["snapshots"])))
    stacked = [interpolate.stack([tree[part] for tree in trees]) for part in ("init", "final")]
    paths = _stacked_on_host([_path(tree) for tree in trees]) if trajectories else None
    return Experts(ExpertPool(*stacked), network, description, paths)


def check_trajectories(folder: Path, description: Json) -> None:
    """Raise UserError for a pool that does not keep the parameters after every epoch.

    Args:
      folder: of the pool.
      description: what `read_description` says of it.
    """
    kept, wanted = description["snapshots"], description["training"]["epochs"] - 1
    if kept != wanted:
        raise UserError(
            f"the experts in {folder} keep {kept} snapshots, but their parameters after every "
            f"epoch are needed; train a pool with --snapshots={wanted}, or choose a method that "
            "needs only their ends, as --method=dance."
        )


def _path(tree: dict[str, Any]) -> networks.Variables:
    """A stored expert's variables from the initial to the final ones, leaves [T, ...]."""
    ends = [jax.tree.map(lambda x: x[None], tree[end]) for end in ("init", "final")]
    middle = [tree["trajectory"]] if "trajectory" in tree else []
    return _joined(ends[0], *middle, ends[1])


def _joined(*parts: networks.Variables) -> networks.Variables:
    """Parts of a trajectory after each other, as NumPy arrays."""
    return jax.tree.map(lambda *x: np.concatenate([np.asarray(part) for part in x]), *parts)


def _stacked_on_host(paths: list[networks.Variables]) -> networks.Variables:
    return jax.tree.map(lambda *x: np.stack(x), *paths)


def load_trajectory(
    folder: Path, member: int, *, network: nn.Module | None = None
) -> networks.Variables:
    """Read an expert's snapshots, with the initial and final variables at the ends.

    Args:
      folder: of the pool.
      member: number of the expert.
      network: as in `load_pool`.

    Returns:
      Variables with a leading axis of time, leaves [T, ...].

    Raises:
      UserError: as `load_pool` does.
    """
    description = read_description(folder)
    found = load_pool(folder, count=member + 1, network=network)
    target = _shapes(found.network, _image_shape(description))
    tree = checkpoint.load_tree(
        expert_path(Path(folder), member), _with_trajectory(target, description["snapshots"])
    )
    return jax.tree.map(jnp.asarray, _path(tree))


def train_experts(
    network: nn.Module,
    dataset: Dataset,
    *,
    count: int = 5,
    config: TrainConfig | None = None,
    seed: int = 0,
    trajectories: bool = False,
    run: Run | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Experts:
    """Train experts, in memory or kept in a folder.

    Args:
      network: what is trained.
      dataset: what they are trained on.
      count: how many.
      config: how they are trained; None is DANCE's training (`expert_training`).
      seed: of their initialisation and training; expert n depends on it and n alone.
      trajectories: whether to keep their parameters after every epoch, too.
      run: with a folder, experts that are there already are read, and the rest is added.
      **settings: fields of TrainConfig that differ from that, such as epochs.

    Returns:
      The experts.

    Raises:
      UserError: the folder holds another pool, or what is given does not fit together.
    """
    run = runs.of(run)
    usual = config or expert_training(min(dataset.image_shape[:2]))
    config = training.changed(usual, settings)
    snapshots = config.epochs - 1 if trajectories else 0
    if run.folder is not None:
        train_pool(dataset, network, config, count=count, seed=seed, snapshots=snapshots, run=run)
        return load_pool(
            run.folder, count=count, dataset=dataset, network=network, trajectories=trajectories
        )
    checks.whole("count (of experts)", count, 1)
    checks.whole("seed", seed)
    _check_parts(dataset, network, config)
    description = describe(dataset, network, config, seed, snapshots)
    data = training.train_data(dataset)
    job = loop.Job("experts", network, config, data, count, seed, keys.EXPERTS, description)
    made = InMemory(config.epochs, snapshots)
    loop.train(job, list(range(count)), made, run)
    trees = made.found
    stacked = [interpolate.stack([tree[part] for tree in trees]) for part in ("init", "final")]
    paths = _stacked_on_host([_path(tree) for tree in trees]) if trajectories else None
    return Experts(ExpertPool(*stacked), network, description, paths)


def _image_shape(description: dict[str, Any]) -> tuple[int, int, int]:
    h, w, c = description["image_shape"]
    return h, w, c


def _shapes(network: nn.Module, shape: tuple[int, int, int]) -> Any:
    return jax.eval_shape(lambda key: networks.init(network, key, shape), jax.random.key(0))


def _with_trajectory(target: Any, snapshots: int) -> dict[str, Any]:
    tree = {"init": target, "final": target}
    if snapshots:
        tree["trajectory"] = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((snapshots, *x.shape), x.dtype), target
        )
    return tree
