"""How well networks trained on a set do on the test set: protocols by name, honest results."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dancejax import augment, backend, condensed, interpolate, networks, runs, training
from dancejax.checkpoint import check_same
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, TrainData

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
    progress: bool = True,
) -> dict[str, Any]:
    """Trains `repeats` networks from scratch on a set and tests them.

    points: at how many epochs, evenly spread and the last among them, the test accuracy is taken.
    Returns (accuracies in percent): "accuracy_mean" and "accuracy_std" of the last epoch over the
    networks (sample deviation), "accuracies", and, chosen on the test set and not to be reported as
    the result, "best_over_epochs_mean"; "curve" has the mean at each epoch tested. With a workdir,
    finished networks are kept there and the same call goes on after an interruption.
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
    data = training_set(train)
    test_data = TrainData(jnp.asarray(test.images), jnp.asarray(test.labels), data.mean, data.std)
    points = min(points, config.epochs)
    epochs = [round((i + 1) * config.epochs / points) for i in range(points)]
    about = {
        "train": _describe(train),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.describe(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "test_epochs": epochs,
    }
    curves = _Finished(workdir, about)
    missing = [n for n in range(repeats) if n not in curves.found]
    size = backend.networks_per_call(len(missing))
    done = repeats - len(missing)
    steps = config.epochs * training.steps_per_epoch(len(data.labels), config.batch_size)
    with (
        runs.stop_on_signals() as stop,
        runs.Progress("evaluate", repeats * steps, start=done * steps, enabled=progress) as bar,
    ):
        for start in range(0, len(missing), size):
            group = missing[start : start + size]
            results = _train_group(
                group, data, test_data, network, config, seed, epochs, stop, bar,
                (done + start) * steps,
            )  # fmt: skip
            for member, curve in zip(group, results, strict=True):
                curves.add(member, curve)
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
        **about,
    }


def _train_group(
    members: list[int],
    data: TrainData,
    test: TrainData,
    network: nn.Module,
    config: TrainConfig,
    seed: int,
    epochs: list[int],
    stop: runs.StopFlag,
    bar: runs.Progress,
    offset: int,
) -> list[list[float]]:
    """Accuracy curves, in percent, of some networks trained side by side (one, on CPU)."""
    shape = tuple(data.images.shape[1:])
    pairs = [jax.random.split(key) for key in training.member_keys(seed, members)]
    states = [training.init_state(k, network, shape, config) for k, _ in pairs]
    single = len(members) == 1
    keys = pairs[0][1] if single else jnp.stack([k for _, k in pairs])
    state = states[0] if single else interpolate.stack(states)
    step_fn = training.train_step if single else training.train_step_many
    per_epoch = training.steps_per_epoch(data.images.shape[0], config.batch_size)
    curves: list[list[float]] = [[] for _ in members]
    done = offset
    for epoch in range(1, config.epochs + 1):
        for _ in range(per_epoch):
            state, loss = step_fn(state, keys, data, network=network, config=config)
            done += len(members)
            if backend.is_cpu():
                loss.block_until_ready()
                bar.update(done)
            stop.check()
        if epoch in epochs:
            worst = float(jnp.max(loss))
            if worst != worst:
                raise UserError(f"the loss became NaN by epoch {epoch}; lower --learning_rate.")
            for i, curve in enumerate(curves):
                own = state.variables if single else interpolate.select(state.variables, i)
                curve.append(100 * float(training.accuracy(own, test, network=network)))
            bar.update(done, accuracy=statistics.fmean(curve[-1] for curve in curves))
    return curves


class _Finished:
    """Curves of finished networks, kept in evaluation.jsonl: a line of settings, then one each."""

    def __init__(self, workdir: Path | None, about: dict[str, Any]) -> None:
        self.found: dict[int, list[float]] = {}
        self._path = workdir / "evaluation.jsonl" if workdir else None
        if self._path is None:
            return
        if self._path.exists():
            lines = [_parse(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
            if lines and lines[0] is not None:
                check_same(lines[0], about, self._path)
            self.found = {line["network"]: line["curve"] for line in lines[1:] if line}
        text = "".join(
            json.dumps(line) + "\n"
            for line in [about, *({"network": n, "curve": c} for n, c in self.found.items())]
        )
        runs.write_bytes(self._path, text.encode())

    def add(self, member: int, curve: list[float]) -> None:
        self.found[member] = curve
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"network": member, "curve": curve}) + "\n")


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # torn by an interruption: that network is trained again
        return None


def _describe(train: CondensedSet | ImageDataset) -> dict[str, Any]:
    if isinstance(train, ImageDataset):
        return {
            "name": train.name, "method": "whole", "ipc": None, "fingerprint": train.fingerprint,
        }  # fmt: skip
    return {
        "name": train.source["name"],
        "method": train.method,
        "ipc": train.ipc,
        "fingerprint": condensed.fingerprint(train),
    }
