"""Settings that fill a time: a plan's experts, iterations and evaluation, stretched or cut."""

import bisect
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
PACE = {"expert_epochs": 1.0, "steps": 1.0, "epochs": 0.5}
"""To which power of a common ratio each amount changes: the evaluation's epochs less, since a
network that is hardly trained says little of what it is trained on."""
_RATIOS = range(-20_000, 20_001)
"""Ratios that are tried, as thousandths of a doubling."""


class Fitted(NamedTuple):
    """A plan for a time, and what it will take."""

    plan: Plan
    estimate: Estimate


def fit(
    chosen: Plan, found: Estimate, seconds: float, *, most: Mapping[str, int], given: set[str]
) -> Fitted:
    """Stretch or cut a plan such that it takes a time.

    Epochs of the experts, iterations and epochs of the evaluation change with a common ratio, each
    at its PACE. What reaches its most or least leaves the rest to the others.

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
    free = {name for name in costs if name not in given and costs[name] > 0}

    def amounts(doublings: int) -> dict[str, int]:
        ratio = 2 ** (doublings / 1000)
        values = {name: min(int(now[name] * ratio ** PACE[name]), most[name]) for name in free}
        return {name: max(min(LEAST[name], most[name]), value) for name, value in values.items()}

    def taking(values: Mapping[str, int]) -> dict[str, float]:
        return {name: costs[name] * values.get(name, now[name]) / now[name] for name in costs}

    def total(doublings: int) -> float:
        return sum(taking(amounts(doublings)).values())

    fitting = bisect.bisect_right(_RATIOS, PLANNED * seconds - found.setup, key=total)
    values = amounts(_RATIOS[max(0, fitting - 1)])
    taken = taking(values)
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
