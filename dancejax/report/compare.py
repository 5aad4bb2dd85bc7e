"""An entry beside its paper: the published number, and every setting that differs."""

import dataclasses
from typing import Any

from dancejax import methods, names, networks, records, training
from dancejax.data import known
from dancejax.errors import UserError
from dancejax.methods import presets
from dancejax.report import papers
from dancejax.report.entry import Entry
from dancejax.report.papers import Accuracy
from dancejax.runs import integrity
from dancejax.training import TrainConfig, experts, protocols

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
EXPERTS = 5
"""Of DANCE's tables."""
NETWORKS = {"dm": 100, "m3d": 10, "dance": 10}
"""Networks behind a published mean (DM: 20 for each of 5 sets)."""
_ALIASES = {"svhn_cropped": "svhn", "tinyimagenet": "tiny_imagenet", "kcenter": "k_center",
            "whole": "whole_dataset"}  # fmt: skip
_OWN_CHOICES = ("class_chunk", "seed", "ipc", "num_classes")
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
    method = names.method(entry.method)
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


def network_name(network: dict[str, Any]) -> str:
    """A network with the options that differ from its published form."""
    name, usual = network["name"], _default(network, None)
    options = [f"{k} {v}" for k, v in network.items() if k not in usual or usual[k] != v]
    depth = f"-{network['depth']}" if "depth" in network else ""
    return f"{name}{depth}" + (f" ({', '.join(options)})" if options else "")


def published(entry: Entry) -> Accuracy | None:
    """The paper's number for an entry: same method or ablation, data set, IPC and network."""
    method: str | None = _ALIASES.get(entry.method, entry.method)
    if entry.method == "dance":
        method = _dance_row(entry)
    if method is None:
        return None
    network = entry.network["name"]
    names = {network, f"{network}{entry.network.get('depth', '')}"}
    if entry.network.get("norm") == "batch":
        names = {f"{network}_bn"}
    dataset = _ALIASES.get(entry.dataset, entry.dataset)
    return papers.published(method, dataset, entry.ipc, names)


def _dance_row(entry: Entry) -> str | None:
    """The name that DANCE's ablations have in the tables."""
    changed = [d for d in differences(entry) if d.name in _VARIED]
    if not changed:
        return "dance"
    if len(changed) > 1:
        return None
    name, here = changed[0].name, changed[0].here
    if name == "number of experts":
        return f"dance_experts_{here}"
    off = {("pltda", False), ("calibration", False), ("factor", 1)}
    return f"dance_no_{name}" if (name, here) in off else None


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
    side = min(shape[:2])
    try:
        preset = presets.paper(
            entry.method,
            dataset=_ALIASES.get(entry.dataset, entry.dataset),
            image_side=side,
            ipc=entry.ipc,
            flip=known.flip(entry.dataset),
        )
    except UserError:
        return []
    config = methods.METHODS[entry.method].Config(**preset.config)
    earlier = {k.removeprefix("settings."): v for k, v in records.EARLIER.items()}
    earlier = {k: v for k, v in earlier.items() if v is not integrity.UNKNOWN}
    # No rate means the method's own, which is the paper's.
    given = {k: v for k, v in settings.items() if (k, v) != ("learning_rate", None)}
    if settings.get("pltda", True):
        earlier.pop("without_pltda")  # of no effect
    found = _compare(
        {**earlier, **given, "iterations": settings["steps"]},
        {**dataclasses.asdict(config), "init": preset.init, "iterations": preset.steps},
    )
    if "network" in settings:
        network = settings["network"]
        # The paper's for ImageNet-10 and ImageNet-100.
        usual = "resnetap10" if side > 192 and entry.method == "m3d" else "convnet"
        if network["name"] != usual:
            found.append(Difference("condensed on", network["name"], usual))
        found += _network(network, "condensed on", shape)
    if "experts" in settings:
        own = settings["experts"]
        trained = dataclasses.asdict(experts.expert_training(side))
        found += _compare(own["training"], trained, prefix="experts' ")
        if own.get("count") is not None:
            found += _compare({"number of experts": own["count"]}, {"number of experts": EXPERTS})
    return found


def _training(entry: Entry) -> list[Difference]:
    name = presets.PROTOCOLS.get(entry.method, "dance")
    if entry.protocol == experts.PROTOCOL:
        return [Difference("protocol", "that of experts", name)]
    used = entry.protocol or name
    found = [] if used == name else [Difference("protocol", used, name)]
    paper = dataclasses.asdict(_protocol(used, entry))
    whose = "paper" if used == name else f"{used} protocol"
    trained = {"draw": training.EARLIER["training.draw"], **entry.training}
    found += _compare(trained, paper, prefix="evaluation's ", whose=whose)
    wanted = NETWORKS.get(entry.method, 0)
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
