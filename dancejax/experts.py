"""Pools of experts: networks trained on the real set, stored from initialisation to the end.

A pool is a folder: pool.json (what it was trained on and how), expert_00000/ and on (Orbax trees
"init", "final" and, by choice, "trajectory"), training/ (checkpoints of experts under way).
Expert n depends on the seed and n alone, so that a pool can be extended and shared.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import backend, checkpoint, interpolate, networks, runs, training
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, TrainData


class ExpertPool(NamedTuple):
    """Stacked variables of N experts, each leaf [N, ...]."""

    init: networks.Variables
    final: networks.Variables


def expert_training(image_side: int, **overrides: Any) -> TrainConfig:
    """DANCE's training of experts (IJCAI 2024): 60 epochs, 80 from 128 pixels on."""
    return TrainConfig(**{"epochs": 80 if image_side >= 128 else 60, **overrides})


def describe(
    dataset: ImageDataset, network: nn.Module, config: TrainConfig, seed: int, snapshots: int
) -> dict[str, Any]:
    """What a pool was made from: two pools with equal descriptions hold the same experts."""
    return {
        "format": checkpoint.FORMAT,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "image_shape": list(dataset.image_shape),
        "num_classes": dataset.num_classes,
        "network": networks.describe(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "snapshots": snapshots,
    }


def read_description(folder: Path) -> dict[str, Any]:
    """What `describe` said of a pool; raises UserError for a missing or damaged pool.json."""
    sealed = checkpoint.read_manifest(Path(folder) / "pool.json")
    if sealed.get("format") != checkpoint.FORMAT:
        raise UserError(
            f"{folder} has format {sealed.get('format')!r}; this version reads format "
            f"{checkpoint.FORMAT}."
        )
    return {name: value for name, value in sealed.items() if name != "manifest_sha256"}


def train_pool(
    folder: Path,
    dataset: ImageDataset,
    network: nn.Module,
    config: TrainConfig,
    *,
    count: int,
    seed: int = 0,
    snapshots: int = 0,
    test: ImageDataset | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Trains experts 0..count-1 into `folder`, leaving out those already there.

    snapshots: how many intermediate parameters to keep, evenly spread over the epochs (beside the
    initial and the final ones). test: evaluates each finished expert. Stopping saves and raises
    Interrupted; the same call goes on. Returns each expert's metadata. Raises UserError for a
    folder that holds a pool of other settings.
    """
    if count < 1:
        raise UserError(f"the number of experts must be at least 1, not {count}.")
    if not 0 <= snapshots < config.epochs:
        raise UserError(f"snapshots must lie between 0 and {config.epochs - 1}, not {snapshots}.")
    folder = runs.open_workdir(folder)
    description = describe(dataset, network, config, seed, snapshots)
    if (folder / "pool.json").exists():
        checkpoint.check_same(read_description(folder), _plain(description), folder / "pool.json")
    else:
        runs.write_json(folder / "pool.json", checkpoint.seal(description))
    missing = [n for n in range(count) if not _expert_path(folder, n).exists()]
    if missing:
        data = training.train_data(dataset)
        test_data = training.train_data(test) if test is not None else None
        size = backend.networks_per_call(len(missing))
        steps = config.epochs * training.steps_per_epoch(len(dataset.labels), config.batch_size)
        total = count * steps
        with (
            runs.stop_on_signals() as stop,
            runs.Progress(
                "experts", total, start=total - len(missing) * steps, enabled=progress
            ) as bar,
        ):
            for start in range(0, len(missing), size):
                group = _Group(folder, missing[start : start + size], description, network, config)
                offset = total - (len(missing) - start) * steps
                group.train(data, test_data, stop, bar, offset, checkpoint_seconds)
    return [checkpoint.load_metadata(_expert_path(folder, n)) for n in range(count)]


def load_pool(
    folder: Path, *, count: int | None = None, dataset: ImageDataset | None = None
) -> tuple[ExpertPool, nn.Module, dict[str, Any]]:
    """Reads and verifies the first `count` experts (None: all): (pool, network, description).

    Raises UserError for a missing or damaged pool, too few experts, or one of another data set.
    """
    description = read_description(folder)
    shape = _image_shape(description)
    if dataset is not None and dataset.fingerprint != description["dataset"]["fingerprint"]:
        raise UserError(
            f"the experts in {folder} were trained on {description['dataset']['name']!r}, "
            f"not on this {dataset.name!r}; train a pool of its own with launch.pretrain."
        )
    options = dict(description["network"])
    network = networks.create(
        options.pop("name"),
        description["num_classes"],
        shape,
        **{k: v for k, v in options.items() if k != "num_classes"},
    )
    available = len(list(Path(folder).glob("expert_?????")))
    wanted = available if count is None else count
    if wanted < 1 or wanted > available:
        raise UserError(
            f"{folder} holds {available} finished experts, {max(1, wanted)} are asked for; "
            "train more with launch.pretrain --experts."
        )
    target = _shapes(network, shape)
    trees = []
    for n in range(wanted):
        path = _expert_path(Path(folder), n)
        trees.append(checkpoint.load_tree(path, _with_trajectory(target, description["snapshots"])))
    stacked = [interpolate.stack([tree[part] for tree in trees]) for part in ("init", "final")]
    return ExpertPool(*stacked), network, description


def load_trajectory(folder: Path, member: int) -> networks.Variables:
    """One expert's snapshots with the initial and final variables at the ends, leaves [T, ...]."""
    description = read_description(folder)
    pool, network, _ = load_pool(folder, count=member + 1)
    target = _shapes(network, _image_shape(description))
    tree = checkpoint.load_tree(
        _expert_path(Path(folder), member), _with_trajectory(target, description["snapshots"])
    )
    ends = [jax.tree.map(lambda x: x[member][None], end) for end in pool]
    middle = [tree["trajectory"]] if "trajectory" in tree else []
    return jax.tree.map(lambda *x: jnp.concatenate(x), ends[0], *middle, ends[1])


class _Group:
    """Some experts trained side by side (one, on CPU)."""

    def __init__(
        self,
        folder: Path,
        members: list[int],
        description: dict[str, Any],
        network: nn.Module,
        config: TrainConfig,
    ) -> None:
        self.folder, self.members, self.network, self.config = folder, members, network, config
        self.description = _plain({**description, "members": members})
        self.shape = _image_shape(description)
        count, epochs = description["snapshots"], config.epochs
        self.snapshot_epochs = [round((i + 1) * epochs / (count + 1)) for i in range(count)]
        keys = training.member_keys(description["seed"], members)
        pairs = [jax.random.split(key) for key in keys]
        states = [training.init_state(k, network, self.shape, config) for k, _ in pairs]
        self.single = len(members) == 1
        self.keys = pairs[0][1] if self.single else jnp.stack([k for _, k in pairs])
        self.state = states[0] if self.single else interpolate.stack(states)
        # Copied, since training steps give their buffers away.
        self.init = jax.tree.map(jnp.copy, self.state.variables)

    def train(
        self,
        data: TrainData,
        test: TrainData | None,
        stop: runs.StopFlag,
        bar: runs.Progress,
        offset: int,
        checkpoint_seconds: float,
    ) -> None:
        per_epoch = training.steps_per_epoch(data.images.shape[0], self.config.batch_size)
        step_fn = training.train_step if self.single else training.train_step_many
        checkpoints = self.folder / "training"
        log = runs.MetricsLog(self.folder)
        snapshots: Any = ()
        if self.snapshot_epochs:
            count = len(self.snapshot_epochs)
            snapshots = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), self.init)
        saved = checkpoint.latest_step(
            checkpoints, (self.state, snapshots, jnp.zeros(())), self.description
        )
        step, loss_sum = 0, jnp.zeros(())
        if saved is not None:
            step, (self.state, snapshots, loss_sum) = saved
        log.rewind(self._kind(), step)
        saver = runs.Every(checkpoint_seconds)
        total = per_epoch * self.config.epochs

        def save() -> None:
            tree = (self.state, snapshots, loss_sum)
            checkpoint.save_step(checkpoints, step, tree, self.description)

        while step < total:
            self.state, loss = step_fn(
                self.state, self.keys, data, network=self.network, config=self.config
            )
            loss_sum = loss_sum + jnp.mean(loss)
            step += 1
            epoch = step // per_epoch
            if step % per_epoch == 0:
                mean = float(loss_sum) / per_epoch
                if mean != mean or abs(mean) == float("inf"):
                    raise UserError(
                        f"the training loss of experts {self.members} became {mean} in epoch "
                        f"{epoch}; lower --learning_rate."
                    )
                loss_sum = jnp.zeros(())
                log.write(self._kind(), step, epoch=epoch, loss=mean)
                bar.update(offset + step * len(self.members), loss=mean)
                if epoch in self.snapshot_epochs:
                    slot = self.snapshot_epochs.index(epoch)
                    snapshots = jax.tree.map(
                        lambda s, x: s.at[slot].set(x),  # noqa: B023
                        snapshots,
                        self.state.variables,
                    )
            if backend.is_cpu():
                jax.block_until_ready(loss)
                bar.update(offset + step * len(self.members))
            if step < total and (stop.signum or saver.due()):
                save()
                stop.check()
        self._finish(snapshots, test, mean)
        shutil.rmtree(checkpoints, ignore_errors=True)

    def _finish(self, snapshots: Any, test: TrainData | None, loss: float) -> None:
        for i, member in enumerate(self.members):
            own = (lambda x: x) if self.single else (lambda x: x[i])  # noqa: B023
            own_snapshots = (lambda x: x) if self.single else (lambda x: x[:, i])  # noqa: B023
            final = jax.tree.map(own, self.state.variables)
            tree = {"init": jax.tree.map(own, self.init), "final": final}
            if self.snapshot_epochs:
                tree["trajectory"] = jax.tree.map(own_snapshots, snapshots)
            metadata: dict[str, Any] = {"member": member, "final_loss": loss}
            if test is not None:
                metadata["test_accuracy"] = float(
                    training.accuracy(final, test, network=self.network)
                )
            checkpoint.save_tree(_expert_path(self.folder, member), tree, metadata)

    def _kind(self) -> str:
        return "expert " + ",".join(map(str, self.members))


def _expert_path(folder: Path, member: int) -> Path:
    return folder / f"expert_{member:05d}"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


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
