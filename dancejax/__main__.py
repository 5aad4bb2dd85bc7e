"""`python -m dancejax`: the programs, as `dancejax` and, in a checkout, `python -m launch`."""

import importlib.util
import runpy

INSTALLED = "dancejax.launch"
"""In a checkout the launchers are a package of their own instead."""

if __name__ == "__main__":
    package = INSTALLED if importlib.util.find_spec(INSTALLED) else "launch"
    runpy.run_module(package, run_name="__main__", alter_sys=True)
