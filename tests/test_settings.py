"""Settings: by hand before what a preset or a set says, before defaults; and flags read once."""

import ast
import dataclasses
from pathlib import Path

import pytest

from dancejax.applications import own_folder, plan, resolve
from dancejax.applications.settings import (
    EvaluationSettings,
    ExpertSettings,
    NetworkSettings,
    Splits,
    fill,
    quiet,
)
from dancejax.errors import UserError
from dancejax.runs import Run

LAUNCH = Path(__file__).parents[1] / "launch"
PROGRAMS = sorted(p for p in LAUNCH.glob("*.py") if "common.run(" in p.read_text())
READERS = {
    "guard.py": ("parse", "_describe"),
    "jobs.py": ("command",),
    "usage.py": ("section", "decorate", "defining", "_own_flags"),
}
"""Functions that look at flags beside those that make settings: they repeat the command, or list
the flags for --help."""


def functions_with_flags(path):
    """The functions of a file in which FLAGS is named."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            found |= {node.name} if "FLAGS" in names else set()
    return found


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.py")), ids=lambda path: path.stem)
def test_flags_are_read_by_what_makes_settings_alone(path):
    text = path.read_text(encoding="utf-8")
    assert "set_default" not in text
    if path.name != "settings.py":
        allowed = {"read", "numbers", *READERS.get(path.name, ())}
        assert functions_with_flags(path) <= allowed


def lines_beside_flags(path):
    """Lines of a program without flags' definitions, imports and docstrings."""
    found, text = set(), path.read_text(encoding="utf-8")

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.If | ast.Try):
                found.update(range(child.lineno, child.body[0].lineno))
                walk(child)
            elif isinstance(child, ast.stmt) and not left_out(child):
                found.update(range(child.lineno, child.end_lineno + 1))

    def left_out(node):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return ast.unparse(node.value.func).rpartition(".")[2].lower().startswith("define")
        documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return documents or isinstance(node, ast.Import | ast.ImportFrom)

    walk(ast.parse(text))
    return sum(bool(text.splitlines()[number - 1].strip()) for number in found)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_are_settings_and_a_call(path):
    """All but the one that looks at the machine itself."""
    assert lines_beside_flags(path) <= (65 if path.stem == "doctor" else 42)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_are_thin_and_do_not_know_one_another(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name
        if isinstance(node, ast.ImportFrom) and node.level:
            others = {p.stem for p in PROGRAMS} & {name.name for name in node.names}
            assert not others and node.module not in {p.stem for p in PROGRAMS}


def test_by_hand_comes_before_all_else():
    evaluation = EvaluationSettings(epochs=5)
    filled = fill(evaluation, {"epochs": 9, "repeats": 2, "width": 4})
    assert (filled.epochs, filled.networks) == (5, 2)
    assert evaluation.networks == evaluation.default_repeats
    assert ExpertSettings().used == 5
    assert ExpertSettings(folder=Path("pool")).used is None


def test_a_networks_options_are_filled_if_it_is_the_same_network():
    recorded = {"name": "convnet", "num_classes": 3, "width": 8, "depth": 2}
    assert NetworkSettings(options={"width": 4}).over(recorded) == NetworkSettings(
        "convnet", {"width": 4, "depth": 2}
    )
    other = NetworkSettings("vgg11", {"width": 4})
    assert other.over(recorded) == other
    assert NetworkSettings().over({}) == NetworkSettings()


@pytest.mark.slow
def test_the_whole_job_is_one_call(train, test, tmp_path):
    small = {"width": 4, "experts": 1, "expert_epochs": 1, "steps": 2, "epochs": 1, "repeats": 2}
    settings = own_folder.settings_for(Splits(train, test), 1, **small)
    said = []
    outcome = own_folder.condense(settings, run=Run(tmp_path, progress=False), say=said.append)
    assert outcome.made.ipc == 1 and outcome.experts.count == 1
    assert outcome.made.settings["network"]["width"] == 4
    assert [found.evaluation.repeats for found in outcome.evaluations.values()] == [2, 2]
    assert "| random |" in outcome.summary and (tmp_path / "report" / "report.html").exists()
    assert said[0].startswith("preset auto: method=dancejax, steps=2")


def test_papers_data_are_condensed_as_published_and_own_data_by_what_does_best(train, test):
    """The method that nobody gave goes by the preset, and that by the data set's name."""
    own = Splits(train, test)
    papers = Splits(dataclasses.replace(train, name="cifar10"), test)
    cases = [(own, None, "dancejax"), (own, "paper", "dance"), (papers, None, "dance")]
    for source, preset, method in (*cases, (papers, "auto", "dancejax")):
        assert resolve.usual_method(source, preset) == method
        chosen = resolve.choose(resolve.Settings(source, 1, preset=preset), source.train, quiet)
        assert chosen.method == method
        assert chosen.settings.experts.trajectories == (method == "dancejax")
    given = resolve.choose(resolve.Settings(own, 1, method="dm"), train, quiet)
    assert (given.method, given.preset) == ("dm", "auto")


def test_a_plan_says_how_many_experts_are_used(train, test, tmp_path):
    settings = own_folder.settings_for(Splits(train, test), 1, width=4)
    job = own_folder.prepare(settings, run=Run(tmp_path / "new"), estimate=False)
    assert job.used == job.settings.experts.number == plan.choose(train, 1, 2).experts


def test_wrong_plans_are_said(train, test, tmp_path):
    with pytest.raises(UserError, match="no 'breadth'"):
        own_folder.settings_for(Splits(train, test), 1, breadth=3)
    settings = own_folder.settings_for(Splits(train, test), 1)
    with pytest.raises(UserError, match="folder"):
        own_folder.condense(settings, run=Run())
