"""`python -m dancejax`: the programs, as `dancejax` and, in a checkout, `python -m launch`."""

import importlib.util
import runpy
from pathlib import Path


def launchers() -> str:
    """The package that holds the programs: `launch` beside this one in a checkout, or inside it."""
    found = importlib.util.find_spec("launch")
    beside = Path(__file__).resolve().parents[1] / "launch" / "__init__.py"
    own = found is not None and found.origin is not None and Path(found.origin).resolve() == beside
    return "launch" if own else "dancejax.launch"


if __name__ == "__main__":
    runpy.run_module(launchers(), run_name="__main__", alter_sys=True)
