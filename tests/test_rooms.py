"""The rooms of the library: what a file may import, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEAVES = (
    "augment", "checks", "choices", "errors", "interpolate", "keys", "mmd", "multiformation",
    "names", "registries", "stopping", "text", "types",
)  # fmt: skip
LEVELS = (
    LEAVES,
    ("runs",),
    ("figures",),
    ("data",),
    ("networks",),
    ("methods",),
    ("training",),
    ("condensed",),
    ("condensation", "coreset", "evaluation", "exchange", "initialisation", "labelling", "records"),
    ("analysis", "report"),
    ("applications",),
    ("launch",),
)
"""From the bottom up: a room imports from those below it, and among its own modules."""
LEVEL = {room: number for number, level in enumerate(LEVELS) for room in level}
FILES = sorted([*ROOT.glob("dancejax/**/*.py"), *ROOT.glob("launch/**/*.py")])


def modules(path: Path) -> list[str]:
    """What a file imports, functions included, as dotted names."""
    found = []
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{start}.{name.name}" for name in node.names]
    return found


def room(module: str) -> str | None:
    """The room of a module of ours; None for others and for the package itself."""
    first, *rest = module.split(".")
    if first == "launch":
        return first
    return rest[0] if first == "dancejax" and rest and rest[0] in LEVEL else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is None:  # the face, which hands on names of every room
        assert path.parent == ROOT / "dancejax" and path.stem in ("__init__", "__main__")
        return
    for module in modules(path):
        other = room(module)
        if other is None or other == own:
            continue
        assert LEVEL[other] <= LEVEL[own], f"{module} stands above {own}"
        if LEVEL[other] == LEVEL[own]:
            assert own not in {room(name) for name in imports_of(other)}, f"{own} <-> {other}"


def imports_of(own: str) -> set[str]:
    return {
        module
        for path in FILES
        if room(".".join(path.relative_to(ROOT).with_suffix("").parts)) == own
        for module in modules(path)
    }


def test_every_module_has_a_room():
    for path in ROOT.glob("dancejax/*"):
        if path.stem not in ("__init__", "__main__", "__pycache__", "py"):
            assert path.stem in LEVEL, path


def loaded_by(statement: str) -> set[str]:
    """Which of the modules that a light import does without are loaded by it."""
    heavy = ["orbax", "PIL", "tqdm", "absl", "matplotlib", "tensorflow_datasets", "sklearn"]
    heavy += ["scipy.stats"]
    code = f"import sys\n{statement}\nprint(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_jobs_load_what_draws_and_counts_when_they_do():
    jobs = "own_folder, assess, pool, grid, cross, continual, nas, exporting"
    loaded = loaded_by(f"from dancejax.applications import {jobs}")
    assert not {"matplotlib", "sklearn", "scipy.stats"} & loaded


def test_methods_are_light():
    brought = loaded_by("import jax, flax, flax.linen, optax")
    assert loaded_by("import dancejax.methods") <= brought
