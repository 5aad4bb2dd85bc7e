"""A grid of condensed sets and coresets over one data set, made, evaluated and put in one table.

Every cell has its own folder with all that a single run writes; what is finished is left alone, so
that the same call goes on after an interruption, and a wider grid adds to a narrower one.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from dancejax import (
    condensation,
    condensed,
    coreset,
    initialisation,
    methods,
    names,
    records,
    runs,
)
from dancejax.applications import assess, coresets, pool
from dancejax.applications.assess import Tested
from dancejax.applications.cell import Cell, plan_of, variants_of
from dancejax.applications.settings import (
    Begin,
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Say,
    Source,
    quiet,
)
from dancejax.condensed import CondensedSet
from dancejax.coreset import Means
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Paper
from dancejax.runs import Run, integrity
from dancejax.training import experts
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Settings:
    """A grid.

    Attributes:
      source: the data set.
      methods: methods and coresets.
      ipcs: images per class.
      seeds: a condensed set each.
      variants: further columns, as `Cell.variant`, for the methods that have the settings.
      steps: iterations (None: each paper's).
      config: settings given by hand, for the methods that have them.
      network: of all cells.
      experts: one pool serves all cells.
      evaluation: of all cells.
      epochs: of the evaluation: none, one number, or one per IPC.
      seed: of the experts.
    """

    source: Source
    methods: Sequence[str]
    ipcs: Sequence[int] = (1, 10, 50)
    seeds: Sequence[int] = (0,)
    variants: Sequence[str] = ()
    steps: int | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    experts: ExpertSettings = dataclasses.field(default_factory=ExpertSettings)
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    epochs: Sequence[int] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.epochs) not in (0, 1, len(self.ipcs)):
            count = len(self.ipcs)
            raise UserError(f"--epochs needs one number, or one for each of the {count} IPCs.")

    def cells(self) -> list[Cell]:
        """The cells in the order in which they are made; raises UserError for a stray variant."""
        cells = [
            Cell(method, ipc, seed, variant)
            for ipc in self.ipcs
            for method in self.methods
            for variant in variants_of(method, self.variants)
            for seed in self.seeds
        ]
        for variant in self.variants:
            if not any(cell.variant == variant for cell in cells):
                Cell(self.methods[0], self.ipcs[0], 0, variant)
        return cells

    def evaluation_of(self, ipc: int) -> EvaluationSettings:
        """How sets of an IPC are evaluated."""
        if not self.epochs:
            return self.evaluation
        epochs = self.epochs[self.ipcs.index(ipc) if len(self.epochs) > 1 else 0]
        return dataclasses.replace(self.evaluation, epochs=epochs)


class Grid(NamedTuple):
    """A grid with its data, network and pool."""

    settings: Settings
    train: Dataset
    test: Dataset
    network: nn.Module
    expert_dir: Path
    run: Run


def sweep(
    settings: Settings, *, run: Run, say: Say = quiet, begin: Begin | None = None
) -> list[Json]:
    """Make and evaluate the cells of a grid that are not there yet.

    Args:
      settings: the grid.
      run: with a folder, for a folder of each cell, result.json and table.md.
      say: takes what is done, in sentences.
      begin: called with the training set when everything is checked and nothing is written yet.

    Returns:
      A line for each cell, as `table` takes them, and those of earlier calls for other cells.

    Raises:
      UserError: a cell that cannot be made, or that is there and was made otherwise.
    """
    cells, workdir = settings.cells(), run.folder
    if workdir is None:
        raise UserError("a grid needs a folder; give Run(FOLDER).")
    source = settings.source.sized(say)
    train, test = source.load("train"), source.load("test")
    network = settings.network.create(train)
    needs = [
        methods.needs_trajectories(cell.method) for cell in cells if cell.method in methods.METHODS
    ]
    own_experts = dataclasses.replace(settings.experts, trajectories=any(needs))
    settings = dataclasses.replace(settings, experts=own_experts)
    needed = _check(settings, cells, train, network)
    kept = _earlier_rows(workdir, cells, say)
    if begin is not None:
        begin(train)
    expert_dir = workdir / "experts"
    if needed:
        pooled = dataclasses.replace(settings.experts, count=needed)
        own = run.within("experts")
        expert_dir = pool.ready(
            train, source, settings.network, pooled, seed=settings.seed, say=say, run=own
        )
    grid = Grid(settings, train, test, network, expert_dir, run)
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells, 1):
        say(f"{number}/{len(cells)} {cell.folder(Path()).name}")
        rows.append(row(cell, make(cell, grid), grid))
        runs.write_json(workdir / "result.json", rows + kept)
        runs.write_bytes(workdir / "table.md", (table(rows + kept) + "\n").encode())
    return rows + kept


def _check(settings: Settings, cells: Sequence[Cell], dataset: Dataset, network: nn.Module) -> int:
    """Check every cell before the first is made; returns how many experts the grid needs."""
    for cell in cells:
        coreset.check_ipc(dataset, cell.ipc)
        if cell.method in methods.METHODS:
            config = plan_of(cell, dataset, settings.steps, settings.config).settings
            method = methods.create(cell.method, network=network, **config)
            initialisation.initial_pixels(dataset, cell.ipc, method.factor)
    usual = settings.experts.used or 1
    most = max(cell.experts_needed(usual) for cell in cells)
    if most:
        pool.check(settings.experts, settings.network, dataset, most)
    return most


def _earlier_rows(workdir: Path, cells: Sequence[Cell], say: Say) -> list[dict[str, Any]]:
    """Lines of an earlier call's table for cells that are not among these.

    Lines that are none of this version's are left out, and that is said.
    """
    if not (workdir / "result.json").exists():
        return []
    rows = runs.read_json(workdir / "result.json")
    fields = [field.name for field in dataclasses.fields(Cell)]
    kept = []
    for line in rows if isinstance(rows, list) else [rows]:
        try:
            table([line])
            if Cell(**{n: line[n] for n in fields if n in line}) not in cells:
                kept.append(line)
        except (KeyError, TypeError, ValueError, AttributeError, UserError):
            say(f"left out of {workdir / 'result.json'}: an entry that is no line of a grid")
    return kept


def make(cell: Cell, grid: Grid) -> CondensedSet:
    """Make the set of a cell in the cell's folder, or read it if it is finished.

    Raises:
      UserError: a finished set was made otherwise.
    """
    settings, dataset = grid.settings, grid.train
    run = dataclasses.replace(grid.run, folder=cell.folder(grid.run.folder or Path())).opened()
    folder = run.folder
    assert folder is not None
    is_method = cell.method in methods.METHODS
    plan = plan_of(cell, dataset, settings.steps, settings.config) if is_method else None
    if (folder / "condensed" / "manifest.json").exists():
        made = condensed.load(folder / "condensed")
        _check_made(made, cell, grid, plan, folder)
        return made
    if plan is None:
        needed = coreset.CORESETS[cell.method].needs == "experts"
        means = Means(
            experts=_experts(grid, 1) if needed else None,
            network=grid.network,
            config=settings.experts.training(dataset, cutmix=0.0),
            run=run,
        )
        return coresets.make(cell.method, dataset, cell.ipc, seed=cell.seed, means=means)
    made = _condense(cell, grid, plan, run)
    condensed.save(made, folder / "condensed")
    return made


def _experts(grid: Grid, count: int | None, *, trajectories: bool = False) -> experts.Experts:
    return experts.load_pool(
        grid.expert_dir, count=count, dataset=grid.train, trajectories=trajectories
    )


def _condense(cell: Cell, grid: Grid, plan: Paper, run: Run) -> CondensedSet:
    found, network = None, grid.network
    if methods.needs_experts(cell.method):
        count = cell.settings().get("experts", grid.settings.experts.used)
        needed = methods.needs_trajectories(cell.method)
        found = _experts(grid, count, trajectories=needed)
        network = found.network
    return condensation.condense(
        methods.create(cell.method, network=network, **plan.settings),
        grid.train,
        ipc=cell.ipc,
        steps=plan.steps,
        experts=found,
        init=plan.init,
        seed=cell.seed,
        run=run,
    )


def row(cell: Cell, made: CondensedSet, grid: Grid) -> Json:
    """Evaluate a cell's set in its folder, and return its line of the table."""
    folder = cell.folder(grid.run.folder or Path())
    own = dataclasses.replace(grid.run, folder=folder / "evaluation")
    tested = Tested(made, grid.test, grid.network, cell.method)
    how = grid.settings.evaluation_of(cell.ipc)
    found = assess.assess(tested, how, seed=cell.seed, run=own)
    result = found.evaluation
    cost = runs.read_json(folder / "result.json") if (folder / "result.json").exists() else {}
    return {
        **dataclasses.asdict(cell),
        "accuracy_mean": result.accuracy_mean,
        "accuracy_std": result.accuracy_std,
        "best_over_epochs_mean": result.best_over_epochs_mean,
        "repeats": result.repeats,
        "protocol": found.protocol,
        "epochs": result.record["training"]["epochs"],
        "iterations": cost.get("iterations"),
        "seconds_per_iteration": cost.get("seconds_per_iteration"),
        "step_memory_mb": cost.get("step_memory_mb"),
    }


def table(rows: list[Json]) -> str:
    """Show lines of `row` as a Markdown table, the seeds of one cell together in a line.

    The deviation is over the sets of several seeds (of their means over networks), or over the
    networks of the one set; a column says which.
    """
    head = (
        "method",
        "variant",
        "IPC",
        "accuracy, last epoch (%)",
        "deviation over",
        "seeds",
        "protocol, epochs",
        "iterations",
        "s/iteration",
        "step memory (MB)",
    )
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in rows:
        keys = ("method", "ipc", "protocol", "epochs", "repeats", "iterations")
        groups.setdefault((*(r.get(k) for k in keys), r.get("variant") or ""), []).append(r)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for group in groups.values():
        lines.append("| " + " | ".join(map(names.markdown, _table_line(group))) + " |")
    return "\n".join(lines)


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


def _check_made(
    made: CondensedSet, cell: Cell, grid: Grid, plan: Paper | None, folder: Path
) -> None:
    """Raise UserError if a finished set was made otherwise than its cell asks for."""
    dataset = grid.train
    wanted: dict[str, Any] = {"ipc": cell.ipc}
    if plan is not None:
        method = methods.create(cell.method, network=grid.network, **plan.settings)
        wanted |= method.settings(cell.ipc, dataset.image_shape)
        wanted |= {"steps": plan.steps, "seed": cell.seed, "init": plan.init}
    known = {name: made.settings[name] for name in wanted if name in made.settings}
    integrity.check_same(
        {"settings": known, "data set": made.source["fingerprint"]},
        {"settings": wanted, "data set": dataset.fingerprint},
        folder,
        missing=records.EARLIER,
        ignored=("settings.class_chunk",),
    )
