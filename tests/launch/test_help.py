"""What --help shows, and what the shell completes."""

import re
import subprocess

import pytest

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


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_lists_the_flags(name, launch):
    done = launch(name, "--help")
    assert "--workdir" in done.stdout and ("--seed" in done.stdout or name in WITHOUT_SEED)
    assert f"python -m launch.{name}" in done.stdout
    if name in ("condense", "sweep"):
        assert re.search(r"--kernel=TEXT\s+m3d: gaussian", done.stdout)


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
