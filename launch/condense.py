"""Condenses a data set to a few synthetic images per class.

    python -m launch.condense --dataset=cifar10 --ipc=10 --workdir=runs/cifar10/ipc10

Settings are the paper's unless given. DANCE takes its experts from --expert_dir, by default the
folder "experts" in the work folder, and trains what is missing there. The result is the folder
"condensed" in the work folder. The same command goes on after an interruption.
"""

import dataclasses
from typing import Any

from absl import flags

from dancejax import condense, condensed, experts, figures, methods, networks
from dancejax.data.dataset import ImageDataset
from dancejax.methods import presets

from . import common, pretrain

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_enum("method", "dance", list(methods.METHODS), "the method")
    flags.DEFINE_integer("ipc", None, "stored images per class", lower_bound=1, required=True)
    flags.DEFINE_enum("preset", "paper", ["paper"], "published settings; flags go before them")
    flags.DEFINE_integer("steps", None, "iterations (default: the paper's)", lower_bound=1)
    flags.DEFINE_enum("init", "real", condense.INITS, "what the stored images start from")
    flags.DEFINE_integer("log_every", 10, "iterations between lines of metrics", lower_bound=1)
    flags.DEFINE_integer(
        "picture_every", None, "iterations between pictures (default: a tenth of all; 0: none)",
        lower_bound=0,
    )  # fmt: skip


def define_config() -> None:
    """A flag for each setting of the methods."""
    for name, (kind, users) in config_fields().items():
        help_text = f"a setting of {', '.join(users)} (default: the preset's)"
        if kind is bool:
            flags.DEFINE_bool(name, None, help_text)
        elif kind is int:
            flags.DEFINE_integer(name, None, help_text)
        elif kind is float:
            flags.DEFINE_float(name, None, help_text)
        else:
            flags.DEFINE_string(name, None, help_text)


def config_fields() -> dict[str, tuple[type, list[str]]]:
    """The settings of all methods: name -> (type, methods that have it)."""
    found: dict[str, tuple[type, list[str]]] = {}
    for method in methods.METHODS:
        for name, kind in methods.setting_types(method).items():
            found.setdefault(name, (kind, []))[1].append(method)
    return found


def resolve(dataset: ImageDataset) -> tuple[int, dict[str, Any]]:
    """Iterations and settings of the method: the preset's, and over them those given by hand."""
    preset = presets.paper(
        FLAGS.method,
        dataset=dataset.name,
        image_side=min(dataset.image_shape[:2]),
        ipc=FLAGS.ipc,
    )
    steps = FLAGS.steps or preset.steps
    by_hand = common.given(*config_fields())
    config = {**preset.config, **by_hand}
    common.say(f"preset {FLAGS.preset}: steps={preset.steps}, {_listing(preset.config)}")
    if by_hand or FLAGS.steps:
        shown = {"steps": FLAGS.steps, **by_hand} if FLAGS.steps else by_hand
        common.say(f"given by hand: {_listing(shown)}")
    return steps, config


def _listing(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def main() -> None:
    workdir = common.open_workdir()
    dataset = common.load("train")
    steps, config = resolve(dataset)
    network = common.network(dataset)
    method = methods.create(FLAGS.method, network=network, **config)
    settings = {"network": networks.describe(network)}
    # Said before hours of training experts: what cannot fit.
    condense.initial_pixels(dataset, FLAGS.ipc, method.factor, init=FLAGS.init, seed=FLAGS.seed)
    pool = None
    if method.needs_experts:
        folder = pretrain.pool_folder(workdir, FLAGS.experts)
        count = FLAGS.experts if FLAGS["experts"].present or not FLAGS.expert_dir else None
        pool, network, about = experts.load_pool(folder, count=count, dataset=dataset)
        method = methods.create(FLAGS.method, network=network, **config)
        settings = {
            "network": about["network"],
            "experts": {"training": about["training"], "seed": about["seed"], "count": count},
        }
    common.start(
        workdir,
        {
            "method": FLAGS.method,
            "preset": FLAGS.preset,
            "steps": steps,
            **dataclasses.asdict(method.config),
            **settings,
        },
        dataset,
    )
    common.say(
        f"{FLAGS.method} on {dataset.name}, {FLAGS.ipc} images per class, {steps} iterations"
    )
    picture_every = FLAGS.picture_every
    result = condense.condense(
        method,
        dataset,
        ipc=FLAGS.ipc,
        steps=steps,
        pool=pool,
        init=FLAGS.init,
        seed=FLAGS.seed,
        settings=settings,
        workdir=workdir,
        log_every=FLAGS.log_every,
        picture_every=max(1, steps // 10) if picture_every is None else picture_every,
        placement=FLAGS.data_placement,
        devices=FLAGS.devices,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
    )
    condensed.save(result, workdir / "condensed")
    figures.save_metrics(workdir / "losses.png", workdir / "metrics.jsonl", FLAGS.method)
    common.say(f"condensed set: {workdir / 'condensed'}")


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run()
    pretrain.define_training()
    pretrain.define_expert_dir()
    define_config()
    define_flags()
    common.run(main)
