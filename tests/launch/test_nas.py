"""launch.nas as a user starts it."""

import signal

import pytest

from .conftest import EXPERTS

COMMAND = (
    "nas", "--space=depth=1 width=2,4", "--coresets=random,herding", "--ipc=2", "--epochs=20",
    "--whole_epochs=1", *EXPERTS, "--validation=0.25",
)  # fmt: skip


@pytest.mark.slow
def test_it_goes_on_to_the_same_bytes(launch, dataset, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    launch(*COMMAND, dataset, f"--workdir={whole}", "--whole")
    command = (*COMMAND, dataset, f"--workdir={cut}", "--checkpoint_seconds=0")
    once = str(cut / "networks" / "convnet-depth=1-width=2" / "herding" / "training")
    launch(*command, "--whole", status=143, stop=(signal.SIGTERM, once))
    assert not (cut / "table.md").exists()
    launch(*command)
    assert "| early_stopping | 2 | 2 |" in launch(*command, "--whole", "--dry_run").stdout
    done = launch(*command, "--whole")
    assert done.stdout == (cut / "table.md").read_text()
    for name in ("ranking.csv", "metrics.jsonl"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "noun"),
    [
        (["--space=colour=red"], "colour"),
        (["--space="], "space"),
        (["--space=depth=7"], "depth"),
        (["--ipc=24"], "images"),
        (["--condensed=nowhere"], "nowhere"),
        (["--top_share=2"], "share"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    changes, noun, launch, dataset, tmp_path
):
    done = launch(*COMMAND, dataset, *changes, f"--workdir={tmp_path / 'new'}", status=2)
    assert noun in done.stderr and not (tmp_path / "new").exists()
