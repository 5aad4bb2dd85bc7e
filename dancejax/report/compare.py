"""An entry beside its paper: the published number, and every setting that differs."""

import dataclasses
from typing import Any

from dancejax import methods, networks, records, training
from dancejax.data import known
from dancejax.methods import DatasetFacts, Paper
from dancejax.report import papers
from dancejax.report.entry import Entry
from dancejax.report.papers import Accuracy
from dancejax.runs import integrity
from dancejax.training import TrainConfig, experts, protocols
from dancejax.types import Json

Shape = tuple[int, int, int]
TRAINING_IMAGES = {
    "mnist": 60_000,
    "fashion_mnist": 60_000,
    "svhn": 73_257,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "tiny_imagenet": 100_000,
}
"""Of the data sets in the papers."""
_ALIASES = {"svhn_cropped": "svhn", "tinyimagenet": "tiny_imagenet", "kcenter": "k_center",
            "whole": "whole_dataset"}  # fmt: skip
_OWN_CHOICES = ("seed", "ipc", "num_classes")
"""Settings that are no part of a paper's protocol, or that the table shows anyway."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A setting, as it was here and as the paper (or what `whose` says) has it."""

    name: str
    here: Any
    paper: Any
    whose: str = "paper"

    def __str__(self) -> str:
        return f"{self.name} {_short(self.here)} ({self.whose}: {_short(self.paper)})"


def label(entry: Entry) -> str:
    """Name an entry for people: its method, with what is ablated or varied in it."""
    method = methods.title(entry.method)
    if entry.protocol == experts.PROTOCOL:
        return f"{method} (the experts)"
    parts = [_variation(d.name, d.here) for d in differences(entry) if d.name in _VARIED]
    if entry.form is not None:
        parts.append(f"{entry.form} export")
    return ", ".join([method, *parts])


def _variation(name: str, here: Any) -> str:
    """A setting that differs, as people say it."""
    if name == "number of experts":
        return f"{here} expert" + ("" if here == 1 else "s")
    spoken = _SPOKEN.get(name, name.replace("_", " "))
    if isinstance(here, bool):
        return spoken if here else f"no {spoken}"
    return f"{spoken} {_short(here)}"


_SPOKEN = {"pltda": "PLTDA"}


_VARIED = (
    "factor", "pltda", "calibration", "calibration_every", "kernel", "degree", "number of experts",
    "iterations_per_model", "regularisation",
)  # fmt: skip


def network_name(network: Json) -> str:
    """A network with the options that differ from its published form."""
    name, usual = network["name"], _default(network, None)
    options = [f"{k} {v}" for k, v in network.items() if k not in usual or usual[k] != v]
    depth = f"-{network['depth']}" if "depth" in network else ""
    return f"{name}{depth}" + (f" ({', '.join(options)})" if options else "")


def published(entry: Entry) -> Accuracy | None:
    """The paper's number for an entry: same method or ablation, data set, IPC and network."""
    method = _row(entry)
    if method is None:
        return None
    network = entry.network["name"]
    names = {network, f"{network}{entry.network.get('depth', '')}"}
    if entry.network.get("norm") == "batch":
        names = {f"{network}_bn"}
    dataset = _ALIASES.get(entry.dataset, entry.dataset)
    return papers.published(method, dataset, entry.ipc, names)


def _row(entry: Entry) -> str | None:
    """The name in the papers' tables of an entry's method, or of its ablation."""
    if not papers.ablated(entry.method):
        return _ALIASES.get(entry.method, entry.method)
    changed = [d for d in differences(entry) if d.name in _VARIED]
    if not changed:
        return entry.method
    if len(changed) > 1:
        return None
    name, here = changed[0].name, changed[0].here
    if name == "number of experts":
        return f"{entry.method}_experts_{here}"
    off = here is False or (name, here) == ("factor", 1)
    return f"{entry.method}_no_{name}" if off else None


def differences(entry: Entry) -> list[Difference]:
    """Settings of records, experts, networks and training that are not the paper's."""
    found = _training(entry) + _network(entry.network, "evaluated on", _shape(entry))
    size = TRAINING_IMAGES.get(_ALIASES.get(entry.dataset, entry.dataset))
    if size is not None and entry.images is not None and entry.images != size:
        found.append(Difference("training images", entry.images, size))
    if entry.settings:
        found += _condensation(entry, entry.settings)
    if entry.method == "forgetting":
        first = entry.settings.get("first", "least often forgotten")
        found += _compare({"images": first}, {"images": "most often forgotten"})
    return found


def _condensation(entry: Entry, settings: dict[str, Any]) -> list[Difference]:
    if entry.method not in methods.METHODS:
        return []
    shape = _shape(entry)
    assert shape is not None and entry.ipc is not None
    paper = _paper(entry, shape, entry.ipc)
    if not paper.published:
        return []
    config = methods.METHODS[entry.method].Config(**paper.settings)
    earlier = {k.removeprefix("settings."): v for k, v in records.EARLIER.items()}
    earlier = {k: v for k, v in earlier.items() if v is not integrity.UNKNOWN}
    # No rate means the method's own, which is the paper's.
    given = {k: v for k, v in settings.items() if (k, v) != ("learning_rate", None)}
    if settings.get("pltda", True):
        earlier.pop("without_pltda")  # of no effect
    found = _compare(
        {**earlier, **given, "iterations": settings["steps"]},
        {**dataclasses.asdict(config), "init": paper.init, "iterations": paper.steps},
    )
    if "network" in settings:
        network = settings["network"]
        if network["name"] != paper.architecture:
            found.append(Difference("condensed on", network["name"], paper.architecture))
        found += _network(network, "condensed on", shape)
    if "experts" in settings:
        own = settings["experts"]
        trained = dataclasses.asdict(experts.expert_training(min(shape[:2])))
        found += _compare(own["training"], trained, prefix="experts' ")
        if own.get("count") is not None and paper.experts:
            wanted = {"number of experts": paper.experts}
            found += _compare({"number of experts": own["count"]}, wanted)
    return found


def _paper(entry: Entry, shape: Shape, ipc: int) -> Paper:
    """What the method's paper says of an entry's data set, as far as that is known."""
    name = _ALIASES.get(entry.dataset, entry.dataset)
    return methods.paper(entry.method, DatasetFacts(name, shape, known.flip(entry.dataset)), ipc)


def _networks(entry: Entry) -> int:
    """Networks behind the published means of an entry's method; 0 where that is not known."""
    if entry.method not in methods.METHODS:
        return 0
    return methods.paper(entry.method, DatasetFacts(), entry.ipc or 1).networks


def _training(entry: Entry) -> list[Difference]:
    name = methods.protocol_of(entry.method)
    if entry.protocol == experts.PROTOCOL:
        return [Difference("protocol", "that of experts", name)]
    used = entry.protocol or name
    found = [] if used == name else [Difference("protocol", used, name)]
    paper = dataclasses.asdict(_protocol(used, entry))
    whose = "paper" if used == name else f"{used} protocol"
    trained = {"draw": training.EARLIER["training.draw"], **entry.training}
    found += _compare(trained, paper, prefix="evaluation's ", whose=whose)
    wanted = _networks(entry)
    if len(entry.accuracies) < wanted:
        found.append(Difference("networks", len(entry.accuracies), wanted))
    return found


def _protocol(name: str, entry: Entry) -> TrainConfig:
    """How a protocol trains on an entry's set, as far as the set is known."""
    dataset = _ALIASES.get(entry.dataset, entry.dataset)
    if not entry.runs:
        return protocols.protocol(name, dataset)
    made = entry.runs[0].made
    return protocols.protocol(
        name,
        dataset,
        side=min(made.image_shape[:2]),
        num_classes=made.num_classes,
        **protocols.size_of(made),
    )


def _network(network: dict[str, Any], verb: str, shape: Shape | None) -> list[Difference]:
    prefix = f"{verb} {network['name']} of "
    # The norm is a column of the papers' tables.
    paper = {**_default(network, shape), "norm": network.get("norm")}
    return _compare(network, paper, prefix=prefix)


def _default(network: dict[str, Any], shape: Shape | None) -> dict[str, Any]:
    """A network's default options for images; its own depth where their shape is unknown."""
    if network["name"] not in networks.NETWORKS:  # a module of one's own
        return {}
    made = networks.create(network["name"], network["num_classes"], shape or (32, 32, 3))
    usual = networks.identity(made)
    if shape is None and "depth" in network:
        usual["depth"] = network["depth"]
    return usual


def _shape(entry: Entry) -> Shape | None:
    return entry.runs[0].made.image_shape if entry.runs else None


def _compare(
    here: dict[str, Any], paper: dict[str, Any], prefix: str = "", whose: str = "paper"
) -> list[Difference]:
    here, paper = integrity.plain(here), integrity.plain(paper)
    return [
        Difference(prefix + name, here[name], value, whose)
        for name, value in paper.items()
        if name in here and name not in _OWN_CHOICES and here[name] != value
    ]


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
