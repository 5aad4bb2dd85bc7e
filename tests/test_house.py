"""The rules of the house, counted: sizes, types, docstrings, and what importing the library costs.

A rule that a place has good reason to break is answered in `EXCEPTIONS`, with the reason.
"""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("dancejax/**/*.py"), *ROOT.glob("launch/**/*.py")])

LINES_OF_FUNCTION = 60
LINES_OF_FILE = 400
PARAMETERS = 6
"""Beside `run`, `self` and `cls`."""
ANY = 20
"""`Any` in the signatures of public functions, altogether."""
SKIPS = 10
"""`# fmt: skip`, altogether."""
ARGS = 0.90
"""Of the public functions that take arrays, the share with an Args section."""
SHAPES = 0.80
"""Of the public functions that take arrays, the share whose docstring states a shape."""

IMPORT = 0.3
"""Seconds of `import dancejax` where jax is imported already, the best of three."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "function": {},
    "file": {},
    "parameters": {
        "dancejax/condensation.py::condense": "the seven things that a condensation is",
        "dancejax/evaluation.py::evaluate": "the seven things that an evaluation is, and settings",
        "dancejax/training/experts.py::train_experts": "the seven things that experts are",
        "dancejax/training/protocols.py::protocol": "all that protocols of the papers depend on",
    },
    "return": {},
}
"""Rule -> place -> why it may."""

AXIS = r"(?:[\w*+/ ]{1,14}|\.\.\.)"
SHAPE = re.compile(rf"\[(?=[^\]]*[A-Za-z.]){AXIS}(?:, ?{AXIS})*,?\]")
"""`[n, height, width, c]`, `[n]` or `[..., 3]`; `[0, 1]` is a range."""


@dataclass(frozen=True)
class Function:
    place: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    public: bool

    @property
    def lines(self) -> int:
        """Without the docstring, which is to be long where there is much to say."""
        first = self.node.body[0]
        documented = ast.get_docstring(self.node) is not None
        said = first.end_lineno - first.lineno + 1 if documented else 0
        return self.node.end_lineno - self.node.lineno + 1 - said

    @property
    def parameters(self) -> list[ast.arg]:
        found = self.node.args
        named = [*found.posonlyargs, *found.args, *found.kwonlyargs]
        named += [arg for arg in (found.vararg, found.kwarg) if arg]
        return [arg for arg in named if arg.arg not in ("self", "cls", "run")]

    @property
    def annotations(self) -> list[ast.expr]:
        found = [arg.annotation for arg in self.parameters] + [self.node.returns]
        return [annotation for annotation in found if annotation is not None]

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def takes_arrays(self) -> bool:
        """Random keys do not count: their shape says nothing."""
        return any(
            is_array(arg.annotation) for arg in self.parameters if arg.arg not in ("key", "keys")
        )


def is_array(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.BinOp):  # Array | None
        return is_array(annotation.left) or is_array(annotation.right)
    if annotation is None:
        return False
    return ast.unparse(annotation).rpartition(".")[2] in ("Array", "ndarray")


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file; those within functions and of private classes are not public."""

    def walk(node: ast.AST, within: str, public: bool) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                place = f"{within}{child.name}"
                shown = public and not child.name.startswith("_")
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{place}.", shown)
                else:
                    yield Function(place, child, shown)
                    yield from walk(child, f"{place}.", False)
            else:
                yield from walk(child, within, public)

    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from walk(tree, f"{path.relative_to(ROOT)}::", True)


@functools.cache
def every() -> list[Function]:
    return [function for path in FILES for function in functions(path)]


@functools.cache
def public() -> list[Function]:
    return [function for function in every() if function.public]


@functools.cache
def of_arrays() -> list[Function]:
    return [function for function in public() if function.takes_arrays]


def offenders(rule: str) -> set[str]:
    if rule == "function":
        return {f.place for f in every() if f.lines > LINES_OF_FUNCTION}
    if rule == "parameters":
        return {f.place for f in every() if len(f.parameters) > PARAMETERS}
    if rule == "return":
        return {f.place for f in public() if f.node.returns is None}
    return {
        str(path.relative_to(ROOT))
        for path in FILES
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES_OF_FILE
    }


@pytest.mark.parametrize("rule", list(EXCEPTIONS))
def test_no_new_place_breaks_a_rule(rule):
    found = offenders(rule)
    assert found - set(EXCEPTIONS[rule]) == set()
    assert set(EXCEPTIONS[rule]) - found == set(), "an exception that is none any more"


def count_any() -> int:
    return sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for function in public()
        for annotation in function.annotations
        for node in ast.walk(annotation)
    )


def count_skips() -> int:
    return sum(path.read_text(encoding="utf-8").count("# fmt: skip") for path in FILES)


def share(holds) -> float:
    return sum(map(holds, of_arrays())) / len(of_arrays())


def args_share() -> float:
    return share(lambda function: re.search(r"^Args:$", function.doc, re.MULTILINE) is not None)


def shapes_share() -> float:
    return share(lambda function: SHAPE.search(function.doc) is not None)


def test_few_any():
    assert count_any() <= ANY


def test_few_lines_are_kept_from_the_formatter():
    assert count_skips() <= SKIPS


def test_docstrings_have_args():
    assert args_share() >= ARGS


def test_docstrings_state_shapes():
    assert shapes_share() >= SHAPES


def import_seconds() -> float:
    """Of the processor, so that a busy machine is no reason to fail."""
    code = (
        "import time, jax\nbegan = time.process_time()\n"
        "import dancejax\nprint(time.process_time() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout)


def test_importing_the_library_costs_little_more_than_jax():
    assert any(import_seconds() <= IMPORT for _ in range(3))
