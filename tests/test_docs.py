"""Every command of README and docs runs, made small; links lead somewhere; the API documents."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dancejax import condensed, coreset, exchange, runs

from .conftest import cut

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NETWORK = ("--width=4", "--depth=2")
EXPERTS = ("--experts=2", "--expert_epochs=1", "--expert_batch_size=32")
STEPS = ("--steps=2", "--batch_real=8", "--augmentation=flip")
ONCE = ("--epochs=1", "--repeats=1")
SMALLER = {
    "pretrain": (*NETWORK, *EXPERTS),
    "condense": (*NETWORK, *EXPERTS, *STEPS, *ONCE),
    "evaluate": (*NETWORK, *ONCE),
    "sweep": (*NETWORK, *EXPERTS, *STEPS, *ONCE, "--queue_size=3", "--train_batch=8",
              "--train_steps=1", "--methods=dance,random", "--ipcs=10", "--seeds=0"),
    "continual": (*NETWORK, *EXPERTS, *ONCE, "--iterations=2", *STEPS[1:], "--steps=3",
                  "--orders=1", "--ipc=2", "--methods=dm,random"),
    "nas": ("--space=depth=1 width=4,8", *EXPERTS, "--epochs=1", "--whole_epochs=1", "--ipc=2"),
    "cross": ("--networks=convnet:width=4:depth=2,resnetap10:width=2", *ONCE),
    "analyse": (*NETWORK, "--expert_epochs=1", "--expert_batch_size=32"),
}  # fmt: skip


def commands(page):
    """The commands of a page, each a list of words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("python -m launch.")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands name."""
    folder = tmp_path_factory.mktemp("docs")
    train, test = cut("train", 60), cut("test", 20)
    np.savez(
        folder / "cifar10.npz", x_train=train.images, y_train=train.labels,
        x_test=test.images, y_test=test.labels,
    )  # fmt: skip
    for number, (image, label) in enumerate(zip(train.images, train.labels, strict=True)):
        path = folder / "path" / "to" / "images" / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).resize((36 + number % 2, 40)).save(path)
    return folder


@pytest.mark.slow
def test_the_page_of_flags_is_what_the_programs_say():
    script = runpy.run_path(str(ROOT / "scripts" / "make_flags_page.py"))
    assert script["page"]() == (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_runs(page, place, launch):
    for words in commands(page):
        program = words[2].removeprefix("launch.")
        smaller = list(SMALLER.get(program, ()))
        if any(word.startswith("--ablation=") for word in words):
            smaller = [flag for flag in smaller if not flag.startswith("--methods=")]
        if any(word.startswith("--keep_every=") for word in words):
            smaller.append("--keep_every=1")
        if any(word.startswith("--network=") for word in words):
            smaller = [flag for flag in smaller if flag != "--depth=2"]  # ConvNet's alone
            words = [word.replace("resnet10:width=16", "convnet:norm=none") for word in words]
            words = ["--network=convnet" if w == "--network=resnet10" else w for w in words]
        if {"--dataset=cifar10", "--dataset=cifar100"} & set(words):
            smaller.append(f"--dataset={place / 'cifar10.npz'}")
        path = {"PYTHONPATH": str(ROOT)}  # for the processes that it starts
        launch(program, *words[3:], *smaller, folder=str(place), environment=path)


SHORTER = {
    "width=32": "width=4",
    "count=3, epochs=10": "count=1, epochs=1",
    "batch_real=64": "batch_real=8",
    "steps=300": "steps=2",
    "epochs=100, repeats=3": "epochs=2, repeats=1",
}


OWN_ARRAYS = """
import numpy as np
x = np.random.default_rng(0).integers(0, 256, (80, 8, 8), np.uint8)
y = np.arange(80) % 2
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs" / "format.md"], ids=lambda page: page.stem
)
def test_every_python_example_runs(page, tmp_path):
    for run in ("demo", "mine"):
        runs.open_workdir(tmp_path / "runs" / run)
        condensed.save(coreset.random(cut("train", 4), 2), tmp_path / "runs" / run / "condensed")
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        for long, short in SHORTER.items():
            example = example.replace(long, short)
        example = OWN_ARRAYS + example
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{example}\n{done.stderr}"


def test_the_page_for_pytorch_trains_and_tests_in_few_lines(tmp_path):
    pytest.importorskip("torch")
    train, test = cut("train", 20), cut("test", 20)
    options = exchange.ExportOptions(test=test)
    exchange.export(coreset.random(train, 16), tmp_path / "set", "torch", options)
    text = (ROOT / "docs" / "pytorch.md").read_text(encoding="utf-8")
    short, long = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in long.splitlines() if line]) <= 25
    long = long.replace("range(300)", "range(8)").replace("128", "16").replace("0.01", "0.1")
    example = f"import torch\n{short}assert len(train) == 48 and train[0][0].ndim == 3\n{long}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], cwd=tmp_path / "set", text=True,
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy, count = re.fullmatch(r"(.*) % of (\d+) test images\n", done.stdout).groups()
    assert float(accuracy) > 60 and int(count) == len(test)


def test_there_are_commands_in_the_docs():
    found = {words[2].removeprefix("launch.") for page in PAGES for words in commands(page)}
    assert {"condense", "pretrain", "evaluate", "sweep", "cross", "report", "export"} <= found


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
    for name in re.findall(r"`(notebooks/\w+\.ipynb)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists()
