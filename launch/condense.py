"""Condenses a data set to a few synthetic images per class.

    python -m launch.condense --dataset=path/to/images --ipc=10

does it all for your own images: chooses settings by the size of the data and the machine and says
which, trains experts, condenses, evaluates the result beside as many random images, and writes
pictures and a report. --dry_run shows the plan with its time and memory, and stops.

    python -m launch.condense --dataset=cifar10 --ipc=10 --workdir=runs/cifar10/ipc10

uses the paper's settings, as for all data sets of the papers, and leaves the evaluation to
launch.evaluate. Flags go before either. DANCE takes its experts from --expert_dir, by default the
folder "experts" in the work folder, and trains what is missing there. The result is the folder
"condensed" in the work folder. The same command goes on after an interruption.
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
from absl import flags

from dancejax import condensation, condensed, coreset, figures, methods, networks, report, runs
from dancejax.applications import plan
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Method
from dancejax.report import gallery
from dancejax.runs import backend, parallel, paths
from dancejax.training import experts, protocols

from . import common, evaluate, flagtypes, pretrain

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_enum("method", "dance", list(methods.METHODS), "the method")
    flags.DEFINE_integer("ipc", None, "stored images per class", lower_bound=1, required=True)
    flags.DEFINE_enum(
        "preset",
        None,
        ["paper", "auto"],
        "paper: published settings, the default for the papers' data sets; auto: by the size of "
        "the data and the machine, the default for all others. Flags go before either",
    )
    flags.DEFINE_bool("dry_run", False, "show the plan, its time and memory, and stop")
    flags.DEFINE_bool(
        "evaluate",
        None,
        "evaluate the result beside random images, and report (default: with auto)",
    )
    flags.DEFINE_integer("repeats", 10, "networks of the evaluation", lower_bound=1)
    flags.DEFINE_integer("steps", None, "iterations (default: the preset's)", lower_bound=1)
    flags.DEFINE_string(
        "init",
        None,
        f"what the stored images start from: {', '.join(condensation.INITS)}, or the folder of a "
        "condensed set or coreset (default: the preset's)",
    )
    flags.DEFINE_integer(
        "keep_every", 0, "iterations between whole sets in the folder kept (0: none)", lower_bound=0
    )
    flags.DEFINE_integer("log_every", 10, "iterations between lines of metrics", lower_bound=1)
    flags.DEFINE_integer(
        "picture_every", None, "iterations between pictures (default: a tenth of all; 0: none)",
        lower_bound=0,
    )  # fmt: skip


def define_config() -> None:
    """A flag for each setting of the methods, and for what bounds their memory."""
    flags.DEFINE_integer(
        "class_chunk", None, "classes at once, which bounds the memory and changes nothing else "
        "(default: what suits the machine)", lower_bound=1,
    )  # fmt: skip
    meanings: dict[str, str] = {}
    for method in methods.METHODS:
        meanings |= methods.setting_meanings(method)
    for name, (kind, users) in config_fields().items():
        whose = "" if len(users) == len(methods.METHODS) else f"{', '.join(users)}: "
        help_text = f"{whose}{meanings[name]} (default: the preset's)"
        if kind is bool:
            flags.DEFINE_bool(name, None, help_text)
        elif kind is int:
            flags.DEFINE_integer(name, None, help_text, lower_bound=LEAST.get(name, 1))
        elif kind is float:
            flagtypes.define_number(name, None, help_text, **RANGES.get(name, {"above": 0}))
        else:
            flags.DEFINE_string(name, None, help_text)


LEAST = {"accuracy_window": 0}
"""The least that settings may be which count something and may be none; all others are positive."""
RANGES: dict[str, dict[str, float]] = {
    "momentum": {"least": 0, "below": 1},
    "train_momentum": {"least": 0, "below": 1},
    "train_decay": {"least": 0},
    "regularisation": {"least": 0},
    "offset": {"least": 0},
}
"""The ranges of settings that are numbers; rates, which are all others, are positive."""


def config_fields() -> dict[str, tuple[type, list[str]]]:
    """The settings of all methods: name -> (type, methods that have it)."""
    found: dict[str, tuple[type, list[str]]] = {}
    for method in methods.METHODS:
        for name, kind in methods.setting_types(method).items():
            found.setdefault(name, (kind, []))[1].append(method)
    return found


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the flags and the preset come to."""

    preset: str
    steps: int
    config: dict[str, Any]
    chosen: plan.Plan | None
    init: str


def resolve(dataset: Dataset) -> Settings:
    """The preset's settings, and over them those given by hand. Sets the flags of experts, network
    and evaluation to what the preset "auto" chooses."""
    name = FLAGS.preset or ("paper" if plan.published(dataset.name) else "auto")
    paper = methods.paper(FLAGS.method, dataset, FLAGS.ipc)
    by_hand = common.given(*config_fields())
    steps, config, init = paper.steps, {**paper.settings}, paper.init
    chosen = None
    coreset.check_ipc(dataset, FLAGS.ipc)
    if name == "auto":
        factor = by_hand.get("factor", methods.METHODS[FLAGS.method].Config(**config).factor)
        chosen = plan.choose(dataset, FLAGS.ipc, factor)
        steps, config["batch_real"] = chosen.steps, chosen.batch_real
        if backend.is_cpu():
            config |= methods.cpu_settings(FLAGS.method, chosen.batch_real)
        for flag in ("experts", "expert_epochs", "epochs", "repeats"):
            FLAGS.set_default(flag, getattr(chosen, flag))
        if FLAGS.network == "convnet" and not FLAGS.expert_dir:
            FLAGS.set_default("width", chosen.width)
        init = plan.INIT
    elif FLAGS.network == "convnet":
        for option, value in paper.network.items():
            FLAGS.set_default(option, value)
    common.say(f"preset {name}: {_listing({'steps': FLAGS.steps or steps, **config} | by_hand)}")
    given = {**common.given("steps"), **by_hand}
    if given:
        common.say(f"given by hand: {_listing(given)}")
    return Settings(name, FLAGS.steps or steps, {**config, **by_hand}, chosen, init)


def say_choice(dataset: Dataset, chosen: plan.Plan, method: Method) -> None:
    """Say what holds of what was chosen for a data set: flags that were given come first."""
    settings = dataclasses.asdict(chosen)
    if FLAGS.network != "convnet" or FLAGS.expert_dir:
        del settings["width"]  # the network's own, or the pool's
    if not method.needs_experts:
        del settings["experts"], settings["expert_epochs"]
    by_hand = common.given(*settings)
    where = f"{len(dataset)} images in {dataset.num_classes} classes"
    common.say(f"chosen for {where}: {_listing({**settings, **by_hand})}")


def _listing(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def foresee(
    method: Method, dataset: Dataset, network: nn.Module, steps: int, evaluated: bool
) -> None:
    """Says what the run will take."""
    finished = experts.finished(FLAGS.expert_dir or FLAGS.workdir / "experts")
    missing = 0 if FLAGS.expert_dir else max(0, FLAGS.experts - finished)
    whole_pool = FLAGS.expert_dir and not FLAGS["experts"].present
    decoded = FLAGS.ipc * method.factor**2
    _, evaluation = evaluate.protocol_for_method(
        FLAGS.method, dataset, decoded=decoded, factor=method.factor
    )
    found = plan.estimate(
        method,
        dataset,
        network,
        ipc=FLAGS.ipc,
        steps=steps,
        expert_training=pretrain.training_config(dataset),
        expert_count=missing if method.needs_experts else 0,
        pool_size=max(1, finished) if whole_pool else FLAGS.experts,
        evaluation=evaluation,
        repeats=FLAGS.repeats if evaluated else 0,
        placement=FLAGS.data_placement,
        devices=FLAGS.devices,
        class_chunk=FLAGS.class_chunk,
    )
    common.say(
        f"expected: experts {runs.duration(found.experts)}, condensation "
        f"{runs.duration(found.condensation)}, evaluation {runs.duration(2 * found.evaluation)}, "
        f"compiling and pictures {runs.duration(found.setup)}, in all about "
        f"{runs.duration(found.seconds + found.evaluation)}, more on a busy machine; a step takes "
        f"{found.step_memory_mb:.0f} MB, the images {dataset.images.nbytes / 2**20:.0f} MB"
    )


def assess(
    workdir: Path,
    result: CondensedSet,
    dataset: Dataset,
    test: Dataset,
    network: nn.Module,
) -> None:
    """Evaluates the result and as many random images, and writes pictures and the report."""
    random = runs.open_workdir(workdir / "random")
    chosen = evaluate.with_evaluation(
        coreset.random(dataset, FLAGS.ipc, seed=FLAGS.seed), test, network, method=FLAGS.method
    )
    condensed.save(chosen, random / "condensed")
    for text, made, own in (("random images", chosen, random), (FLAGS.method, result, workdir)):
        size = protocols.size_of(made)
        _, config = evaluate.protocol_for_method(FLAGS.method, test, **size)
        common.say(f"evaluation: {text}, {FLAGS.repeats} networks of {config.epochs} epochs")
        target = runs.open_workdir(own / "evaluation")
        evaluate.assess(made, test, network, target, method=FLAGS.method)
    if not parallel.is_primary():
        return
    gallery.save_evolution(workdir / "pictures", workdir / "pictures")
    entries = report.collect([workdir, *([FLAGS.expert_dir] if FLAGS.expert_dir else [])])
    title = f"{dataset.name}: {FLAGS.ipc} images per class"
    pages = runs.open_workdir(workdir / "report")
    report.write(entries, pages, title=title, command=common.command())
    common.show(report.summary(entries))
    common.say(f"report: {pages / 'report.html'}")


def default_workdir() -> Path:
    """Where a run is kept that has no --workdir: runs/DATASET-METHOD-ipcIPC."""
    path = Path(FLAGS.dataset)
    if path.suffix.lower() == ".npz":
        name = path.name[: -len(".npz")]
    elif path.is_dir():
        path = path.resolve()
        sized = path.name[:1].isdigit()  # as imagenette/160px
        name = f"{path.parent.name}-{path.name}" if sized and path.parent.name else path.name
    else:
        name = FLAGS.dataset.strip("/").replace("/", "-")
    return Path("runs") / f"{name}-{FLAGS.method}-ipc{FLAGS.ipc}"


def start_of(preset: str) -> str | CondensedSet:
    """What --init names: a start by name, or a condensed set or coreset; else the preset's."""
    if FLAGS.init is None or FLAGS.init in condensation.INITS:
        return FLAGS.init or preset
    path = paths.expand(FLAGS.init, "--init")
    if not path.exists():
        raise UserError(
            f"--init={FLAGS.init} is neither one of {', '.join(condensation.INITS)} nor a folder."
        )
    return evaluate.load_set(path)


def warn_of_long_steps(method: Method, dataset: Dataset, network: nn.Module) -> None:
    """Say beforehand where an iteration takes long on this machine, and what shortens it."""
    seconds, flag = plan.step_seconds(method, dataset, network, FLAGS.ipc)
    if seconds > LONG:
        common.say(
            f"an iteration will take about {runs.duration(seconds)} on this machine, mostly by "
            f"--{flag}={getattr(method.config, flag)}; a smaller --{flag} shortens it"
        )


LONG = 5.0
"""Seconds of an iteration from which on that is said."""


def main() -> None:
    if FLAGS.workdir is None:
        FLAGS.set_default("workdir", default_workdir())
    workdir = common.check_workdir()
    dataset = common.load("train") if FLAGS.preset == "paper" else common.load_train()
    chosen = resolve(dataset)
    steps = chosen.steps
    evaluated = chosen.preset == "auto" if FLAGS.evaluate is None else FLAGS.evaluate
    test = common.load("test") if evaluated else None
    network = common.network(dataset)
    method = methods.create(FLAGS.method, network=network, **chosen.config)
    settings: dict[str, Any] = {"network": networks.describe(network)}
    if chosen.chosen is not None:
        say_choice(dataset, chosen.chosen, method)
    # Said before hours of training experts: what cannot fit.
    init = start_of(chosen.init)
    condensation.initial_pixels(dataset, FLAGS.ipc, method.factor, init=init, seed=FLAGS.seed)
    count = FLAGS.experts if FLAGS["experts"].present or not FLAGS.expert_dir else None
    if method.needs_experts:
        pretrain.check_pool(dataset, count)
    condensation.check_resume(workdir, method, dataset, ipc=FLAGS.ipc, init=init, seed=FLAGS.seed)
    warn_of_long_steps(method, dataset, network)
    if FLAGS.dry_run or chosen.preset == "auto":
        foresee(method, dataset, network, steps, evaluated)
    if FLAGS.dry_run:
        common.say(f"a dry run: nothing is written; the work folder would be {FLAGS.workdir}")
        return
    common.start(
        {
            "method": FLAGS.method,
            "preset": chosen.preset,
            "steps": steps,
            **dataclasses.asdict(method.config),
            **settings,
        },
        dataset,
    )
    pool = None
    if method.needs_experts:
        pool_folder = pretrain.pool_folder(
            workdir, FLAGS.experts, dataset, tensorboard=FLAGS.tensorboard
        )
        pool, network, about = experts.load_pool(pool_folder, count=count, dataset=dataset)
        method = methods.create(FLAGS.method, network=network, **chosen.config)
        settings = {
            "network": about["network"],
            "experts": {"training": about["training"], "seed": about["seed"], "count": count},
        }
    common.say(
        f"{FLAGS.method} on {dataset.name}, {FLAGS.ipc} images per class, {steps} iterations"
    )
    picture_every = FLAGS.picture_every
    result = condensation.condense(
        method,
        dataset,
        ipc=FLAGS.ipc,
        steps=steps,
        pool=pool,
        init=init,
        seed=FLAGS.seed,
        settings=settings,
        workdir=workdir,
        log_every=FLAGS.log_every,
        keep_every=FLAGS.keep_every,
        picture_every=max(1, steps // 10) if picture_every is None else picture_every,
        placement=FLAGS.data_placement,
        devices=FLAGS.devices,
        class_chunk=FLAGS.class_chunk,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        tensorboard=FLAGS.tensorboard,
    )
    if chosen.preset == "auto":
        result = evaluate.with_evaluation(result, dataset, network, method=FLAGS.method)
    condensed.save(result, workdir / "condensed")
    figures.save_metrics(workdir / "losses.png", workdir / "metrics.jsonl", FLAGS.method)
    if test is not None:
        assess(workdir, result, dataset, test, network)
    common.say(f"condensed set: {workdir / 'condensed'}")


if __name__ == "__main__":
    common.define_data()
    common.define_network()
    common.define_run(named=True)
    common.define_tensorboard()
    pretrain.define_training()
    pretrain.define_expert_dir()
    define_config()
    define_flags()
    evaluate.define_protocol(points=5)
    common.run(main)
