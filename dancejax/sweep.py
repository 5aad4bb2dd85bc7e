"""A grid of condensed sets and coresets over one data set, made, evaluated and put in one table.

Every cell has its own folder with all that a single run writes; what is finished is left alone, so
that the same call goes on after an interruption, and a wider grid adds to a narrower one.
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn

from dancejax import (
    condense,
    condensed,
    coreset,
    evaluate,
    experts,
    fit,
    interpolate,
    methods,
    networks,
    runs,
)
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import ImageDataset
from dancejax.errors import UserError
from dancejax.methods import presets
from dancejax.training import TrainConfig


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of the grid: a method or coreset, images per class, seed."""

    method: str
    ipc: int
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*methods.METHODS, *coreset.CORESETS)
        if self.method not in known:
            raise UserError(f"unknown method {self.method!r}; choose among {', '.join(known)}.")

    def folder(self, workdir: Path) -> Path:
        return workdir / f"{self.method}-ipc{self.ipc}-seed{self.seed}"


def make(
    cell: Cell,
    dataset: ImageDataset,
    network: nn.Module,
    *,
    expert_dir: Path,
    workdir: Path,
    steps: int | None = None,
    settings: dict[str, Any] | None = None,
    forgetting_config: TrainConfig | None = None,
    placement: str = "device",
    devices: int | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> CondensedSet:
    """The set of a cell, read if it is finished and else made, in the cell's folder.

    steps: iterations (None: the paper's). settings: over the paper's, for those methods that have
    them. expert_dir: a pool trained on the data set; DANCE uses all of it, herding and k-center the
    first expert's features. forgetting_config: how the network is trained that forgetting watches.
    """
    folder = runs.open_workdir(cell.folder(workdir))
    if (folder / "condensed" / "manifest.json").exists():
        return condensed.load(folder / "condensed")
    if cell.method == "random":
        made = coreset.random(dataset, cell.ipc, seed=cell.seed)
    elif cell.method == "forgetting":
        config = forgetting_config or experts.expert_training(
            min(dataset.image_shape[:2]), cutmix=0.0
        )
        made = coreset.forgetting(
            dataset,
            cell.ipc,
            network,
            config,
            seed=cell.seed,
            workdir=folder,
            placement=placement,
            checkpoint_seconds=checkpoint_seconds,
            progress=progress,
        )
    elif cell.method in coreset.CORESETS:
        pool, trained, _ = experts.load_pool(expert_dir, count=1, dataset=dataset)
        variables = interpolate.select(pool.final, 0)
        made = coreset.by_features(cell.method, dataset, cell.ipc, trained, variables)
    else:
        made = _condense(
            cell, dataset, network, expert_dir, steps, settings or {},
            workdir=folder, placement=placement, devices=devices,
            checkpoint_seconds=checkpoint_seconds, progress=progress,
        )  # fmt: skip
    condensed.save(made, folder / "condensed")
    fit.clear(folder / "training")
    return made


def row(
    cell: Cell,
    made: CondensedSet,
    test: ImageDataset,
    network: nn.Module,
    *,
    workdir: Path,
    repeats: int,
    overrides: dict[str, Any] | None = None,
    protocol: str | None = None,
    points: int = 5,
    devices: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Evaluates a cell's set, in its folder, and returns its line of the table.

    protocol: None takes the paper's of the method, DANCE's for coresets. overrides: fields of
    TrainConfig over the protocol's.
    """
    folder = cell.folder(workdir)
    name = protocol or presets.PROTOCOLS.get(cell.method, "dance")
    config = evaluate.protocol(name, test.name, **(overrides or {}))
    evaluation = runs.open_workdir(folder / "evaluation")
    result = evaluate.evaluate(
        made, test, network, config,
        repeats=repeats, seed=cell.seed, points=points, workdir=evaluation, devices=devices,
        progress=progress,
    )  # fmt: skip
    runs.write_json(evaluation / "result.json", {"protocol": name, **result})
    cost = runs.read_json(folder / "result.json") if (folder / "result.json").exists() else {}
    return {
        **dataclasses.asdict(cell),
        "accuracy_mean": result["accuracy_mean"],
        "accuracy_std": result["accuracy_std"],
        "best_over_epochs_mean": result["best_over_epochs_mean"],
        "repeats": repeats,
        "protocol": name,
        "epochs": config.epochs,
        "iterations": cost.get("iterations"),
        "seconds_per_iteration": cost.get("seconds_per_iteration"),
        "step_memory_mb": cost.get("step_memory_mb"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lines of `row` as a Markdown table."""
    head = ("method", "IPC", "seed", "accuracy, last epoch (%)", "networks", "protocol, epochs",
            "iterations", "s/iteration", "step memory (MB)")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in rows:
        seconds, memory = r["seconds_per_iteration"], r["step_memory_mb"]
        values = (
            r["method"], r["ipc"], r["seed"],
            f"{r['accuracy_mean']:.1f} +- {r['accuracy_std']:.1f}", r["repeats"],
            f"{r['protocol']}, {r['epochs']}", r["iterations"] or "-",
            f"{seconds:.3f}" if seconds else "-", f"{memory:.0f}" if memory else "-",
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)


def _condense(
    cell: Cell,
    dataset: ImageDataset,
    network: nn.Module,
    expert_dir: Path,
    steps: int | None,
    settings: dict[str, Any],
    **options: Any,
) -> CondensedSet:
    side = min(dataset.image_shape[:2])
    preset = presets.paper(cell.method, dataset=dataset.name, image_side=side, ipc=cell.ipc)
    fields = {field.name for field in dataclasses.fields(methods.METHODS[cell.method].Config)}
    own = {name: value for name, value in settings.items() if name in fields}
    pool = None
    about: dict[str, Any] = {"network": networks.describe(network)}
    method = methods.create(cell.method, network=network, **{**preset.config, **own})
    if method.needs_experts:
        pool, network, described = experts.load_pool(expert_dir, dataset=dataset)
        method = methods.create(cell.method, network=network, **{**preset.config, **own})
        about = {"network": described["network"], "experts": described["training"]}
    return condense.condense(
        method, dataset, ipc=cell.ipc, steps=steps or preset.steps, pool=pool, seed=cell.seed,
        settings=about, **options,
    )  # fmt: skip
