"""launch.analyse: every analysis of sets of several origins, once for the same inputs."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from dancejax import analysis
from dancejax.training import experts

from .conftest import EXPERTS, ROOT, SMALL, parts_of

TRAINING = ("--expert_epochs=2", "--expert_batch=16", *SMALL)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, launch, dataset):
    """A folder with a coreset."""
    base = tmp_path_factory.mktemp("made")
    launch("select", dataset, "--ipc=2", f"--workdir={base / 'random'}", *SMALL)
    return base


@pytest.fixture(scope="module")
def made(chosen, launch, dataset, expert_dir, train):
    """Beside it sets by DANCE with one expert of the pool, and of another program."""
    base = chosen
    launch("condense", dataset, "--preset=paper", "--method=dance", "--ipc=2", "--steps=2",
           "--batch_real=8", f"--expert_dir={expert_dir}", "--experts=1",
           f"--workdir={base / 'dance'}", *SMALL)  # fmt: skip
    index = np.concatenate([np.flatnonzero(train.labels == c)[:2] for c in range(3)])
    images = train.images[index] / np.float32(255)
    np.savez(base / "foreign.npz", images=images, labels=train.labels[index])
    launch("convert", dataset, f"--source={base / 'foreign.npz'}", "--factor=1",
           f"--workdir={base / 'theirs'}")  # fmt: skip
    return base


def read(folder):
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.slow
def test_every_analysis_once(launch, dataset, expert_dir, made, tmp_path):
    command = (
        "analyse", dataset, f"--condensed={made}/dance/condensed,{made}/random,{made}/theirs",
        f"--expert_dir={expert_dir}", f"--analyses={','.join(analysis.ANALYSES)}", *TRAINING,
        "--networks=1", "--neighbours=5", "--lambda_steps=2", f"--workdir={tmp_path}",
    )  # fmt: skip
    done = launch(*command)
    written = {}
    for name in analysis.ANALYSES:
        found = read(tmp_path / name)
        assert found["analysis"] == name and found["sets"] == ["dance", "random", "theirs"]
        assert f"{name}: {found['summary']}" in done.stdout
        assert b"<svg" in (tmp_path / name / found["plot"]).read_bytes()
        with open(tmp_path / name / "rows.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(found["rows"]) and list(rows[0]) == list(found["rows"][0])
        written[name] = (tmp_path / name / "analysis.json").stat().st_mtime_ns
    apart = {(row["set"], row["experts"]) for row in read(tmp_path / "expert_accuracy")["rows"]}
    assert {("dance", "used"), ("dance", "held out"), ("theirs", "unknown")} <= apart
    again = launch(*command)
    assert again.stdout == done.stdout and again.stderr.count("is there already") == len(written)
    for name, when in written.items():
        assert (tmp_path / name / "analysis.json").stat().st_mtime_ns == when
    refused = launch(*command, "--seed=1", status=2)
    assert "seed is 0 there, 1 here" in refused.stderr
    fewer = [*command[:2], f"--condensed={made}/dance", *command[3:]]
    assert "sets.random" in launch(*fewer, status=2).stderr


@pytest.mark.slow
def test_experts_are_trained_apart_and_a_stop_changes_nothing(launch, dataset, made, tmp_path):
    command = (
        "analyse", dataset, f"--condensed={made}/dance,{made}/random",
        "--analyses=discrepancy,consistency", *SMALL, *EXPERTS[:1], "--expert_epochs=12",
        "--expert_batch=4", "--networks=1", "--neighbours=3", "--checkpoint_seconds=0.2",
    )  # fmt: skip
    launch(*command, f"--workdir={tmp_path / 'whole'}")
    about = experts.read_description(tmp_path / "whole" / "experts")
    assert about["seed"] > 1000  # of no condensation
    stopped = launch(
        *command, f"--workdir={tmp_path / 'cut'}", status=128 + signal.SIGTERM,
        stop=(signal.SIGTERM, str(tmp_path / "cut" / "discrepancy" / "training")),
    )  # fmt: skip
    assert "Stopped" in stopped.stderr
    assert not (tmp_path / "cut" / "discrepancy" / "analysis.json").exists()
    launch(*command, f"--workdir={tmp_path / 'cut'}")
    for name in ("discrepancy", "consistency"):
        for file in ("analysis.json", "rows.csv", "plot.svg"):
            parts = (tmp_path / which / name / file for which in ("whole", "cut"))
            first, second = (path.read_bytes() for path in parts)
            assert first == second, f"{name}/{file}"


PARTS = (
    "--analyses=consistency,moments,tsne,discrepancy", *SMALL, *EXPERTS[:1], "--expert_epochs=2",
    "--expert_batch_size=16", "--networks=1", "--neighbours=3", "--perplexity=2", "--devices=1",
)  # fmt: skip


def test_analyses_have_commands_of_their_own(launch, dataset, chosen, tmp_path):
    command = ("analyse", dataset, f"--condensed={chosen}/r*", *PARTS, f"--workdir={tmp_path}")
    found = parts_of(launch, *command)
    assert [*found] == ["experts", "consistency", "moments", "tsne", "discrepancy"]
    assert "--neighbours=3" in found["consistency"] and "--neighbours=3" not in found["moments"]
    assert f"--condensed={chosen}/random" in found["moments"]
    fewer = parts_of(launch, *command, "--analyses=moments", "--neighbours=9", "--networks=1")
    assert fewer == {"moments": found["moments"]}  # and no experts, which it does not need
    assert "5 waiting" in launch(*command, "--status").stdout
    early = launch(*command, "--cells=consistency", status=2).stderr
    assert "not finished (0 of 2)" in early and "--cells=experts" in early
    assert "Did you mean 'tsne'" in launch(*command, "--cells=tsna", status=2).stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_workers_come_to_the_same_as_one_process(launch, alone, dataset, chosen, tmp_path):
    command = ("analyse", dataset, f"--condensed={chosen}/random", *PARTS)
    done = alone(*command, f"--workdir={tmp_path / 'whole'}")
    local = (*command, f"--workdir={tmp_path / 'local'}")
    by_workers = alone(*local, "--engine=local", "--parallel=2", "--together=2")
    assert by_workers.stdout == done.stdout
    for name in ("consistency", "moments", "tsne", "discrepancy"):
        for file in ("analysis.json", "rows.csv", "plot.svg"):
            parts = (tmp_path / which / name / file for which in ("whole", "local"))
            first, second = (path.read_bytes() for path in parts)
            assert first == second, f"{name}/{file}"
    states = launch(*local, "--status").stdout
    assert "5 finished" in states and "experts      finished  2 experts, " in states
    again = launch(*local)
    assert again.stdout == done.stdout and again.stderr.count("is there already") == 4


def test_an_analysis_is_done_once_for_the_same_inputs(launch, dataset, chosen, tmp_path):
    command = ("analyse", dataset, f"--condensed={chosen}/random", "--analyses=moments",
               "--networks=1", *SMALL, f"--workdir={tmp_path}")  # fmt: skip
    done = launch(*command)
    found = read(tmp_path / "moments")
    assert found["sets"] == ["random"] and len(found["rows"]) == 3
    when = (tmp_path / "moments" / "analysis.json").stat().st_mtime_ns
    again = launch(*command)
    assert again.stdout == done.stdout and "is there already" in again.stderr
    assert (tmp_path / "moments" / "analysis.json").stat().st_mtime_ns == when
    assert "seed is 0 there, 1 here" in launch(*command, "--seed=1", status=2).stderr
    (tmp_path / "moments" / "plot.svg").unlink()
    assert "is there already" not in launch(*command).stderr
    assert read(tmp_path / "moments") == found


def test_what_does_not_do_is_said_in_a_sentence(launch, dataset, expert_dir, chosen, tmp_path):
    start = ("analyse", dataset, f"--workdir={tmp_path / 'out'}", *SMALL)
    one = f"--condensed={chosen}/random"
    pool = f"--expert_dir={expert_dir}"
    for flags, noun in (
        ((one, "--analyses=nothing"), "nothing"),
        ((f"--condensed={chosen}/nowhere", "--analyses=moments"), "nowhere"),
        ((one, "--analyses=moments", "--perplexity=5"), "perplexity"),
        ((one, "--analyses=moments", "--networks=0"), "networks"),
        ((one, "--analyses=tsne", pool, "--experts=9"), "experts"),
        ((one, "--analyses=tsne", pool, "--width=5"), "width"),
        ((one, "--analyses=cost"), "cost"),
        ((one, "--analyses=density", pool, "--class_number=7"), "class 7"),
    ):
        assert noun in launch(*start, *flags, status=2).stderr
    assert not (tmp_path / "out" / "moments").exists()
    # What was refused is in nobody's way.
    launch(*start, one, "--analyses=density", pool, "--class_number=1")


BRIGHTNESS = '''
"""Mean brightness of synthetic images."""

import dataclasses

from dancejax.analysis import plots
from dancejax.analysis.base import Analysis, setting


@dataclasses.dataclass(frozen=True)
class Config:
    gain: float = setting(1.0, "what the brightness is multiplied by")


@dataclasses.dataclass(frozen=True)
class Brightness:
    means: dict

    def rows(self):
        return [{"set": label, "mean": mean} for label, mean in self.means.items()]

    def summary(self):
        return f"Mean brightness: {self.means}."

    def figure(self):
        figure, (axes,) = plots.new()
        plots.bars(axes, ["mean"], {k: [(v, 0.0)] for k, v in self.means.items()})
        plots.finish(figure, axes)
        return figure


def measure(material, config, run):
    means = {k: config.gain * float(v.images.mean()) for k, v in material.sets.items()}
    return Brightness(means)


ANALYSIS = Analysis("Mean brightness", "ours", Config, measure)
'''
PROGRAM = """
import runpy, sys
import brightness
from dancejax import analysis
analysis.ANALYSES["brightness"] = brightness.ANALYSIS
sys.argv = ["analyse", *sys.argv[1:]]
runpy.run_module("launch.analyse", run_name="__main__", alter_sys=True)
"""


def test_a_new_analysis_is_one_file_and_one_line(environment, dataset, chosen, tmp_path):
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, dataset, f"--condensed={chosen}/random",
         "--analyses=brightness", "--gain=100", f"--workdir={tmp_path / 'out'}", *SMALL],
        cwd=tmp_path, env={**environment, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out" / "brightness")
    images = np.load(chosen / "random" / "condensed" / "images.npy")
    np.testing.assert_allclose(found["rows"][0]["mean"], 100 * images.mean(), rtol=1e-5)
