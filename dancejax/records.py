"""What a condensation is: whether its parts fit together, as its artifact says it, and as its
checkpoints check it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax

from dancejax import checks, condensed, methods, networks
from dancejax.condensed import CondensedSet, dataset_source
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.methods import Method
from dancejax.methods.base import ExpertPool
from dancejax.methods.trajectories import NO_TRAJECTORIES
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
    "settings.moments": 1,
}
"""What records of runs by earlier versions mean by the entries that they lack."""


Given = Experts | ExpertPool | Sequence[Experts | ExpertPool] | None
"""Experts as a caller gives them: for several networks in turns those of each."""
NOT_THE_RUN = ("settings.class_chunk", "log_every", "window")
"""Entries of a record that change nothing in the result."""


def each_experts(method: Method, experts: Given) -> list[Experts | ExpertPool]:
    """The experts of each of a method's networks; empty where none are given.

    Raises:
      UserError: they are not as many.
    """
    if experts is None:
        return []
    one = isinstance(experts, Experts | ExpertPool)
    found = list(experts) if isinstance(experts, list | tuple) and not one else [cast(Any, experts)]
    if method.needs_experts and len(found) != len(method.each):
        raise UserError(
            f"{len(found)} pools of experts are given for {len(method.each)} networks; give a list "
            "of one for each, in the order of the networks."
        )
    return found


def pool_of(method: Method, experts: Given) -> ExpertPool | list[ExpertPool] | None:
    """The experts' parameters as a context has them: for networks in turns a list."""
    given = each_experts(method, experts)
    found = [own.pool if isinstance(own, Experts) else own for own in given]
    return found if method.turns and found else next(iter(found), None)


def settings_of(method: Method, experts: Given) -> Json:
    """What a condensed set says beside its method's own settings: the network and the experts.

    For networks in turns "network" is the first one, by which a set is evaluated, and "networks"
    are all; "experts" is then a list.
    """
    settings: dict[str, Any] = {}
    if method.network is not None:
        settings["network"] = networks.identity(method.network)
    settings |= networks_of(method)
    given = each_experts(method, experts)
    if given and all(isinstance(own, Experts) for own in given) and method.needs_experts:
        about = [own.settings() for own in given if isinstance(own, Experts)]
        settings["experts"] = about if method.turns else about[0]
    return settings


def networks_of(method: Method) -> Json:
    """What a record says of a method's networks in turns; nothing of a single one."""
    found = [networks.identity(own.network) for own in method.turns if own.network is not None]
    return {"networks": found} if found else {}


def trajectories_of(
    method: Method, experts: Given
) -> networks.Variables | list[networks.Variables] | None:
    """The trajectories that a method needs of its experts, leaves [N, T, ...]; else None.

    For networks in turns it is a list.

    Raises:
      UserError: it needs them, and the experts come without.
    """
    given = each_experts(method, experts)
    if method.visits is None or not given:
        return None
    found = []
    for own in given:
        if not isinstance(own, Experts) or own.trajectories is None:
            raise UserError(NO_TRAJECTORIES)
        found.append(own.trajectories)
    return found if method.turns else found[0]


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
      UserError: it is another run, or its condensed set is not this run's.
    """
    if not dataset.flip:
        method = methods.without_flips(method)
    wanted = describe(method, dataset, ipc, init, seed, {})
    found = checkpoint.latest_metadata(workdir / "checkpoints")
    if found is not None:
        _check_same(found, wanted, workdir)
    check_set(workdir / "condensed", wanted)


def check_set(folder: Path, wanted: Json) -> None:
    """Compare a set that is to be saved with the one that a folder holds, before it is made.

    A set that is missing or damaged is no obstacle.

    Args:
      folder: of the set.
      wanted: as `describe` makes it; settings that only one of the two has are not compared.

    Raises:
      UserError: it is another set, or something else is there.
    """
    condensed.check_place(folder)
    if not (folder / "manifest.json").exists():
        return
    try:
        found = condensed.load(folder)
    except integrity.DamagedError:
        return
    source = {name: found.source[name] for name in wanted["source"] if name in found.source}
    record = {"method": found.method, "source": source, "settings": found.settings}
    both = {name: value for name, value in wanted["settings"].items() if name in found.settings}
    _check_same(record, {**wanted, "settings": both}, folder)


def kept_set(folder: Path, iteration: int) -> Path:
    """Return where a run in a folder keeps its set of an iteration."""
    return folder / "kept" / f"step_{iteration:06d}"


def check_kept(folder: Path, steps: int, every: int) -> None:
    """Raise UserError if a finished run is asked for sets that it has not kept.

    Args:
      folder: of the run.
      steps: iterations that it has done.
      every: iterations between sets that are to be kept (0: none).
    """
    last = steps - steps % every if every else 0
    if last and not kept_set(folder, last).exists():
        raise UserError(
            f"{folder} is finished and kept no set after {last} iterations; choose another "
            "--workdir to keep sets on the way."
        )


def _check_same(found: Json, wanted: Json, folder: Path) -> None:
    """Compare the settings that are wanted, and all else."""
    settings = found.get("settings") or {}
    known = {name: settings[name] for name in wanted["settings"] if name in settings}
    parts = {"method": found.get("method"), "source": found.get("source"), "settings": known}
    integrity.check_same(parts, wanted, folder, missing=EARLIER, ignored=NOT_THE_RUN)


def check_parts(method: Method, dataset: Dataset, experts: Given) -> None:
    """Raise UserError for parts that do not fit together."""
    checks.instance("method", method, Method, hint="methods.create makes one")
    checks.instance("the data set", dataset, Dataset, hint=Dataset.HINT)
    pool = pool_of(method, experts)
    for number, own in enumerate(method.each):
        _check_network(own, dataset, pool[number] if isinstance(pool, list) else pool)
    if method.needs_experts and pool is None:
        raise UserError(
            f"{method.name} needs a pool of experts: give what train_experts or load_pool returns."
        )


def _check_network(method: Method, dataset: Dataset, pool: ExpertPool | None) -> None:
    """Raise UserError for a network that does not fit the data, or experts of another network."""
    if pool is not None:
        checks.instance(
            "pool", pool, ExpertPool, hint="train_experts makes it, and load_pool reads it"
        )
    if method.network is None:
        return
    networks.check(method.network, dataset.num_classes, dataset.image_shape)
    if pool is None or not method.needs_experts:
        return
    key = jax.random.key(0)
    network = method.network
    wanted = jax.eval_shape(lambda key: networks.init(network, key, dataset.image_shape), key)
    found = jax.tree.map(lambda x: x.shape[1:], pool.final)
    if found != jax.tree.map(lambda x: x.shape, wanted):
        raise UserError(
            "the experts have another network than the method; make the method with the network of "
            "the experts."
        )
