"""The benchmarks run and count what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import workers

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
            sys.executable, "-m", "benchmarks", "--only=pieces,steps,loop,stream", "--widths=4",
            "--batch=4", "--ipcs=1", "--rounds=1", "--methods=dm,dance", "--side=16",
            f"--json={tmp_path / 'out.json'}",
        ],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    names = [line["name"] for line in found["steps"]]
    assert names == ["dm C=10 IPC=1 w=4 float32", "dance C=10 IPC=1 w=4 float32"]
    assert all(line["median_s"] > 0 and line["compile_s"] > 0 for line in found["steps"])
    assert [line["name"] for line in found["pieces"]] == [
        "matmul 2048 float32", "decode", "augment", "augment_all",
    ]  # fmt: skip
    assert found["loop"][0]["bare_s"] > 0
    assert [line["wait_s"] >= 0 for line in found["stream"]] == [True, True]
