"""How well networks trained on a set do on the test set: protocols by name, honest results."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dancejax import augment, checkpoint, condensed, fit, networks, parallel, runs, training
from dancejax.checkpoint import check_same
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, TrainData, TrainState

PROTOCOLS = ("dm", "dance")
_NO_FLIP = ("mnist", "svhn")


def protocol(name: str, dataset_name: str, **overrides: Any) -> TrainConfig:
    """The published ways of training on a condensed set.

    dm (DM, IDM): 1000 epochs, batch 256, rate x0.1 after half with a fresh momentum, one random
    augmentation of all kinds. dance (M3D, DANCE; 28 to 64 pixels): 1500 epochs, batch 64, rate x0.2
    after 2/3 and 5/6, augmentation and CutMix. Digits are never flipped. Overrides replace fields
    of TrainConfig. Raises UserError for an unknown name.
    """
    if name == "dm":
        fields: dict[str, Any] = {
            "epochs": 1000,
            "batch_size": 256,
            "milestones": (0.5,),
            "decay": 0.1,
            "reset_momentum": True,
            "augmentation": "color_crop_cutout_flip_scale_rotate",
            "mode": "single",
            "cutmix": 0.0,
        }
    elif name == "dance":
        fields = {"epochs": 1500, "augmentation": "color_crop_flip_scale_rotate", "mode": "multi"}
    else:
        raise UserError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}.")
    if dataset_name.startswith(_NO_FLIP):
        fields["augmentation"] = augment.without(fields["augmentation"], "flip")
    return TrainConfig(**{**fields, **overrides})


def training_set(train: CondensedSet | ImageDataset) -> TrainData:
    """A set, decoded, on the device."""
    if isinstance(train, ImageDataset):
        return training.train_data(train)
    images, labels = train.decoded()
    return TrainData(images, labels, jnp.asarray(train.mean), jnp.asarray(train.std))


def evaluate(
    train: CondensedSet | ImageDataset,
    test: ImageDataset,
    network: nn.Module,
    config: TrainConfig,
    *,
    repeats: int,
    seed: int = 0,
    points: int = 10,
    workdir: Path | None = None,
    devices: int | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains `repeats` networks from scratch on a set and tests them.

    points: at how many epochs, evenly spread and the last among them, the test accuracy is taken.
    Returns (accuracies in percent): "accuracy_mean" and "accuracy_std" of the last epoch over the
    networks (sample deviation), "accuracies", and, chosen on the test set and not to be reported as
    the result, "best_over_epochs_mean"; "curve" has the mean at each epoch tested. With a workdir,
    finished networks and checkpoints of those under way are kept there and the same call goes on
    after an interruption. devices: how many (None: all).
    """
    if repeats < 1:
        raise UserError(f"the number of networks must be at least 1, not {repeats}.")
    if points < 1:
        raise UserError(f"the number of test points must be at least 1, not {points}.")
    if train.image_shape != test.image_shape or tuple(train.classes) != tuple(test.classes):
        raise UserError(
            f"the training set ({train.num_classes} classes, {list(train.image_shape)}) and the "
            f"test set ({test.num_classes} classes, {list(test.image_shape)}) don't fit together."
        )
    train_set = training_set(train)
    test_set = training.train_data(test)._replace(mean=train_set.mean, std=train_set.std)
    points = min(points, config.epochs)
    epochs = [round((i + 1) * config.epochs / points) for i in range(points)]
    about = {
        "train": describe_set(train),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.describe(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "test_epochs": epochs,
    }
    parallel.check_devices(devices)
    if workdir is not None:
        workdir = runs.open_workdir(workdir)
    curves = _Finished(workdir, about)
    missing = [n for n in range(repeats) if n not in curves.found]
    folder = workdir / "training" if workdir else None
    steps = config.epochs * training.steps_per_epoch(len(train_set.labels), config.batch_size)
    offset = (repeats - len(missing)) * steps
    with (
        parallel.use(parallel.NETWORKS, parallel.devices_for(repeats, devices)) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress("evaluate", repeats * steps, start=offset, enabled=progress) as bar,
    ):
        data, test_data = parallel.place((train_set, test_set), mesh)

        def after_epoch(epoch: int, state: TrainState, loss: float, curve: Any) -> Any:
            """Test accuracies in percent so far, [N, points]."""
            if epoch not in epochs:
                return curve
            now = 100 * parallel.fetch(
                training.accuracy(state.variables, test_data, network=network)
            )
            curve = np.array(curve)
            curve[:, epochs.index(epoch)] = now
            bar.update(bar.done, accuracy=float(now.mean()))
            return curve

        for members in fit.teams(missing, folder, repeats):
            state, keys = fit.init_team(seed, members, network, train.image_shape, config, mesh)
            _, taken = fit.train(
                state,
                keys,
                data,
                mesh=mesh,
                network=network,
                config=config,
                members=members,
                about=about,
                folder=folder,
                after_epoch=after_epoch,
                extra=np.zeros((len(keys), len(epochs)), np.float32),
                stop=stop,
                bar=bar,
                offset=offset,
                checkpoint_seconds=checkpoint_seconds,
            )
            curves.add(dict(zip(members, np.asarray(taken).tolist(), strict=False)))
            fit.clear(folder)
            offset += steps * len(members)
    taken = [curves.found[n] for n in range(repeats)]
    last = [curve[-1] for curve in taken]
    return {
        "accuracy_mean": statistics.fmean(last),
        "accuracy_std": statistics.stdev(last) if repeats > 1 else 0.0,
        "accuracies": last,
        "best_over_epochs_mean": statistics.fmean(max(curve) for curve in taken),
        "curve": {
            "epochs": epochs,
            "accuracy_mean": [statistics.fmean(c) for c in zip(*taken, strict=True)],
        },
        "repeats": repeats,
        "test_images": len(test),
        **about,
    }


class _Finished:
    """Curves of finished networks, kept in evaluation.jsonl: a line of settings, then one each."""

    def __init__(self, workdir: Path | None, about: dict[str, Any]) -> None:
        self.found: dict[int, list[float]] = {}
        self._about = about
        self._path = workdir / "evaluation.jsonl" if workdir else None
        if self._path is not None and self._path.exists():
            text = self._path.read_text("utf-8", "replace")
            lines = [_parse(line) for line in text.splitlines()]
            if lines and lines[0] is None:
                raise UserError(f"{self._path} is damaged; remove it to train the networks again.")
            if lines:
                check_same(lines[0], about, self._path)
            self.found = {line["network"]: line["curve"] for line in lines[1:] if line}
        parallel.barrier("evaluations found")
        self._write()

    def add(self, curves: dict[int, list[float]]) -> None:
        """Keeps the curves of networks that were trained side by side."""
        self.found |= curves
        self._write()

    def _write(self) -> None:
        lines = [self._about, *({"network": n, "curve": c} for n, c in self.found.items())]
        if self._path is not None:
            text = "".join(json.dumps(checkpoint.seal(line)) + "\n" for line in lines)
            runs.write_bytes(self._path, text.encode())


def _parse(line: str) -> Any:
    """A sealed line's content; None for a damaged one, whose network is trained again."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or checkpoint.seal(value) != value:
        return None
    return {name: entry for name, entry in value.items() if name != "manifest_sha256"}


def describe_set(train: CondensedSet | ImageDataset) -> dict[str, Any]:
    if isinstance(train, ImageDataset):
        return {
            "name": train.name, "method": "whole", "ipc": None, "fingerprint": train.fingerprint,
        }  # fmt: skip
    about = {
        "name": train.source["name"],
        "method": train.method,
        "ipc": train.ipc,
        "fingerprint": condensed.fingerprint(train),
    }
    return about if train.origin is None else {**about, "origin": train.origin}
