"""Trains networks from scratch on a condensed set, a coreset or the whole set, and tests them.

    python -m launch.evaluate --dataset=cifar10 --condensed=runs/cifar10/ipc10/condensed \\
        --workdir=runs/cifar10/ipc10/evaluation

The result is the accuracy after the last epoch, mean and deviation over the networks. Without
--condensed the networks train on the whole set. A set of your own images is evaluated with the
network and settings that it was made for, one of the papers' data sets by the paper's protocol;
flags overrule both. The set must have been made from the data set that is named, as it is now.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
from absl import flags

from dancejax import augment, condensed, evaluation, exchange, methods, networks, runs
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.training import TrainConfig, protocols

from . import common, flagtypes

FLAGS = flags.FLAGS


def define_protocol(points: int) -> None:
    flags.DEFINE_enum(
        "protocol",
        None,
        protocols.PROTOCOLS,
        "default: the paper's of the set's method; dm for dm and idm, dance for the rest",
    )
    flags.DEFINE_integer("epochs", None, "epochs (default: the protocol's)", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "batch size (default: the protocol's)", lower_bound=1)
    flagtypes.define_number("rate", None, "learning rate (default: the protocol's)", above=0)
    flags.DEFINE_enum(
        "draw",
        None,
        augment.DRAWS,
        "what draws its own choice among crop, scale and rotation in training: batch (default), as "
        "in the authors' setups, or image, as versions before 0.2 had it; strengths are each "
        "image's own",
    )
    flags.DEFINE_integer(
        "test_points", points, "epochs at which to test, the last too", lower_bound=1
    )


def protocol_for_method(
    method: str, test: Dataset, *, decoded: int | None = None, factor: int = 1
) -> tuple[str, TrainConfig]:
    """The protocol that the flags and a set's method name, and how it trains.

    decoded, factor: training images per class and tiles a side of the set.
    """
    overrides = {
        "epochs": FLAGS.epochs,
        "batch_size": FLAGS.batch_size,
        "learning_rate": FLAGS.rate,
        "draw": FLAGS.draw,
    }
    given = {k: v for k, v in overrides.items() if v is not None}
    name = FLAGS.protocol or methods.protocol_of(method)
    config = protocols.protocol(
        name,
        test.name,
        flip=test.flip,
        side=min(test.image_shape[:2]),
        num_classes=test.num_classes,
        decoded=decoded,
        factor=factor,
        **given,
    )
    return name, config


def define_other_data() -> None:
    flags.DEFINE_bool(
        "other_data",
        False,
        "take a set that was made from other data than the flags name; its test images may be "
        "among those that it was made from",
    )


def check_source(made: CondensedSet, path: str | Path) -> dict[str, Any]:
    """Compare what a condensed set was made from with the training set that the flags name.

    A seeded split falls otherwise when images are added, so that a set of a folder as it was may
    hold the test images of the folder as it is. The name does not tell.

    Returns:
      What a result says of it: nothing, or with --other_data what the set was made from.

    Raises:
      UserError: they differ, and --other_data is not given.
    """
    common.choose_size_of(made)
    source, shape = _training_set(FLAGS.image_size)
    name = made.source.get("name")
    if made.source.get("fingerprint") == source["fingerprint"]:
        return {}
    if FLAGS.other_data:
        return {"other_data": {"made_from": made.source, "given": source}}
    hint = "give the data as it was then, or say --other_data"
    if made.image_shape != shape:
        hint = (
            f"the set has images of {_size(made.image_shape)}, these are {_size(shape)}"
            "; give the --image_size that it was made with"
        )
    elif FLAGS.image_size is not None and FLAGS["image_size"].present:
        hint = f"it may be --image_size={FLAGS.image_size}; {hint}"
    what = f"was made from {name!r}, not from {source['name']!r}"
    if name == source["name"]:
        what = f"was made from other training images than those of {name!r} as it is now"
    raise UserError(f"{path} {what}: {hint}.")


@functools.cache
def _training_set(image_size: int | None) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """What a set made from the training set that the flags name records, and the images' shape."""
    train = common.load("train")
    return dataset_source(train), train.image_shape


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def assess(
    chosen: CondensedSet | Dataset,
    test: Dataset,
    network: nn.Module,
    folder: Path,
    *,
    method: str = "",
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluates a set as the flags and a method say, into a folder; returns its result.json.

    about: what the result says beside.
    """
    name, config = protocol_for_method(method, test, **protocols.size_of(chosen))
    result = evaluation.evaluate(
        chosen,
        test,
        network,
        config,
        repeats=FLAGS.repeats,
        seed=FLAGS.seed,
        points=FLAGS.test_points,
        workdir=folder,
        placement=FLAGS.data_placement,
        devices=FLAGS.devices,
        at_once=FLAGS.networks_at_once,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )
    result = {"protocol": name, **result, **(about or {})}
    runs.write_json(folder / "result.json", result)
    return result


def with_evaluation(
    made: CondensedSet, dataset: Dataset, network: nn.Module, *, method: str
) -> CondensedSet:
    """A set with the network and settings of its evaluation in the manifest, for `own_settings`."""
    name, config = protocol_for_method(method, dataset, **protocols.size_of(made))
    evaluation = {
        "protocol": name,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "rate": config.learning_rate,
        "repeats": FLAGS.repeats,
    }
    settings = {
        **made.settings, "network": networks.describe(network), "evaluation": evaluation,
    }  # fmt: skip
    return dataclasses.replace(made, settings=settings)


@contextlib.contextmanager
def own_settings(made: CondensedSet | None) -> Iterator[None]:
    """Have flags of the evaluation that were not given take the values that a set records."""
    recorded = made.settings.get("evaluation") if made else None
    known = ("protocol", "epochs", "batch_size", "rate", "repeats")
    values = {k: v for k, v in recorded.items() if k in known} if recorded else {}
    before = {name: FLAGS[name].default for name in values}
    for name, value in values.items():
        FLAGS.set_default(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            FLAGS.set_default(name, value)


def network_for(made: CondensedSet | None, test: Dataset) -> nn.Module:
    """The network that the flags name; what they leave open a set of own images may record."""
    settings = made.settings if made else {}
    recorded = settings.get("network", {}) if "evaluation" in settings else {}
    name = FLAGS.network if FLAGS["network"].present else recorded.get("name", FLAGS.network)
    options = common.network_options()
    if name == recorded.get("name"):
        known = {k: v for k, v in recorded.items() if k not in ("name", "num_classes")}
        options = {**known, **options}
    return networks.create(name, test.num_classes, test.image_shape, **options)


def set_folder(path: Path) -> Path:
    """The folder of a condensed set; the work folder of a run stands for its."""
    if not (path / "manifest.json").exists() and (path / "condensed" / "manifest.json").exists():
        return path / "condensed"
    return path


def load_set(path: Path) -> CondensedSet:
    """A condensed set, a coreset, or an export of one."""
    path = set_folder(path)
    return exchange.read(path) if exchange.is_export(path) else condensed.load(path)


def kept_sets(folder: Path) -> dict[int, CondensedSet]:
    """The sets that `condense --keep_every` left in a folder, by iteration."""
    found = sorted(folder.glob("step_*")) or sorted((folder / "kept").glob("step_*"))
    sets = {}
    for path in found:
        number = path.name.removeprefix("step_")
        if number.isdecimal():
            sets[int(number)] = condensed.load(path)
    if not sets:
        raise UserError(f"{folder} holds no kept sets; condense with --keep_every.")
    return sets


def select_checkpoint() -> None:
    """Test the sets kept along a run, and evaluate the best of them."""
    sets = kept_sets(FLAGS.kept)
    last = sets[max(sets)]
    about = check_source(last, FLAGS.kept)
    test = common.load("test")
    network = network_for(last, test)
    with own_settings(last):
        name, config = protocol_for_method(last.method, test, **protocols.size_of(last))
        workdir = common.start({"protocol": name, **about})
        result = evaluation.over_checkpoints(
            sets,
            test,
            network,
            config,
            repeats=FLAGS.repeats,
            workdir=workdir,
            seed=FLAGS.seed,
            points=FLAGS.test_points,
            placement=FLAGS.data_placement,
            devices=FLAGS.devices,
            at_once=FLAGS.networks_at_once,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
        )
    common.show(result)
    best = result["best"]
    accuracy = common.accuracy(best["accuracy_mean"], best["accuracy_std"], best["repeats"])
    common.say(
        f"best over checkpoints, selected on the test set and no result: {accuracy} after "
        f"{best['iteration']} iterations (last epoch, {best['repeats']} networks)"
    )


def main() -> None:
    common.check_workdir()
    if FLAGS.kept and FLAGS.condensed:
        raise UserError("--kept and --condensed exclude each other; give one of them.")
    if FLAGS.kept:
        select_checkpoint()
        return
    chosen = load_set(FLAGS.condensed) if FLAGS.condensed else None
    about = check_source(chosen, FLAGS.condensed) if chosen else {}
    train = chosen or common.load_train()
    test = common.load("test")
    network = network_for(chosen, test)
    method = chosen.method if chosen else ""
    with own_settings(chosen):
        name, config = protocol_for_method(method, test, **protocols.size_of(train))
        if chosen and "evaluation" in chosen.settings:
            common.say(
                f"as the set records, where no flag says otherwise: {_words(network)}, protocol "
                f"{name}, {config.epochs} epochs, {FLAGS.repeats} networks"
            )
        workdir = common.start({"protocol": name})
        result = assess(train, test, network, workdir, method=method, about=about)
    common.show(result)
    accuracy = common.accuracy(result["accuracy_mean"], result["accuracy_std"], result["repeats"])
    common.say(
        f"accuracy {accuracy} (last epoch, {result['repeats']} networks); best over epochs, "
        f"chosen on the test set: {result['best_over_epochs_mean']:.2f} %"
    )


def _words(network: nn.Module) -> str:
    """A network as a sentence names it."""
    about = networks.describe(network)
    return f"{about['name']} of width {about['width']}" if "width" in about else about["name"]


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    flagtypes.define_path("condensed", None, "folder of a condensed set, a coreset or an export")
    flags.DEFINE_integer("repeats", 10, "networks to train", lower_bound=1)
    flagtypes.define_path(
        "kept",
        None,
        "work folder of a run of condense --keep_every: each kept set is tested by one network "
        "and the best one evaluated; best over checkpoints, as in the papers, is no result",
    )
    common.define_placement()
    define_protocol(points=10)
    define_other_data()
    common.run(main)
