"""How well networks trained on a set do on the test set: protocols by name, honest results."""

import dataclasses
import html
import json
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dancejax import checks, condensed, keys, methods, networks, runs, training
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.runs import Run, integrity, parallel
from dancejax.runs.integrity import check_same
from dancejax.training import TrainConfig, TrainData, TrainState, loop, protocols
from dancejax.types import Json


def check_labels(train: CondensedSet | Dataset, config: TrainConfig) -> None:
    """Raise UserError if a training asks for soft labels that its set has not."""
    if config.labels == "soft" and getattr(train, "soft_labels", None) is None:
        raise UserError(
            "the training set has no soft labels; make some with launch.label, or choose a "
            "protocol without _soft."
        )


def training_set(train: CondensedSet | Dataset, config: TrainConfig) -> TrainData:
    """What networks are trained on: a data set, on the host, or a decoded set, on the device.

    Raises:
      UserError: config asks for soft labels, and there are none.
    """
    check_labels(train, config)
    if isinstance(train, Dataset):
        return training.train_data(train)
    images, labels = train.decoded()
    if config.labels == "soft":
        labels = jnp.asarray(train.soft_labels)
    return TrainData(images, labels, jnp.asarray(train.mean), jnp.asarray(train.std))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well networks do that were trained from scratch on a set.

    Attributes:
      accuracies: of each network on the test set after its last epoch, percent.
      best_over_epochs_mean: mean of each network's best epoch, percent; chosen on the test set, so
        not to be reported as the result.
      epochs: those after which networks were tested.
      curve: mean accuracy after each of these, percent.
      test_images: how many.
      accuracy_by_class: of each class by its name, mean over the networks after the last epoch,
        percent; None for a class without test images. Empty where an earlier version tested.
      record: what was evaluated and how, as JSON: set, test set, network, training, seed.
    """

    accuracies: tuple[float, ...]
    best_over_epochs_mean: float
    epochs: tuple[int, ...]
    curve: tuple[float, ...]
    test_images: int
    accuracy_by_class: dict[str, float | None]
    record: dict[str, Any]

    @property
    def accuracy_mean(self) -> float:
        """Mean over the networks after the last epoch, percent: the result."""
        return statistics.fmean(self.accuracies)

    @property
    def accuracy_std(self) -> float:
        """Sample deviation over the networks, percent; 0 for one network."""
        return statistics.stdev(self.accuracies) if self.repeats > 1 else 0.0

    @property
    def repeats(self) -> int:
        """How many networks."""
        return len(self.accuracies)

    def to_dict(self) -> Json:
        """What result.json says."""
        return {
            "accuracy_mean": self.accuracy_mean,
            "accuracy_std": self.accuracy_std,
            "accuracies": list(self.accuracies),
            "best_over_epochs_mean": self.best_over_epochs_mean,
            "curve": {"epochs": list(self.epochs), "accuracy_mean": list(self.curve)},
            "repeats": self.repeats,
            "test_images": self.test_images,
            **({"accuracy_by_class": self.accuracy_by_class} if self.accuracy_by_class else {}),
            **self.record,
        }

    def __repr__(self) -> str:
        spread = f" +- {self.accuracy_std:.2f}" if self.repeats > 1 else ""
        networks = "network" if self.repeats == 1 else "networks"
        return f"<Evaluation: {self.accuracy_mean:.2f}{spread} %, {self.repeats} {networks}>"

    def _repr_html_(self) -> str:
        curve = _html("epoch", zip(self.epochs, self.curve, strict=True))
        classes = _html("class", self.accuracy_by_class.items())
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{curve}{classes}"


def _html(what: str, means: Iterable[tuple[Any, float | None]]) -> str:
    """A table of accuracies; "" for none."""
    known = [(str(name), mean) for name, mean in means if mean is not None]
    cells = "".join(f"<tr><td>{html.escape(n)}</td><td>{mean:.2f}</td></tr>" for n, mean in known)
    head = f"<tr><th>{what}</th><th>mean test accuracy (%)</th></tr>"
    return f"<table>{head}{cells}</table>" if known else ""


def evaluate(
    train: CondensedSet | Dataset,
    test: Dataset,
    network: nn.Module,
    config: TrainConfig | None = None,
    *,
    repeats: int = 5,
    seed: int = 0,
    test_points: int = 10,
    run: Run | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Evaluation:
    """Train networks from scratch on a set and test them.

    Args:
      train: what they are trained on.
      test: what they are tested on, of the same classes and image shape.
      network: what is trained.
      config: how; None is the protocol of the paper of the set's method.
      repeats: networks, at least 1.
      seed: of their initialisation and training.
      test_points: at how many epochs, evenly spread and the last among them, they are tested.
      run: with a folder, finished networks and checkpoints of those under way are kept there, and
        the same call goes on after an interruption.
      **settings: fields of TrainConfig that differ from config, such as epochs.

    Raises:
      UserError: parts that do not fit together, or a folder of another evaluation.
    """
    run = runs.of(run)
    _check_parts(
        train, test, network, {"repeats": repeats, "test_points": test_points, "seed": seed}
    )
    usual = config or protocols.protocol_for(
        methods.protocol_of(getattr(train, "method", "")), train, test
    )
    checks.instance("config", usual, TrainConfig, hint="protocols.protocol makes one")
    config = training.changed(usual, settings)
    check_labels(train, config)
    test = dataclasses.replace(test, mean=train.mean, std=train.std)
    count = min(test_points, config.epochs)
    epochs = [round((i + 1) * config.epochs / count) for i in range(count)]
    run = run.opened()
    found = _Finished(run.folder, _record(train, test, network, config, seed, epochs))
    about, data = found.about, training_set(train, config)
    job = loop.Job("evaluate", network, config, data, repeats, seed, about["keys"], about)
    missing = [n for n in range(repeats) if n not in found.curves]
    loop.train(job, missing, _Tester(job, test, epochs, found), run)
    curves = [found.curves[n] for n in range(repeats)]
    correct = [found.correct.get(n) for n in range(repeats)]
    return Evaluation(
        accuracies=tuple(curve[-1] for curve in curves),
        best_over_epochs_mean=statistics.fmean(max(curve) for curve in curves),
        epochs=tuple(epochs),
        curve=tuple(statistics.fmean(c) for c in zip(*curves, strict=True)),
        test_images=len(test),
        accuracy_by_class=training.accuracy_by_class(correct, test),
        record=found.about,
    )


def _check_parts(
    train: CondensedSet | Dataset, test: Dataset, network: nn.Module, counts: dict[str, Any]
) -> None:
    """Raise UserError for parts that do not fit together."""
    for name, least in (("repeats", 1), ("test_points", 1), ("seed", 0)):
        checks.whole(name, counts[name], least)
    hint = Dataset.HINT
    checks.instance("the training set", train, CondensedSet, Dataset, hint=hint)
    checks.instance("the test set", test, Dataset, hint=hint)
    if train.image_shape != test.image_shape or tuple(train.classes) != tuple(test.classes):
        raise UserError(
            f"the training set ({train.num_classes} classes, {list(train.image_shape)}) and the "
            f"test set ({test.num_classes} classes, {list(test.image_shape)}) don't fit together."
        )
    networks.check(network, train.num_classes, train.image_shape)


def _record(
    train: CondensedSet | Dataset,
    test: Dataset,
    network: nn.Module,
    config: TrainConfig,
    seed: int,
    epochs: list[int],
) -> dict[str, Any]:
    """What an evaluation is, as its files say it and resuming checks it."""
    return {
        "train": condensed.describe(train),
        "test": {"name": test.name, "fingerprint": test.fingerprint},
        "network": networks.identity(network),
        "training": dataclasses.asdict(config),
        "seed": seed,
        "test_epochs": epochs,
    }


class _Tester(loop.Observer):
    """Tests networks in training: `extra` are accuracies in percent so far, [N, points]."""

    def __init__(self, job: loop.Job, test: Dataset, epochs: list[int], found: "_Finished") -> None:
        self.job, self.test, self.epochs, self.found = job, test, epochs, found
        self.placed: Any = None

    def begin(self, team: loop.Team, session: runs.Session) -> np.ndarray:
        self.session = session
        if self.placed is None:
            self.placed = loop.place(training.train_data(self.test), session)
        return np.zeros((len(team.members), len(self.epochs)), np.float32)

    def after_epoch(self, epoch: int, state: TrainState, loss: float, extra: Any) -> Any:
        """Test them, but for the last epoch, which `finish` does."""
        if epoch not in self.epochs[:-1]:
            return extra
        return self._with(epoch, self._correct(state, len(extra)), extra)

    def finish(self, team: loop.Team, state: TrainState, extra: Any) -> bool:
        correct = self._correct(state, len(extra))
        curves = self._with(self.epochs[-1], correct, extra)
        self.found.add(team.members, curves.tolist(), correct.tolist())
        return True

    def _correct(self, state: TrainState, count: int) -> np.ndarray:
        """Right answers by network and class, without the networks that fill up the devices."""
        return training.correct_in_parts(
            state.variables, self.placed, network=self.job.network, mesh=self.session.mesh
        )[:count]

    def _with(self, epoch: int, correct: np.ndarray, extra: Any) -> np.ndarray:
        curve, now = np.array(extra), 100 * correct.sum(-1) / len(self.test)
        curve[:, self.epochs.index(epoch)] = now
        self.session.bar.update(self.session.bar.done, accuracy=float(now.mean()))
        return curve


BEST = "best_over_checkpoints.json"


def over_checkpoints(
    sets: dict[int, CondensedSet],
    test: Dataset,
    network: nn.Module,
    config: TrainConfig | None = None,
    *,
    scouts: int = 1,
    run: Run | str | os.PathLike[str],
    **options: Any,
) -> Json:
    """Select the best of a run's kept sets on the test set, as the papers' figures are selected.

    Each set is tested by `scouts` networks; the one with the best accuracy over their epochs is
    then evaluated by `repeats` networks. The figure is no result: it is chosen on the test set.

    Args:
      sets: condensed sets by the iterations they were kept after.
      test: the test set.
      network: what is trained.
      config: how; None is the protocol of the paper of the sets' method.
      scouts: networks that test each set.
      run: with a folder for the evaluations and for best_over_checkpoints.json.
      **options: repeats, seed and test_points, as in `evaluate`.

    Returns:
      What best_over_checkpoints.json says.

    Raises:
      UserError: there are no sets, or as in `evaluate`.
    """
    if not sets:
        raise UserError("there are no kept sets; condense with --keep_every.")
    run = runs.of(run).opened()
    tested = []
    for iteration, made in sorted(sets.items()):
        own = run.within(f"step_{iteration:06d}")
        found = evaluate(made, test, network, config, run=own, **{**options, "repeats": scouts})
        tested.append(
            {
                "iteration": iteration,
                "accuracy_mean": found.accuracy_mean,
                "best_over_epochs_mean": found.best_over_epochs_mean,
            }
        )
    best = max(tested, key=lambda entry: entry["best_over_epochs_mean"])
    chosen = sets[int(best["iteration"])]
    final = evaluate(chosen, test, network, config, run=run.within("best"), **options).to_dict()
    said = ("accuracy_mean", "accuracy_std", "best_over_epochs_mean", "repeats")
    result = {
        "kind": "best over checkpoints",
        "selected_on": "the test set",
        "networks_per_checkpoint": scouts,
        "checkpoints": tested,
        "best": {"iteration": best["iteration"], **{name: final[name] for name in said}},
    }
    if run.folder is not None:
        runs.write_json(run.folder / BEST, result)
    return result


class _Finished:
    """Finished networks, kept in evaluation.jsonl: a line of settings, then one each.

    Attributes:
      curves: accuracies of each after the epochs it was tested at, percent.
      correct: right answers in each class after the last one; none of an earlier version's.
    """

    def __init__(self, workdir: Path | None, about: dict[str, Any]) -> None:
        self.curves: dict[int, list[float]] = {}
        self.correct: dict[int, list[int]] = {}
        self.about = {**about, "keys": keys.EVALUATION}
        self._path = workdir / "evaluation.jsonl" if workdir else None
        found, self.about = parallel.primary_says(lambda: (self._read(), self.about))
        self.curves = {line["network"]: line["curve"] for line in found}
        self.correct = {line["network"]: line["correct"] for line in found if "correct" in line}
        self._write()

    def _read(self) -> list[Json]:
        """The lines of those that are finished; takes over the keys they were made with."""
        if self._path is None or not self._path.exists():
            return []
        lines = [_parse(line) for line in self._path.read_text("utf-8", "replace").splitlines()]
        if lines and lines[0] is None:
            raise UserError(f"{self._path} is damaged; remove it to train the networks again.")
        if lines:
            # Begun by an earlier version, whose networks had the keys of experts: go on so.
            self.about["keys"] = lines[0].get("keys", keys.EXPERTS)
            check_same(lines[0], self.about, self._path, missing=training.EARLIER)
        return [line for line in lines[1:] if line]

    def add(
        self, members: Sequence[int], curves: list[list[float]], correct: list[list[int]]
    ) -> None:
        """Keeps what was found of networks that were trained side by side."""
        self.curves |= dict(zip(members, curves, strict=True))
        self.correct |= dict(zip(members, correct, strict=True))
        self._write()

    def _write(self) -> None:
        lines: list[Json] = [self.about]
        for number, curve in self.curves.items():
            own = {"correct": self.correct[number]} if number in self.correct else {}
            lines.append({"network": number, "curve": curve, **own})
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
