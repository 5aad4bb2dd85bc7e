"""A grid of condensed sets and coresets over one data set, made, evaluated and put in one table.

Every cell has its own folder with all that a single run writes, and can be made alone there. What
is finished is left alone, so that the same call goes on after an interruption, and a wider grid
adds to a narrower one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from dancejax import (
    condensation,
    condensed,
    coreset,
    labelling,
    methods,
    report,
    runs,
)
from dancejax.applications import assess, coresets, grid_check, grid_table, pool
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
from dancejax.choices import EXPERTS as EXPERTS
from dancejax.condensed import CondensedSet
from dancejax.coreset import Means
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Paper
from dancejax.report import compare
from dancejax.runs import Run
from dancejax.training import experts, protocols
from dancejax.types import Json


@dataclasses.dataclass(frozen=True)
class Settings:
    """A grid.

    Attributes:
      source: the data set.
      methods: methods and coresets.
      ipcs: images per class.
      seeds: a condensed set each.
      variants: further columns, as `Cell.variant`, for the methods that have the settings; with
        "METHOD:" before it for that one alone.
      plain: whether methods with variants have a column without any, too.
      steps: iterations (None: each paper's).
      config: settings given by hand, for the methods that have them.
      network: of all cells.
      experts: one pool serves all cells.
      evaluation: of all cells; by a protocol on soft labels, which the experts give each set first.
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
    plain: bool = True

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
            for variant in self._columns(method)
            for seed in self.seeds
        ]
        for given in self.variants:
            whose, _, variant = given.rpartition(":")
            if not any(cell.variant == variant for cell in cells):
                Cell(whose or self.methods[0], self.ipcs[0], 0, variant)
                raise UserError(f"the variant {given!r} is of a method that the grid has not.")
        return cells

    def _columns(self, method: str) -> list[str]:
        variants = variants_of(method, self.variants)
        return ["", *variants] if self.plain or not variants else variants

    @property
    def soft(self) -> bool:
        """Whether sets are evaluated on soft labels, by the experts."""
        return (self.evaluation.protocol or "").endswith(protocols.SOFT)

    def experts_of(self, cell: Cell) -> int:
        """How many experts a cell needs, for its set or for its labels."""
        usual = self.experts.used or 1
        return max(cell.experts_needed(usual), usual if self.soft else 0)

    @property
    def experts_needed(self) -> int:
        """How many experts the cells need."""
        return max(map(self.experts_of, self.cells()))

    @property
    def needs_trajectories(self) -> bool:
        """Whether a cell needs the experts' parameters after every epoch."""
        names = [name for name in self.methods if name in methods.METHODS]
        return any(map(methods.needs_trajectories, names))

    @property
    def own_experts(self) -> bool:
        """Whether experts are needed and are trained for the grid, in its folder."""
        return self.experts.folder is None and self.experts_needed > 0

    def evaluation_of(self, ipc: int) -> EvaluationSettings:
        """How sets of an IPC are evaluated."""
        if not self.epochs:
            return self.evaluation
        epochs = self.epochs[self.ipcs.index(ipc) if len(self.epochs) > 1 else 0]
        return dataclasses.replace(self.evaluation, epochs=epochs)


class Grid(NamedTuple):
    """A grid with its data and network; `run` has its folder."""

    settings: Settings
    train: Dataset
    test: Dataset
    network: nn.Module
    run: Run

    @property
    def folder(self) -> Path:
        """Of the grid."""
        assert self.run.folder is not None
        return self.run.folder

    @property
    def own_experts(self) -> bool:
        """Whether the grid's folder holds the experts, and they are needed."""
        return self.settings.own_experts

    @property
    def expert_dir(self) -> Path:
        """The pool that serves all cells."""
        return self.settings.experts.folder or self.folder / EXPERTS


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
      A line for each cell, as `grid_table.table` takes them, and those of earlier calls for other
      cells.

    Raises:
      UserError: a cell that cannot be made, or that is there and was made otherwise.
    """
    cells = settings.cells()
    grid = open_grid(settings, cells, run=run, say=say)
    grid_check.check_there(cells, grid)
    if begin is not None:
        begin(grid.train)
    if grid.own_experts:
        make_experts(grid, say)
    rows: list[Json] = []
    for number, cell in enumerate(cells, 1):
        say(f"{number}/{len(cells)} {cell.name}")
        with runs.owned(cell.folder(grid.folder)):
            complete(cell, grid)
        rows = grid_table.write(grid.folder, cells, say)
    return rows


def open_grid(settings: Settings, cells: Sequence[Cell], *, run: Run, say: Say = quiet) -> "Grid":
    """Read the data of a grid and check what is to be made of it; nothing is written.

    Args:
      settings: the grid.
      cells: those that are to be made.
      run: with the grid's folder.
      say: takes what is chosen, in sentences.

    Raises:
      UserError: a cell that cannot be made.
    """
    if run.folder is None:
        raise UserError("a grid needs a folder; give Run(FOLDER).")
    source = settings.source.sized(say)
    own = dataclasses.replace(settings.experts, trajectories=settings.needs_trajectories)
    settings = dataclasses.replace(settings, source=source, experts=own)
    train, test = source.load("train"), source.load("test")
    network = settings.network.create(train)
    grid_check.check(settings, cells, train, network)
    return Grid(settings, train, test, network, run)


def make_experts(grid: Grid, say: Say = quiet) -> None:
    """Train the experts of a grid in its folder experts, those that are not there yet."""
    settings = grid.settings
    pooled = dataclasses.replace(settings.experts, count=settings.experts_needed)
    pool.ready(
        grid.train,
        settings.source,
        settings.network,
        pooled,
        seed=settings.seed,
        say=say,
        run=grid.run.within(EXPERTS),
    )


def check_experts(cell: Cell, grid: Grid) -> None:
    """Raise UserError if experts that a cell needs are not there: they are made before."""
    needed = grid.settings.experts_of(cell)
    if needed and grid.own_experts:
        wanted = dataclasses.replace(grid.settings.experts, count=needed)
        seed = grid.settings.seed
        pool.check_finished(wanted, grid.expert_dir)
        pool.check_begun(grid.train, grid.network, wanted, grid.expert_dir, seed=seed)


def complete(cell: Cell, grid: Grid) -> Json:
    """Make a cell's set and evaluate it, both in the cell's folder, which is this process's.

    Returns:
      The cell's line of the table, which is in row.json, too.
    """
    line = row(cell, make(cell, grid), grid)
    runs.write_json(cell.folder(grid.folder) / grid_table.ROW, line)
    return line


def make(cell: Cell, grid: Grid) -> CondensedSet:
    """Make the set of a cell in the cell's folder, or read it if it is finished.

    Raises:
      UserError: a finished set was made otherwise.
    """
    settings, dataset = grid.settings, grid.train
    run = grid.run.within(cell.name).opened()
    folder = run.folder
    assert folder is not None
    is_method = cell.method in methods.METHODS
    plan = plan_of(cell, dataset, settings.steps, settings.config) if is_method else None
    condensed.check_place(folder / "condensed")
    if (folder / "condensed" / "manifest.json").exists():
        made = condensed.load(folder / "condensed")
        grid_check.check_made(made, cell, grid, folder)
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
        count = grid_check.expert_count(cell, grid)
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
    folder = cell.folder(grid.folder)
    if grid.settings.soft:
        made = labelling.soften(made, _experts(grid, grid.settings.experts.used))
    tested = Tested(made, grid.test, grid.network, cell.method)
    how = grid.settings.evaluation_of(cell.ipc)
    own = grid.run.within(cell.name).within("evaluation")
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
        "published": _published(folder),
    }


def _published(folder: Path) -> Json | None:
    """The papers' number for what a cell's folder holds; None where they have none."""
    entries = report.collect([folder / "condensed", folder / "evaluation"], notes=[])
    found = compare.published(entries[0])
    if found is None:
        return None
    return {"accuracy": found.accuracy, "std": found.std, "source": found.source}
