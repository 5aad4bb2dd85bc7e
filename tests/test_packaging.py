"""What is installed: the packages, the wheel made from them, and the pinned requirements."""

import ast
import configparser
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("py311.txt", "py312.txt")


def setup_cfg(section: str, key: str) -> list[str]:
    """The lines of one list in setup.cfg, without comments."""
    config = configparser.ConfigParser(inline_comment_prefixes="#")
    config.read(ROOT / "setup.cfg")
    return config[section][key].split("\n")[1:]


def locked(name: str) -> dict[str, str]:
    """The version of every project pinned in a lock file; each must come with a hash."""
    pins: dict[str, str] = {}
    for entry in (ROOT / "requirements" / name).read_text().replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.lstrip().startswith("#"):
            requirement, *hashes = entry.split("--hash=sha256:")
            assert hashes, f"{entry} has no hash"
            project, version = requirement.split(";")[0].split("==")
            pins[canonicalize_name(project)] = version.strip()
    return pins


def test_packages_in_setup_cfg_are_those_on_disk() -> None:
    on_disk = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("dancejax/**/*.py")
    } | {
        ".".join(("dancejax", *path.parent.relative_to(ROOT).parts))
        for path in ROOT.glob("launch/**/*.py")
    }
    assert setup_cfg("options", "packages") == sorted(on_disk)
    for package in on_disk:
        folder = package.replace("dancejax.launch", "launch").replace(".", "/")
        assert (ROOT / folder / "__init__.py").is_file(), f"{folder} has no __init__.py"


def test_installed_modules_never_import_the_top_level_launch() -> None:
    """`launch` exists only in a checkout: launchers reach each other by relative imports."""
    for path in [*ROOT.glob("dancejax/**/*.py"), *ROOT.glob("launch/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            wrong = [name for name in names if name.split(".")[0] == "launch"]
            assert not wrong, f"{path.relative_to(ROOT)}:{node.lineno} imports {wrong}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_file_pins_what_setup_cfg_asks_for(name: str) -> None:
    pins = locked(name)
    wanted = setup_cfg("options", "install_requires") + setup_cfg("options.extras_require", "test")
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{name} lacks {requirement}: make lock"
        assert requirement.specifier.contains(version), f"{name} has {version}, not {requirement}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_file_names_no_place(name: str) -> None:
    """Neither a registry nor a folder of the machine that made it: any index must do."""
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        assert "/" not in line, line
        assert line.strip().startswith("--hash=") or not line.startswith("-"), line


def test_build_requirement_is_the_locked_one() -> None:
    """The build uses the installed setuptools, so what it asks for has to be in the lock files."""
    (build,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert build in setup_cfg("options.extras_require", "test")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no build folder appears in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    for name in ("dancejax", "launch", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", target, "."]
    done = subprocess.run([*pip, *build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = target.glob("dancejax-*.whl")
    return path


def test_wheel_holds_the_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {"dancejax", info}
    expected = {
        path.relative_to(ROOT).as_posix()
        for pattern in (
            "**/*.py",
            "data/*.npz",
            "data/FASHION_MNIST_LICENSE",
            "report/papers/*.csv",
            "analysis/*.csv",
            "py.typed",
            "**/*.pyi",
            "report/*.html",
        )
        for path in (ROOT / "dancejax").glob(pattern)
    } | {f"dancejax/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("launch/**/*.py")}
    assert {name for name in names if name.startswith("dancejax/")} == expected
    assert f"{info}/licenses/LICENSE" in names


def test_installed_command_exists(wheel: Path, tmp_path: Path) -> None:
    """The console script finds its function without the checkout on the path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (script,) = setup_cfg("options.entry_points", "console_scripts")
    module, function = script.split("=")[1].strip().split(":")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {module} as module\n"
    code += f"assert module.__file__.startswith({str(tmp_path)!r}), module.__file__\n"
    code += f"assert callable(module.{function})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_installed_programs_name_one_another_as_they_are(wheel: Path, tmp_path: Path) -> None:
    """`dancejax NAME`, in errors and in --help: there is no `python -m launch` then."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy\n"
    code += "runpy.run_module('dancejax', run_name='__main__', alter_sys=True)\n"
    for words, status in (
        (["report", f"--runs={tmp_path}", f"--workdir={tmp_path / 'report'}"], 2),
        (["condense", "--help"], 0),
    ):
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        assert "dancejax evaluate" in output and "launch." not in output
