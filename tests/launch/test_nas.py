"""launch.nas as a user starts it."""

import json
import signal

import pytest

from .conftest import EXPERTS, parts_of

COMMAND = (
    "nas", "--space=depth=1 width=2,4", "--coresets=random,herding", "--ipc=2", "--epochs=20",
    "--whole_epochs=1", *EXPERTS, "--validation=0.25", "--batch_size=4",
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


NETWORKS = ["convnet-depth=1-width=2", "convnet-depth=1-width=4"]


def test_networks_have_commands_of_their_own(launch, dataset, tmp_path):
    command = (*COMMAND, dataset, f"--workdir={tmp_path}")
    found = parts_of(launch, *command)
    assert [*found] == ["proxies", *NETWORKS, "chosen"]
    assert "--space=depth=1 width=4" in found[NETWORKS[1]]
    wider = parts_of(
        launch, *command, "--space=depth=1,2 width=2,4,8", "--top_share=0.5", "--engine=local"
    )
    assert len(wider) == 8 and all(wider[name] == found[name] for name in NETWORKS)
    assert [*parts_of(launch, *command, "--whole")] == ["proxies", *NETWORKS]
    together = launch(*command, "--print_commands", "--together=5").stdout.splitlines()
    cells = [line.partition("--cells=")[2] for line in together]
    assert cells == ["proxies", ",".join(NETWORKS), "chosen"]
    early = launch(*command, f"--cells={NETWORKS[0]}", status=2).stderr
    assert "--cells=proxies" in early
    assert "4 waiting" in launch(*command, "--status").stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_workers_come_to_the_same_as_one_process(launch, alone, dataset, tmp_path):
    whole, local = tmp_path / "whole", tmp_path / "local"
    alone(*COMMAND, dataset, "--devices=1", f"--workdir={whole}")
    command = (*COMMAND, dataset, "--devices=1", f"--workdir={local}")
    early = launch(*command, "--cells=chosen", status=2).stderr
    assert "--cells=proxies" in early
    alone(*command, "--cells=proxies")
    assert "2 networks are not trained" in launch(*command, "--cells=chosen", status=2).stderr
    done = alone(*command, "--engine=local", "--parallel=2")
    assert done.stdout == (local / "table.md").read_text()
    states = launch(*command, "--status").stdout
    assert "4 finished" in states and "proxies                  finished  random, herding" in states
    assert states == launch(*COMMAND, dataset, f"--workdir={whole}", "--status").stdout
    for name in ("ranking.csv", "metrics.jsonl"):
        assert (local / name).read_bytes() == (whole / name).read_bytes()
    results = [json.loads((path / "result.json").read_text()) for path in (whole, local)]
    assert results[0]["test"] == results[1]["test"] and len(results[0]["test"]) in (1, 2)
    again = launch(*command)
    assert (local / "ranking.csv").read_bytes() == (whole / "ranking.csv").read_bytes()
    assert again.stdout == done.stdout


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
