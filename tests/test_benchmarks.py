"""The benchmarks run and count what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import against, workers

ROOT = Path(__file__).parents[1]


def test_operations_of_a_step_are_counted():
    """ConvNet-3 of width 128 on 32x32: 7.1 + 75.5 + 18.9 million operations an image."""
    image = 2 * 9 * (32**2 * 3 * 128 + 16**2 * 128**2 + 8**2 * 128**2)
    assert workers.forward_flops(128, 32, 3) == image
    spec = {"method": "dance", "classes": 10, "ipc": 10, "batch": 128, "width": 128, "side": 32}
    # Real images forward, 40 decoded ones forward and back, twice.
    assert workers.step_flops(spec) == 10 * (128 + 4 * 40) * image
    assert workers.step_flops({**spec, "method": "dm"}) == 10 * (128 + 2 * 10) * image
    assert workers.step_flops({**spec, "ipc": 100}) == 10 * (128 + 4 * 200) * image


@pytest.mark.slow
def test_benchmarks_write_what_they_measure(tmp_path):
    subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "--only=pieces,parts,steps,loop,stream",
            "--widths=4", "--batch=4", "--ipcs=1", "--rounds=1", "--methods=dm,dance", "--side=16",
            f"--json={tmp_path / 'out.json'}",
        ],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    names = [line["name"] for line in found["steps"]]
    assert names == ["dm C=10 IPC=1 w=4 float32", "dance C=10 IPC=1 w=4 float32"]
    assert all(line["median_s"] > 0 and line["compile_s"] > 0 for line in found["steps"])
    measured = {line["name"]: line["cpu_s"] for line in found["parts"]}
    assert {"step", "testing", "CutMix", "norm 2 back", "convolution 3 input gradient"} <= {
        *measured
    }
    assert min(measured.values()) > 0 and measured["step"] > measured["convolution 2 forward"]
    assert [line["name"] for line in found["pieces"]] == [
        "matmul 2048 float32", "decode", "augment", "augment_all",
    ]  # fmt: skip
    assert found["loop"][0]["bare_s"] > 0
    assert [line["wait_s"] >= 0 for line in found["stream"]] == [True, True]


def test_a_loss_against_a_commit_is_more_than_five_percent():
    """By the median of the rounds' ratios, so that a round on a busier machine counts once."""
    text, lost = against.line("step", [1.04, 2.08, 9.0], [1.0, 2.0, 3.0], "abc")
    assert text == "step: 2.080 s, at abc 2.000 s; 4.0% slower" and not lost
    text, lost = against.line("step", [1.06, 2.12, 3.0], [1.0, 2.0, 3.0], "abc")
    assert text.endswith("6.0% slower  LOSS") and lost
    assert not against.line("step", [0.9], [1.0], "abc")[1]
