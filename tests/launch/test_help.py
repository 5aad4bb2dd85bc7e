"""What --help shows, and what the shell completes."""

import re
import resource
import subprocess
import sys

import pytest

from dancejax import choices, initialisation
from dancejax.report import gallery
from dancejax.training import protocols

from .conftest import ROOT

PROGRAMS = (
    "demo",
    "pretrain",
    "condense",
    "select",
    "label",
    "evaluate",
    "sweep",
    "cross",
    "continual",
    "nas",
    "analyse",
    "report",
    "export",
    "convert",
    "picture",
)
WITHOUT_SEED = ("label", "report", "export", "convert", "picture")


HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "matplotlib", "sklearn", "PIL", "tensorflow"}
SECONDS = 1.0
"""Of the processor, many times what it takes; JAX alone takes longer on most machines."""


def light(*arguments, status=0):
    """Runs a program by an interpreter of its own, which must import nothing heavy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, done.stderr
    lines = done.stderr.splitlines()
    timed = [line for line in lines if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in timed}
    assert "absl" in imported and imported & HEAVY == set()
    assert after.ru_utime - before.ru_utime < SECONDS
    return done.stdout, "\n".join(line for line in lines if line not in timed)


@pytest.mark.parametrize("name", (*PROGRAMS, "doctor"))
def test_help_lists_the_flags_without_jax(name):
    text, _ = light(f"launch.{name}", "--help")
    if name != "doctor":
        assert "--workdir" in text and ("--seed" in text or name in WITHOUT_SEED)
    assert f"python -m launch.{name}" in text
    if name in ("condense", "sweep"):
        assert re.search(r"--kernel=TEXT\s+m3d: gaussian", text)


def test_a_wrong_flag_needs_no_jax():
    _, said = light("launch", "condense", "--ipcc=10", status=2)
    assert "Unknown command line flag 'ipcc'" in said and "Traceback" not in said
    _, said = light("launch.pretrain", "--dataset=cifar10", "--seed=x", "--workdir=a", status=2)
    assert "--seed" in said and "Traceback" not in said


def test_choices_are_what_the_library_has():
    """Flags name them before the modules that carry them out are there."""
    assert set(choices.HARD) == set(protocols._FIELDS)
    assert set(choices.INITS) == {*initialisation._REAL, "noise"}
    assert set(choices.EMBEDDINGS) == set(gallery._AXES)


def test_help_of_one_method(launch):
    """Its settings alone, with its defaults; an unknown method hides none."""
    text = " ".join(launch("condense", "--method=m3d", "--help").stdout.split())
    assert "--kernel=TEXT gaussian (five bands" in text and "--calibration" not in text
    assert "decodes into, l in IDM and DANCE (default: the preset's, else 2)" in text
    every = launch("condense", "-h", "--method=m4d").stdout
    assert "--[no]calibration" in every and "--kernel" in every
    titles = ["This program", "Data", "Network", "Run", "Experts", "Method", "Evaluation"]
    places = [every.index(f"\n{title}\n--") for title in titles]
    assert places == sorted(places)


@pytest.mark.slow
def test_completion(launch):
    """By the shell itself: of programs, of flags and of files."""
    script = launch("", "completion").stdout
    ask = """
    complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dancejax; echo ${COMPREPLY[@]}; }
    complete_words dancejax con
    complete_words dancejax select --met
    complete_words dancejax condense --nocal
    """
    done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["condense continual convert", "--method=",
                                        "--nocalibration"]  # fmt: skip


def test_one_name_for_all_programs(launch):
    assert all(name in launch("", "--help").stdout for name in PROGRAMS)
    assert "Did you mean 'condense'?" in launch("", "condens", status=2).stderr
    assert "there is no program 'distil'" in launch("", "distil", status=2).stderr
    assert "python -m launch.select" in launch("", "select", "--help").stdout
