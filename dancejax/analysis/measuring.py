"""Analyses by name: their settings, carrying them out, and what is said of them."""

import dataclasses
import os
from typing import Any

from dancejax import checks, registries, runs
from dancejax.analysis.base import Analysis, Material, Result
from dancejax.errors import UserError
from dancejax.registries import Registry
from dancejax.runs import Run
from dancejax.types import Json, Record

ANALYSES: Registry[Analysis] = registries.ANALYSES


def config(name: str, settings: Record) -> object:
    """Return the settings of an analysis.

    Args:
      name: one of ANALYSES.
      settings: those that differ from its defaults.

    Raises:
      UserError: an unknown analysis or setting, or a value that makes no sense.
    """
    if name not in ANALYSES:
        raise UserError(f"unknown analysis {name!r}; choose one of {', '.join(ANALYSES)}.")
    kind = ANALYSES[name].config
    known = [field.name for field in dataclasses.fields(kind)]
    for option in settings:
        if option not in known:
            raise UserError(
                f"{name} has no setting {option!r}; it has {', '.join(known) or 'none'}."
            )
    return kind(**settings)


def measure(
    name: str,
    material: Material,
    *,
    run: Run | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Result:
    """Carry out an analysis by name.

    Args:
      name: one of ANALYSES.
      material: what it looks at.
      run: with a folder, one that trains networks goes on after an interruption.
      **settings: of the analysis.

    Returns:
      What was found: rows, a sentence and a figure.

    Raises:
      UserError: an unknown analysis or setting, or material that does not do.
    """
    checks.instance("material", material, Material, hint="analysis.Material(sets, train, ...)")
    made = config(name, settings)
    return ANALYSES[name].measure(material, made, runs.of(run))


def to_json(name: str, material: Material, found: Result, plot: str) -> Json:
    """Return what analysis.json says of a result.

    Args:
      name: of the analysis.
      material: what it looked at.
      found: what it found.
      plot: name of the file with the plot.
    """
    return {
        "analysis": name,
        "title": ANALYSES[name].title,
        "summary": found.summary(),
        "plot": plot,
        "sets": list(material.sets),
        "rows": found.rows(),
    }
