"""The whole road on the embedded images: condensed ones beside random ones and all."""

import statistics
from pathlib import Path

from dancejax import condensed, coreset, runs
from dancejax.applications import assess, own_folder
from dancejax.applications.settings import Say, quiet
from dancejax.text import accuracy
from dancejax.types import Json


def carry_out(job: own_folder.Job, *, say: Say = quiet) -> str:
    """Train experts, condense, evaluate, and write report.md; returns its table.

    Args:
      job: of `own_folder.prepare`, with a folder, test images and experts.
      say: takes what is done, in sentences.
    """
    own, how, folder = job.settings, job.settings.evaluation, job.run.folder
    assert folder is not None
    say(f"1/4 {own.experts.number} experts, {own.experts.epochs} epochs each")
    found = own_folder.ready_experts(job)
    say(f"2/4 DANCE, {own.ipc} images per class, {own.steps} iterations")
    made = own_folder.make(job, found)
    condensed.save(made, folder / "condensed")
    chosen = coreset.random(job.train, own.ipc, seed=own.seed)
    condensed.save(chosen, folder / "random")
    say(f"3/4 evaluation, {how.networks} networks each")
    rows: dict[str, Json] = {}
    for name, train in (("random", chosen), ("DANCE", made)):
        assert job.test is not None
        tested = assess.Tested(train, job.test, job.network)
        place = job.run.within(f"evaluation_{name.lower()}")
        result = assess.assess(tested, how, seed=own.seed, run=place).evaluation
        rows[f"{name}, {own.ipc} per class"] = result.to_dict()
    every = len(job.train.labels) // job.train.num_classes
    rows[f"all, {every} per class"] = runs.read_json(folder / "experts" / "result.json")
    say("4/4 report")
    _write(folder, rows, job)
    say(f"report: {folder / 'report.md'}")
    return table(rows)


def table(rows: dict[str, Json]) -> str:
    """Return accuracies as a Markdown table; rows: results of evaluations by what was tested."""
    lines = ["| training set | networks, epochs | test accuracy, last epoch |", "|---|---|---|"]
    for name, row in rows.items():
        found = row["accuracies"]
        std = statistics.stdev(found) if len(found) > 1 else 0.0
        reached = accuracy(row["accuracy_mean"], std, len(found), 1)
        lines.append(f"| {name} | {len(found)}, {row['training']['epochs']} | {reached} |")
    return "\n".join(lines)


def _write(folder: Path, rows: dict[str, Json], job: own_folder.Job) -> None:
    """Write the table and the pictures on a page, and result.json."""
    width, test = job.settings.network.options["width"], job.test
    assert test is not None
    page = (
        f"# {job.train.name}: DANCE against random images\n\n{table(rows)}\n\n"
        f"Mean and deviation of networks (ConvNet-3, width {width}) on {len(test)} test images; "
        "those of all images are the experts.\n\n"
        "![condensed set](condensed/preview.png)\n\n![random images](random/preview.png)\n"
    )
    runs.write_bytes(folder / "report.md", page.encode())
    runs.write_json(folder / "result.json", rows)
