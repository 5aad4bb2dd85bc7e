"""How well networks trained on a set do on the test set: protocols by name, honest results."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dancejax import checks, condensed, keys, networks, runs, training
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import integrity, parallel
from dancejax.runs.integrity import check_same
from dancejax.training import TrainConfig, TrainData, TrainState, loop


def training_set(train: CondensedSet | Dataset) -> TrainData:
    """A set, decoded, on the device."""
    if isinstance(train, Dataset):
        return training.train_data(train)
    images, labels = train.decoded()
    return TrainData(images, labels, jnp.asarray(train.mean), jnp.asarray(train.std))


def evaluate(
    train: CondensedSet | Dataset,
    test: Dataset,
    network: nn.Module,
    config: TrainConfig,
    *,
    repeats: int,
    seed: int = 0,
    points: int = 10,
    workdir: Path | None = None,
    placement: str = "device",
    devices: int | None = None,
    at_once: int | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains `repeats` networks from scratch on a set and tests them.

    points: at how many epochs, evenly spread and the last among them, the test accuracy is taken.
    Returns (accuracies in percent): "accuracy_mean" and "accuracy_std" of the last epoch over the
    networks (sample deviation), "accuracies", and, chosen on the test set and not to be reported as
    the result, "best_over_epochs_mean"; "curve" has the mean at each epoch tested. With a workdir,
    finished networks and checkpoints of those under way are kept there and the same call goes on
    after an interruption. placement: "host" for real images that are larger than the device's
    memory, whose batches are sent ahead. devices: how many (None: all). at_once: networks side by
    side at most (None: as many as suit the device and its memory).
    """
    checks.whole("repeats (networks)", repeats, 1)
    checks.whole("points (test points)", points, 1)
    checks.whole("seed", seed)
    hint = Dataset.HINT
    checks.instance("the training set", train, CondensedSet, Dataset, hint=hint)
    checks.instance("the test set", test, Dataset, hint=hint)
    checks.instance("config", config, TrainConfig, hint="evaluate.protocol makes one")
    if train.image_shape != test.image_shape or tuple(train.classes) != tuple(test.classes):
        raise UserError(
            f"the training set ({train.num_classes} classes, {list(train.image_shape)}) and the "
            f"test set ({test.num_classes} classes, {list(test.image_shape)}) don't fit together."
        )
    networks.check(network, train.num_classes, train.image_shape)
    test = dataclasses.replace(test, mean=train.mean, std=train.std)
    train_set: TrainData | Dataset
    if placement == "host" and isinstance(train, Dataset):
        train_set = train
    else:
        train_set = training_set(train)
    points = min(points, config.epochs)
    epochs = [round((i + 1) * config.epochs / points) for i in range(points)]
    about: dict[str, Any] = {
        "train": describe_set(train),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "test_epochs": epochs,
    }
    parallel.check_devices(devices)
    if workdir is not None:
        workdir = runs.open_workdir(workdir)
    curves = _Finished(workdir, about)
    about = curves.about
    missing = [n for n in range(repeats) if n not in curves.found]
    folder = workdir / "training" if workdir else None
    steps = config.epochs * training.steps_per_epoch(len(train_set.labels), config.batch_size)
    offset = (repeats - len(missing)) * steps
    with (
        parallel.use(parallel.NETWORKS, parallel.devices_for(repeats, devices)) as mesh,
        runs.stop_on_signals() as stop,
        runs.Progress("evaluate", repeats * steps, start=offset, enabled=progress) as bar,
    ):
        data = train_set
        if not isinstance(data, Dataset):
            data = TrainData(*parallel.place(data, mesh))
        test_data = loop.place(test, placement, mesh)

        def after_epoch(epoch: int, state: TrainState, loss: float, curve: Any) -> Any:
            """Test accuracies in percent so far, [N, points]."""
            if epoch not in epochs:
                return curve
            now = 100 * training.accuracy_in_parts(
                state.variables, test_data, network=network, mesh=mesh
            )
            curve = np.array(curve)
            now = now[: len(curve)]
            curve[:, epochs.index(epoch)] = now
            bar.update(bar.done, accuracy=float(now.mean()))
            return curve

        size = loop.team_size(network, train.image_shape, config, repeats, at_once)
        for members in loop.teams(missing, folder, size):
            state, own_keys = loop.init_team(
                seed, members, network, train.image_shape, config, mesh, purpose=about["keys"]
            )
            _, taken = loop.train(
                state,
                own_keys,
                data,
                mesh=mesh,
                network=network,
                config=config,
                members=members,
                about=about,
                folder=folder,
                after_epoch=after_epoch,
                extra=np.zeros((len(members), len(epochs)), np.float32),
                stop=stop,
                bar=bar,
                offset=offset,
                checkpoint_seconds=checkpoint_seconds,
            )
            curves.add(dict(zip(members, np.asarray(taken).tolist(), strict=True)))
            loop.clear(folder)
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


BEST = "best_over_checkpoints.json"


def over_checkpoints(
    sets: dict[int, CondensedSet],
    test: Dataset,
    network: nn.Module,
    config: TrainConfig,
    *,
    repeats: int,
    scouts: int = 1,
    workdir: Path,
    **options: Any,
) -> dict[str, Any]:
    """Select the best of a run's kept sets on the test set, as the papers' figures are selected.

    Each set is tested by `scouts` networks; the one with the best accuracy over their epochs is
    then evaluated by `repeats` networks. The figure is no result: it is chosen on the test set.

    Args:
      sets: condensed sets by the iterations they were kept after.
      test, network, config, options: as in `evaluate`.
      repeats: networks that evaluate the set that was selected.
      workdir: folder for the evaluations and for best_over_checkpoints.json.

    Returns:
      What best_over_checkpoints.json says.

    Raises:
      UserError: there are no sets, or as in `evaluate`.
    """
    if not sets:
        raise UserError("there are no kept sets; condense with --keep_every.")
    tested = []
    for iteration, made in sorted(sets.items()):
        folder = runs.open_workdir(workdir / f"step_{iteration:06d}")
        found = evaluate(made, test, network, config, repeats=scouts, workdir=folder, **options)
        names = ("accuracy_mean", "best_over_epochs_mean")
        tested.append({"iteration": iteration, **{name: found[name] for name in names}})
    best = max(tested, key=lambda entry: entry["best_over_epochs_mean"])
    chosen = sets[best["iteration"]]
    folder = runs.open_workdir(workdir / "best")
    found = evaluate(chosen, test, network, config, repeats=repeats, workdir=folder, **options)
    said = ("accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    result = {
        "kind": "best over checkpoints",
        "selected_on": "the test set",
        "networks_per_checkpoint": scouts,
        "checkpoints": tested,
        "best": {"iteration": best["iteration"], **{name: found[name] for name in said}},
    }
    runs.write_json(workdir / BEST, result)
    return result


class _Finished:
    """Curves of finished networks, kept in evaluation.jsonl: a line of settings, then one each."""

    def __init__(self, workdir: Path | None, about: dict[str, Any]) -> None:
        self.found: dict[int, list[float]] = {}
        self.about = {**about, "keys": keys.EVALUATION}
        self._path = workdir / "evaluation.jsonl" if workdir else None
        found, self.about = parallel.primary_says(lambda: (self._read(), self.about))
        self.found = {int(number): curve for number, curve in found}
        self._write()

    def _read(self) -> list[tuple[int, list[float]]]:
        """(network, curve) of those that are finished; takes over the keys they were made with."""
        if self._path is None or not self._path.exists():
            return []
        lines = [_parse(line) for line in self._path.read_text("utf-8", "replace").splitlines()]
        if lines and lines[0] is None:
            raise UserError(f"{self._path} is damaged; remove it to train the networks again.")
        if lines:
            # Begun by an earlier version, whose networks had the keys of experts: go on so.
            self.about["keys"] = lines[0].get("keys", keys.EXPERTS)
            check_same(lines[0], self.about, self._path, missing=training.EARLIER)
        return [(line["network"], line["curve"]) for line in lines[1:] if line]

    def add(self, curves: dict[int, list[float]]) -> None:
        """Keeps the curves of networks that were trained side by side."""
        self.found |= curves
        self._write()

    def _write(self) -> None:
        lines = [self.about, *({"network": n, "curve": c} for n, c in self.found.items())]
        if self._path is not None:
            text = "".join(json.dumps(integrity.seal(line)) + "\n" for line in lines)
            runs.write_bytes(self._path, text.encode())


def _parse(line: str) -> Any:
    """A sealed line's content; None for a damaged one, whose network is trained again."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or integrity.seal(value) != value:
        return None
    return {name: entry for name, entry in value.items() if name != "manifest_sha256"}


def describe_set(train: CondensedSet | Dataset) -> dict[str, Any]:
    if isinstance(train, Dataset):
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
