"""A disk without room, for every program: one sentence, nothing half-written, then it goes on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, coreset, data, exchange

from .conftest import EXPERTS, SMALL

pytestmark = pytest.mark.slow

ROOMS = (0, 4096, 16384, 40960, 122880)
"""Bytes that are left as a program starts: pages that take nothing, a file, or several."""
SHORT = ("--epochs=1", "--repeats=1", "--test_points=1")
NETWORKS = "--networks=convnet:width=4:depth=2"
QUICK = (
    "--preset=paper",
    "--ipc=1",
    "--steps=2",
    "--batch_real=8",
    "--augmentation=flip",
    "--log_every=1",
    *SMALL,
)
PROGRAMS = {
    "pretrain": ("pretrain", "{data}", *SMALL, *EXPERTS),
    "dance": ("condense", "{data}", "--expert_dir={experts}", "--keep_every=1", *QUICK),
    "dm": ("condense", "{data}", "--method=dm", "--evaluate", *SHORT, *QUICK),
    "random": ("select", "{data}", "--ipc=1"),
    "herding": ("select", "{data}", "--ipc=1", "--method=herding", "--expert_dir={experts}"),
    "forgetting": ("select", "{data}", "--ipc=1", "--method=forgetting", "--expert_epochs=1"),
    "evaluate": ("evaluate", "{data}", "--condensed={made}", *SHORT, *SMALL),
    "cross": ("cross", "{data}", "--condensed={made}", NETWORKS, *SHORT),
    "sweep": ("sweep", "{data}", "--methods=random", "--ipcs=1", *SMALL, *SHORT[:2]),
    "label": ("label", "--condensed={made}", "--expert_dir={experts}"),
    "analyse": ("analyse", "{data}", "--condensed={made}", "--analyses=moments,tsne",
                "--expert_dir={experts}", "--networks=1", *SMALL),
    "continual": ("continual", "{data}", "--methods=random", "--steps=3", "--orders=1", "--ipc=2",
                  *SHORT[:2], *SMALL),
    "nas": ("nas", "{data}", "--space=width=2,4", "--depth=2", "--coresets=random", "--ipc=2",
            "--epochs=1", "--whole", "--whole_epochs=1", "--devices=1"),
    "tensorboard": ("condense", "{data}", "--method=dm", "--tensorboard", "--picture_every=1",
                    *QUICK),
    "convert": ("convert", "{data}", "--source={export}"),
    "report": ("report", "--runs={runs}"),
    "picture": ("picture", "--run={runs}"),
    **{
        f"export-{form}": ("export", "--condensed={made}", f"--formats={form}")
        for form in exchange.FORMS
    },
}  # fmt: skip
PROGRAMS["herding"] += SMALL
PROGRAMS["forgetting"] += (*SMALL, "--expert_batch_size=16")
PASSING = {"config.json", "result.json", "row.json", ".lock", "best_over_checkpoints.json",
           "times.json", "analysis.json"}  # fmt: skip
"""Names of files that hold times, paths or process numbers, as do pages of reports."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, launch, dataset, expert_dir):
    """What the programs read: {placeholder} in the table."""
    folder = tmp_path_factory.mktemp("read")
    chosen = coreset.random(data.load(dataset.partition("=")[2]), 1)
    condensed.save(chosen, folder / "made")
    exchange.export(chosen, folder / "export", "npz")
    run = folder / "runs"
    launch(
        "condense", dataset, "--method=dm", "--evaluate", *SHORT, *QUICK, "--picture_every=1",
        f"--workdir={run}",
    )  # fmt: skip
    return {"data": dataset, "experts": expert_dir, "made": folder / "made",
            "export": folder / "export", "runs": run}  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """What a program wrote that must be the same each time."""
    kept = {}
    for path in filter(Path.is_file, folder.rglob("*")):
        passing = path.name in PASSING or path.suffix in (".html", ".md", ".csv")
        # Orbax's files differ from run to run; what is in them shows in the sets and metrics.
        stored = "arrays" in path.parts or (path.parent / "arrays").exists()
        if not passing and not stored and not {"report", "tensorboard"} & set(path.parts):
            kept[str(path.relative_to(folder))] = path.read_bytes()
    return kept


def check_whole(folder: Path) -> None:
    """No file that is there was cut: sets load, and nothing temporary is left."""
    assert not [p for p in folder.rglob("*") if p.name.endswith(".tmp")]
    for manifest in folder.rglob("condensed/manifest.json"):
        condensed.load(manifest.parent)
    for description in folder.rglob("dancejax.json"):
        exchange.read(description.parent)
    for array in folder.rglob("*.npy"):
        np.load(array)
    for picture in [*folder.rglob("*.png"), *folder.rglob("*.gif")]:
        with Image.open(picture) as image:
            image.load()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk(program, small_disk, made, launch, start, tmp_path):
    command = [part.format(**made) for part in PROGRAMS[program]]
    launch(*command, f"--workdir={tmp_path / 'run'}")
    for room in ROOMS:
        run = small_disk / "run"
        free = shutil.disk_usage(small_disk).free
        (small_disk / "filler").write_bytes(bytes(free - room))
        done = start([*command, f"--workdir={run}"])
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == (done.returncode == 2), done.stderr
        assert "Exception" not in done.stderr
        assert all("room" in line for line in errors), errors
        check_whole(run)
        (small_disk / "filler").unlink()
        if done.returncode or program.partition("-")[0] != "export":
            launch(*command, f"--workdir={run}")
        assert files(run) == files(tmp_path / "run")
        shutil.rmtree(run)
