"""Settings that fill a time: a plan's experts, iterations and evaluation, stretched or cut."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dancejax import runs
from dancejax.applications.plan import Estimate, Plan
from dancejax.runs import integrity
from dancejax.types import Json

FILE = "plan.json"
"""In the job's folder: the plan that holds, since times differ from call to call."""
PLANNED = 0.9
"""Share of the time that is planned for; the rest is for what an estimate misses."""
LEAST = {"expert_epochs": 1, "steps": 50, "epochs": 20}
"""Amounts below which nothing is worth while."""


class Fitted(NamedTuple):
    """A plan for a time, and what it will take."""

    plan: Plan
    estimate: Estimate


def fit(
    chosen: Plan, found: Estimate, seconds: float, *, most: Mapping[str, int], given: set[str]
) -> Fitted:
    """Stretch or cut a plan such that it takes a time.

    Epochs of the experts, iterations and epochs of the evaluation change in one ratio. What reaches
    its most leaves its time to the others.

    Args:
      chosen: the plan that was timed.
      found: what it takes.
      seconds: the time for everything, compiling included.
      most: of each amount, the papers'.
      given: amounts that stay as they are.

    Returns:
      The plan, which takes more than the time only where the least amounts do.
    """
    costs = {
        "expert_epochs": found.experts,
        "steps": found.condensation,
        "epochs": 2 * found.evaluation,  # random images, too
    }
    now = {name: getattr(chosen, name) for name in costs}
    left = PLANNED * seconds - found.setup - sum(costs[name] for name in given & costs.keys())
    free = {name for name in costs if name not in given and costs[name] > 0}
    values = {}
    while free:
        ratio = max(left, 0.0) / sum(costs[name] for name in free)
        full = {name for name in free if now[name] * ratio >= most[name]}
        for name in full or free:
            value = most[name] if full else int(now[name] * ratio)
            values[name] = max(min(LEAST[name], most[name]), value)
            left -= costs[name] * values[name] / now[name]
        free -= full or free
    taken = {name: cost * values.get(name, now[name]) / now[name] for name, cost in costs.items()}
    estimate = dataclasses.replace(
        found,
        experts=taken["expert_epochs"],
        condensation=taken["steps"],
        evaluation=taken["epochs"] / 2,
    )
    return Fitted(dataclasses.replace(chosen, **values), estimate)


def read(folder: Path, about: Json) -> Plan | None:
    """Return the plan that a job's folder holds; None if it has none for this job.

    Args:
      folder: of the job.
      about: what the plan was made for: data, method, time.

    Raises:
      UserError: the file is damaged.
    """
    if not (folder / FILE).exists():
        return None
    found = integrity.read_manifest(folder / FILE)
    return Plan(**found["plan"]) if found["for"] == integrity.plain(about) else None


def write(folder: Path, about: Json, plan: Plan) -> None:
    """Keep a plan in a job's folder."""
    runs.write_json(folder / FILE, integrity.seal({"for": about, "plan": dataclasses.asdict(plan)}))
