"""The notebooks run from top to bottom at tiny settings, and are what their paired scripts say."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[1] / "notebooks"
TINY = {
    "colab_quickstart": {
        "IPC": 1,
        "CHANGES": {"width": 4, "expert_epochs": 1, "steps": 2, "epochs": 1, "repeats": 1},
    },
    "reproduce_dance": {
        "IPC": 1, "WIDTH": 4, "EXPERTS": 5, "EXPERT_EPOCHS": 1, "BATCH_REAL": 8, "STEPS": 2,
        "EPOCHS": 1, "REPEATS": 1,
    },
    "method_tour": {"WIDTH": 4, "EXPERT_EPOCHS": 1, "POINTS": 3, "IMAGES": 8, "TEST_IMAGES": 5},
}  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_notebook_is_its_script(name):
    notebook = jupytext.read(FOLDER / f"{name}.ipynb")
    script = jupytext.read(FOLDER / f"{name}.py")
    assert [(c.cell_type, c.source) for c in notebook.cells] == [
        (c.cell_type, c.source) for c in script.cells
    ]
    assert all(not cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_notebook_runs(name, train, test, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("MPLBACKEND", "agg")
    # The kernel of this environment, wherever others are installed.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    settings = {"WORKDIR": str(tmp_path / "run"), **TINY[name]}
    if name == "reproduce_dance":
        np.savez(
            tmp_path / "cifar10.npz", x_train=train.images, y_train=train.labels,
            x_test=test.images, y_test=test.labels,
        )  # fmt: skip
        settings["DATASET"] = str(tmp_path / "cifar10.npz")
    notebook = jupytext.read(FOLDER / f"{name}.py")
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert set(settings) <= {line.split(" = ")[0] for line in cell.source.splitlines()}
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    texts = [str(output) for c in notebook.cells if c.cell_type == "code" for output in c.outputs]
    wanted = {
        "colab_quickstart": "condensed: ", "reproduce_dance": "DANCE Table 1",
        "method_tour": "distance of means",
    }  # fmt: skip
    assert any(wanted[name] in text for text in texts)
