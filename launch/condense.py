"""Condenses a data set to a few synthetic images per class.

    python -m launch.condense --dataset=cifar10 --ipc=10 --workdir=runs/cifar10/ipc10

Settings are the paper's unless given. DANCE takes its experts from --expert_dir, by default the
folder "experts" in the work folder, and trains what is missing there. The result is the folder
"condensed" in the work folder. The same command goes on after an interruption.
"""

from pathlib import Path

from absl import flags

from dancejax import condense, condensed, experts, figures, methods, networks, runs
from dancejax.methods import presets

from . import common, pretrain

FLAGS = flags.FLAGS
# Flags that set fields of the method's Config, when given.
_CONFIG = (
    "factor", "batch_real", "batch_syn", "learning_rate", "momentum", "pltda", "calibration",
    "calibration_every", "augmentation", "class_chunk",
)  # fmt: skip


def define_flags() -> None:
    flags.DEFINE_enum("method", "dance", list(methods.METHODS), "the method")
    flags.DEFINE_integer("ipc", None, "stored images per class", lower_bound=1, required=True)
    flags.DEFINE_integer("steps", None, "iterations (default: the paper's)", lower_bound=1)
    flags.DEFINE_enum("init", "real", condense.INITS, "what the stored images start from")
    flags.DEFINE_string("expert_dir", None, "pool of experts (default: WORKDIR/experts)")
    flags.DEFINE_integer("factor", None, "tiles a side of a stored image", lower_bound=1)
    flags.DEFINE_integer("batch_real", None, "real images per class and iteration", lower_bound=1)
    flags.DEFINE_integer(
        "batch_syn", None, "decoded synthetic images per class and iteration at most", lower_bound=1
    )
    flags.DEFINE_float("learning_rate", None, "of the pixels", lower_bound=0)
    flags.DEFINE_float("momentum", None, "of the pixels", lower_bound=0, upper_bound=1)
    flags.DEFINE_bool("pltda", True, "DANCE: match under mid encoders (else final experts)")
    flags.DEFINE_bool("calibration", True, "DANCE: distribution calibration")
    flags.DEFINE_integer("calibration_every", None, "DANCE: I_c", lower_bound=1)
    flags.DEFINE_string("augmentation", None, "siamese augmentation, such as color_crop_cutout")
    flags.DEFINE_integer("class_chunk", None, "classes at once, bounds the memory", lower_bound=1)
    flags.DEFINE_integer("log_every", 10, "iterations between lines of metrics", lower_bound=1)
    flags.DEFINE_integer(
        "picture_every", None, "iterations between pictures (default: a tenth of all; 0: none)",
        lower_bound=0,
    )  # fmt: skip


def main() -> None:
    workdir = runs.open_workdir(FLAGS.workdir)
    dataset = common.load("train")
    side = min(dataset.image_shape[:2])
    preset = presets.paper(FLAGS.method, image_side=side, ipc=FLAGS.ipc)
    config = {**preset.config, **common.given(*_CONFIG)}
    steps = FLAGS.steps or preset.steps
    network = common.network(dataset)
    method = methods.create(FLAGS.method, network=network, **config)
    settings = {"network": networks.describe(network)}
    # Said before hours of training experts: what cannot fit.
    condense.initial_pixels(dataset, FLAGS.ipc, method.factor, init=FLAGS.init, seed=FLAGS.seed)
    pool = None
    if method.needs_experts:
        folder = Path(FLAGS.expert_dir) if FLAGS.expert_dir else workdir / "experts"
        if FLAGS.expert_dir is None:
            pretrain.train(folder)
        count = FLAGS.experts if FLAGS["experts"].present or not FLAGS.expert_dir else None
        pool, network, about = experts.load_pool(folder, count=count, dataset=dataset)
        method = methods.create(FLAGS.method, network=network, **config)
        settings = {
            "network": about["network"],
            "experts": {"training": about["training"], "seed": about["seed"], "count": count},
        }
    common.start(workdir, {"method": FLAGS.method, "steps": steps, **config, **settings})
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
    define_flags()
    common.run(main)
