"""A grid of condensed sets and coresets over one data set, made, evaluated and put in one table.

Every cell has its own folder with all that a single run writes; what is finished is left alone, so
that the same call goes on after an interruption, and a wider grid adds to a narrower one.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from dancejax import (
    condensation,
    condensed,
    coreset,
    evaluation,
    interpolate,
    methods,
    names,
    networks,
    runs,
)
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Paper
from dancejax.runs import integrity
from dancejax.training import TrainConfig, experts, loop, protocols


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of the grid: a method or coreset, images per class, seed.

    variant: settings of the method that differ from the rest of the grid, "name=value,name=value";
    beside the fields of its Config, "experts" for how many of the pool it uses.
    """

    method: str
    ipc: int
    seed: int = 0
    variant: str = ""

    def __post_init__(self) -> None:
        known = (*methods.METHODS, *coreset.CORESETS)
        if self.method not in known:
            raise UserError(f"unknown method {self.method!r}; choose among {', '.join(known)}.")
        self.settings()

    def folder(self, workdir: Path) -> Path:
        variant = f"-{self.variant.replace(',', '-')}" if self.variant else ""
        return workdir / f"{self.method}-ipc{self.ipc}-seed{self.seed}{variant}"

    def experts_needed(self, network: nn.Module, usual: int) -> int:
        """How many experts it uses; usual: where its variant does not say."""
        if self.method in coreset.BY_FEATURES:
            return 1
        if self.method in coreset.CORESETS:
            return 0
        needed = methods.needs_experts(self.method)
        return self.settings().get("experts", usual) if needed else 0

    def settings(self) -> dict[str, Any]:
        """The variant's settings by name; raises UserError for one that the method has not."""
        found = {}
        types = setting_types(self.method)
        for part in filter(None, self.variant.split(",")):
            name, _, text = part.partition("=")
            if name not in types:
                raise UserError(
                    f"{self.method} has no setting {name!r}; it has {', '.join(types) or 'none'}."
                )
            found[name] = _parse_setting(name, text, types[name])
        return found


def setting_types(method: str) -> dict[str, type]:
    """What a variant can set of a method or coreset, with the types."""
    if method not in methods.METHODS:
        return {}
    types = methods.setting_types(method)
    return {**types, "experts": int} if methods.needs_experts(method) else types


def variants_of(method: str, variants: Sequence[str]) -> list[str]:
    """Those of the variants that a method has the settings for; the plain one is always there."""
    types = setting_types(method)

    def fits(variant: str) -> bool:
        return all(part.partition("=")[0] in types for part in variant.split(","))

    return ["", *(variant for variant in variants if variant and fits(variant))]


def _parse_setting(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise UserError(f"{name} must be {wanted}, not {text!r}.") from error


def make(
    cell: Cell,
    dataset: Dataset,
    network: nn.Module,
    *,
    expert_dir: Path,
    workdir: Path,
    steps: int | None = None,
    experts_used: int | None = None,
    settings: dict[str, Any] | None = None,
    forgetting_config: TrainConfig | None = None,
    placement: str = "device",
    devices: int | None = None,
    class_chunk: int | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> CondensedSet:
    """The set of a cell, read if it is finished and else made, in the cell's folder.

    steps: iterations (None: the paper's). settings: over the paper's, for those methods that have
    them, and under the cell's variant. expert_dir: a pool trained on the data set; DANCE uses the
    first `experts_used` of it (None: all), herding and k-center the first expert's features.
    forgetting_config: how the network is trained that forgetting watches. class_chunk: classes
    computed at once. Raises UserError where a
    finished set was made otherwise.
    """
    folder = runs.open_workdir(cell.folder(workdir))
    plan = plan_of(cell, dataset, steps, settings or {}) if cell.method in methods.METHODS else None
    if (folder / "condensed" / "manifest.json").exists():
        made = condensed.load(folder / "condensed")
        _check_made(made, cell, dataset, network, plan, folder)
        return made
    if cell.method == "random":
        made = coreset.random(dataset, cell.ipc, seed=cell.seed)
    elif cell.method.startswith("forgetting"):
        config = forgetting_config or experts.expert_training(
            min(dataset.image_shape[:2]), cutmix=0.0
        )
        made = coreset.forgetting(
            dataset,
            cell.ipc,
            network,
            config,
            least=cell.method == "forgetting_least",
            seed=cell.seed,
            workdir=folder,
            placement=placement,
            checkpoint_seconds=checkpoint_seconds,
            progress=progress,
        )
    elif cell.method in coreset.BY_FEATURES:
        pool, trained, _ = experts.load_pool(expert_dir, count=1, dataset=dataset)
        variables = interpolate.select(pool.final, 0)
        made = coreset.by_features(cell.method, dataset, cell.ipc, trained, variables)
    else:
        assert plan is not None
        used = cell.settings().get("experts", experts_used)
        made = _condense(
            cell, dataset, network, expert_dir, plan, used,
            workdir=folder, placement=placement, devices=devices,
            class_chunk=class_chunk, checkpoint_seconds=checkpoint_seconds, progress=progress,
        )  # fmt: skip
    condensed.save(made, folder / "condensed")
    loop.clear(folder / "training")
    return made


def row(
    cell: Cell,
    made: CondensedSet,
    test: Dataset,
    network: nn.Module,
    *,
    workdir: Path,
    repeats: int,
    overrides: dict[str, Any] | None = None,
    protocol: str | None = None,
    points: int = 5,
    devices: int | None = None,
    checkpoint_seconds: float = 300.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Evaluates a cell's set, in its folder, and returns its line of the table.

    protocol: None takes the paper's of the method, DANCE's for coresets. overrides: fields of
    TrainConfig over the protocol's.
    """
    folder = cell.folder(workdir)
    name = protocol or methods.protocol_of(cell.method)
    config = protocols.protocol_for(name, made, test, **(overrides or {}))
    target = runs.open_workdir(folder / "evaluation")
    result = evaluation.evaluate(
        made, test, network, config,
        repeats=repeats, seed=cell.seed, points=points, workdir=target, devices=devices,
        checkpoint_seconds=checkpoint_seconds, progress=progress,
    )  # fmt: skip
    runs.write_json(target / "result.json", {"protocol": name, **result})
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
    """Show lines of `row` as a Markdown table, the seeds of one cell together in a line.

    The deviation is over the sets of several seeds (of their means over networks), or over the
    networks of the one set; a column says which.
    """
    head = (
        "method", "variant", "IPC", "accuracy, last epoch (%)", "deviation over", "seeds",
        "protocol, epochs", "iterations", "s/iteration", "step memory (MB)",
    )  # fmt: skip
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in rows:
        keys = ("method", "ipc", "protocol", "epochs", "repeats", "iterations")
        groups.setdefault((*(r.get(k) for k in keys), r.get("variant") or ""), []).append(r)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for group in groups.values():
        lines.append("| " + " | ".join(map(names.markdown, _table_line(group))) + " |")
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> str:
    """A row's accuracy; one network has no deviation."""
    spread = f" +- {row['accuracy_std']:.1f}" if row.get("repeats", 2) > 1 else ""
    return f"{row['accuracy_mean']:.1f}{spread}"


def _table_line(group: list[dict[str, Any]]) -> list[str]:
    """A cell's line of the table, from its rows of one seed each."""
    first = group[0]
    seconds = [r["seconds_per_iteration"] for r in group if r.get("seconds_per_iteration")]
    memory = [r["step_memory_mb"] for r in group if r.get("step_memory_mb")]
    means = [r["accuracy_mean"] for r in group]
    several = first["repeats"] > 1
    if len(group) > 1:
        over = f"{len(group)} sets, {first['repeats']} network{'s' if several else ''} each"
        std: float | None = statistics.stdev(means)
    else:
        over = f"{first['repeats']} network{'s' if several else ''}"
        std = first["accuracy_std"] if several else None
    return [
        methods.title(first["method"]),
        first.get("variant") or "-",
        str(first["ipc"]),
        f"{statistics.fmean(means):.1f}" + ("" if std is None else f" +- {std:.1f}"),
        over,
        ", ".join(str(r["seed"]) for r in group),
        f"{first['protocol']}, {first['epochs']}",
        str(first["iterations"] or "-"),
        f"{statistics.fmean(seconds):.3f}" if seconds else "-",
        f"{max(memory):.0f}" if memory else "-",
    ]


def cross_table(rows: list[dict[str, Any]]) -> str:
    """Accuracies by "set" (lines) and "network" (columns) as a Markdown table."""
    columns = list(dict.fromkeys(row["network"] for row in rows))
    lines = ["| " + " | ".join(["set", *columns]) + " |", "|---" * (1 + len(columns)) + "|"]
    for label in dict.fromkeys(row["set"] for row in rows):
        own = {row["network"]: row for row in rows if row["set"] == label}
        cells = [_accuracy(own[c]) if c in own else "-" for c in columns]
        lines.append("| " + " | ".join(map(names.markdown, [label, *cells])) + " |")
    return "\n".join(lines)


def plan_of(cell: Cell, dataset: Dataset, steps: int | None, settings: dict[str, Any]) -> Paper:
    """Iterations and settings of a cell: the paper's, the grid's over them, then the variant's."""
    paper = methods.paper(cell.method, dataset, cell.ipc)
    types = methods.setting_types(cell.method)
    given = {**settings, **cell.settings()}
    own = {name: value for name, value in given.items() if name in types}
    return dataclasses.replace(
        paper, steps=steps or paper.steps, settings={**paper.settings, **own}
    )


def _check_made(
    made: CondensedSet,
    cell: Cell,
    dataset: Dataset,
    network: nn.Module,
    plan: Paper | None,
    folder: Path,
) -> None:
    """Raises UserError if a finished set was made otherwise than its cell asks for."""
    wanted: dict[str, Any] = {"ipc": cell.ipc}
    if plan is not None:
        method = methods.create(cell.method, network=network, **plan.settings)
        wanted |= method.settings(cell.ipc, dataset.image_shape)
        wanted |= {"steps": plan.steps, "seed": cell.seed, "init": plan.init}
    known = {name: made.settings[name] for name in wanted if name in made.settings}
    integrity.check_same(
        {"settings": known, "data set": made.source["fingerprint"]},
        {"settings": wanted, "data set": dataset.fingerprint},
        folder,
        missing=condensation.EARLIER,
    )


def _condense(
    cell: Cell,
    dataset: Dataset,
    network: nn.Module,
    expert_dir: Path,
    plan: Paper,
    experts_used: int | None,
    **options: Any,
) -> CondensedSet:
    pool = None
    about: dict[str, Any] = {"network": networks.describe(network)}
    method = methods.create(cell.method, network=network, **plan.settings)
    if method.needs_experts:
        pool, network, described = experts.load_pool(
            expert_dir, count=experts_used, dataset=dataset
        )
        method = methods.create(cell.method, network=network, **plan.settings)
        about = {
            "network": described["network"],
            "experts": {
                "training": described["training"],
                "seed": described["seed"],
                "count": len(jax.tree.leaves(pool.final)[0]),
            },
        }
    return condensation.condense(
        method, dataset, ipc=cell.ipc, steps=plan.steps, pool=pool, seed=cell.seed,
        init=plan.init, settings=about, **options,
    )  # fmt: skip
