"""The notebooks run from top to bottom at tiny settings, and are what their paired scripts say."""

import importlib.util
import os
import subprocess
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
    "what_it_is_good_for": {
        "WIDTH": 4, "IPC": 1, "ITERATIONS": 2, "EPOCHS": 1, "WHOLE_EPOCHS": 1,
        "SPACE": "depth=1 width=2,4", "STEPS": 2, "IMAGES": 12, "TEST_IMAGES": 5,
    },
}  # fmt: skip
PICTURES = {"colab_quickstart": 2, "reproduce_dance": 0, "method_tour": 2, "what_it_is_good_for": 1}


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
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook's own is what people see
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
        "method_tour": "distance of means", "what_it_is_good_for": "forgetting",
    }  # fmt: skip
    assert any(wanted[name] in text for text in texts)
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == PICTURES[name]


def first_cell(name):
    """The code that installs the package."""
    script = jupytext.read(FOLDER / f"{name}.py")
    return next(c.source for c in script.cells if c.cell_type == "code")


@pytest.mark.parametrize("name", ["colab_quickstart", "reproduce_dance"])
def test_a_fresh_machine_installs_the_checkout_or_says_what_to_give(name, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="SOURCE"):
        exec(first_cell(name), {})
    assert not calls
    (tmp_path / "dancejax").mkdir()
    (tmp_path / "notebooks").mkdir()
    for folder in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(folder)
        exec(first_cell(name), {})
        assert calls.pop()[-1].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("driver", "libtpu", "extra"), [(True, False, "cuda"), (False, True, "tpu"), (False, False, "")]
)
def test_jax_is_installed_for_the_accelerator_that_is_there(
    driver, libtpu, extra, tmp_path, monkeypatch
):
    """Machines come with a JAX and a driver for it: one is not renewed without the other."""
    calls, exists = [], Path.exists
    monkeypatch.setattr(importlib.util, "find_spec", {"libtpu": libtpu or None}.get)
    monkeypatch.setattr(
        Path, "exists", lambda p: driver if str(p) == "/proc/driver/nvidia" else exists(p)
    )
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command[-1]))
    (tmp_path / "dancejax").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(first_cell("colab_quickstart"), {})
    assert calls == [f"{tmp_path}[{extra}]" if extra else str(tmp_path)]
    code = first_cell("reproduce_dance").replace(
        'SOURCE = ""', 'SOURCE = "git+https://example.org/x"'
    )
    exec(code, {})
    extras = ",".join(filter(None, ("tfds", extra)))
    assert calls[1:] == [f"dancejax[{extras}] @ git+https://example.org/x"]


def test_what_was_loaded_before_it_was_renewed_needs_a_new_session(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: None)
    monkeypatch.setattr(np, "__version__", "1.0")
    (tmp_path / "dancejax").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="Restart"):
        exec(first_cell("colab_quickstart"), {})
