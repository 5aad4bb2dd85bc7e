"""What a condensation is: as its artifact says it, and as its checkpoints check it."""

from pathlib import Path
from typing import Any

from dancejax import condensed, methods, networks
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import Dataset
from dancejax.methods import Method
from dancejax.methods.base import ExpertPool
from dancejax.runs import checkpoint, integrity
from dancejax.training.experts import Experts
from dancejax.types import Json

EARLIER = {
    "network": integrity.UNKNOWN,
    "settings.network": integrity.UNKNOWN,
    "settings.experts": integrity.UNKNOWN,
    "settings.experts.count": integrity.UNKNOWN,
    "pool": integrity.UNKNOWN,
    "settings.learning_rate": integrity.UNKNOWN,
    "settings.update_order": "joint",
    "settings.without_pltda": "expert",
    "settings.accuracy_window": 0,
}
"""What records of runs by earlier versions mean by the entries that they lack."""


NOT_THE_RUN = ("settings.class_chunk", "log_every", "window")
"""Entries of a record that change nothing in the result."""


def settings_of(method: Method, experts: Experts | ExpertPool | None) -> Json:
    """What a condensed set says beside its method's own settings: the network and the experts."""
    settings: dict[str, Any] = {}
    if method.network is not None:
        settings["network"] = networks.identity(method.network)
    if isinstance(experts, Experts) and method.needs_experts:
        settings["experts"] = experts.settings()
    return settings


def describe(
    method: Method,
    dataset: Dataset,
    ipc: int,
    init: str | CondensedSet,
    seed: int,
    settings: Json,
) -> Json:
    """What a run is, as its artifact says it and its checkpoints check it."""
    start: Any = init
    if isinstance(init, CondensedSet):
        start = {"method": init.method, "fingerprint": condensed.fingerprint(init)}
    own = method.settings(ipc, dataset.image_shape)
    return {
        "method": method.name,
        "source": dataset_source(dataset),
        "settings": {**own, **settings, "ipc": ipc, "init": start, "seed": seed},
    }


def check_resume(
    workdir: Path,
    method: Method,
    dataset: Dataset,
    *,
    ipc: int,
    init: str | CondensedSet,
    seed: int,
) -> None:
    """Compare a run with the one whose checkpoints a work folder holds, before anything is made.

    Its experts, network and what else is told in the settings are compared when it goes on.

    Raises:
      UserError: it is another run.
    """
    found = checkpoint.latest_metadata(workdir / "checkpoints")
    if found is None:
        return
    if not dataset.flip:
        method = methods.without_flips(method)
    wanted = describe(method, dataset, ipc, init, seed, {})
    settings = found.get("settings") or {}
    known = {name: settings[name] for name in wanted["settings"] if name in settings}
    parts = {"method": found.get("method"), "source": found.get("source"), "settings": known}
    integrity.check_same(parts, wanted, workdir, missing=EARLIER, ignored=NOT_THE_RUN)
