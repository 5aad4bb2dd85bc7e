"""Pictures of sets and curves: tiles told apart, names of any kind, no backend chosen."""

import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dancejax import figures
from dancejax.condensed import CondensedSet

from .test_names import ODD


def small(classes=("a", "b"), factor=2, side=8) -> CondensedSet:
    return CondensedSet(
        images=np.zeros((2 * len(classes), side, side, 1), np.float32),
        labels=np.repeat(np.arange(len(classes), dtype=np.int32), 2),
        classes=tuple(classes), mean=(0.5,), std=(0.5,), factor=factor, method="dance",
        source={"name": classes[0], "fingerprint": "f", "split": "train"}, settings={},
    )  # fmt: skip


def test_importing_the_library_chooses_no_backend():
    code = (
        "import sys, matplotlib; from dancejax import condensation, figures, report; "
        "from dancejax.report import gallery; "
        "assert matplotlib.get_backend(auto_select=False) is None; "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_line_stands_between_tiles_and_white_between_images():
    canvas = figures.grid(small())[..., 0]
    assert canvas.shape == (2 * 65 + 8, 2 * 65 + 8)
    assert (canvas[32, :65] == canvas[:65, 32]).all() and 0 < canvas[32, 5] < 1
    assert (canvas[65:73] == 1).all() and (canvas[:32, :32] == 0).all()
    whole = figures.grid(small(factor=1))[..., 0]
    assert set(np.unique(whole)) == {0, 1} and (whole[:64, :64] == 0).all()


@pytest.mark.parametrize("name", ODD)
def test_a_class_may_have_any_name(name):
    made = dataclasses.replace(small((name, "b")))
    figure = figures.grid_figure(made, note="iteration 1")
    with Image.open(io.BytesIO(figures.png(figure))) as picture:
        assert picture.width < 1000
    curves = {name: [(1, 2.0), (2, 1.0)]}
    figures.png(figures.curves_figure(curves, xlabel="x", ylabel="y", title=name))


def test_a_torn_line_of_metrics_is_passed_over(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"kind": "dm", "step": 1, "matching": 2.0}\n{"kind": "d')
    figures.save_metrics(tmp_path / "losses.png", log, "dm")
    assert (tmp_path / "losses.png").exists()
    figures.save_metrics(tmp_path / "none.png", log, "idm")
    assert not (tmp_path / "none.png").exists()
