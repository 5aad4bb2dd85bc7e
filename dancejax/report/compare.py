"""An entry beside its paper: the published number, and every setting that differs."""

import dataclasses
from typing import Any

from dancejax import methods, networks, records, training
from dancejax.data import known
from dancejax.methods import DatasetFacts, Paper
from dancejax.methods.optimizers import SGD
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


EXPERTS = "number of experts"
TURNS = "networks in turns"
_SPELLED = {"experts": EXPERTS}
"""Settings of ablations that differences call otherwise."""


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
    """Name an entry for people: its method's title, and the settings that tell it from others.

    Those are, on the papers' data sets, the switches and choices (settings that are on, off or a
    word) that are not the paper's, the amounts that the papers' tables vary (experts, factor), and
    whatever else varies between the entries of a report (`Entry.varying`).
    """
    method = methods.title(entry.method)
    if entry.protocol == experts.PROTOCOL:
        return f"{method} (the experts)"
    return ", ".join([method, *variation(entry)])


def variation(entry: Entry) -> list[str]:
    """Say, setting by setting, what a name has beside the method's title."""
    named = _ablated(entry.method).keys() | entry.varying | {"condensed on", TURNS}
    found = deviations(entry)
    if found and not is_own(entry.dataset):
        types = {**methods.setting_types(entry.method), "init": str}
        named |= {name for name, kind in types.items() if kind in (bool, str)}
    said = [_spoken(d) for d in found if d.name in named]
    said += [_spoken(d) for d in training_differences(entry) if d.name in entry.varying]
    return said + ([f"{entry.form} export"] if entry.form is not None else [])


def _spoken(difference: Difference) -> str:
    """A setting that differs, as people say it: "no PLTDA", "3 experts", "kernel linear"."""
    name, here = difference.name, difference.here
    word = _WORDS.get(name, name).replace("_", " ")
    if name == TURNS:
        return str(here)
    if isinstance(here, bool):
        return word if here else f"no {word}"
    if isinstance(here, int) and word.endswith("s"):
        return f"{here:,} {word[:-1] if here == 1 else word}"
    return f"{word} {_short(here)}".replace("_", " ")


_WORDS = {"pltda": "PLTDA", "init": "start", EXPERTS: "experts", "batch_real": "real batch"}
"""Settings whose name in Config is not how people call them."""


def network_name(network: Json) -> str:
    """A network with the options that differ from its published form."""
    name, usual = network["name"], _default(network, None)
    options = [f"{k} {v}" for k, v in network.items() if k not in usual or usual[k] != v]
    depth = f"-{network['depth']}" if "depth" in network else ""
    return f"{name}{depth}" + (f" ({', '.join(options)})" if options else "")


def published(entry: Entry) -> Accuracy | None:
    """The paper's number for an entry: same method or ablation, data set, IPC and network."""
    return published_at(entry, entry.ipc)


def published_at(entry: Entry, ipc: int | None) -> Accuracy | None:
    """The paper's number for an entry's method, data set and network at some IPC."""
    method = tabled(entry)
    if method is None or entry.training.get("labels") == "soft":
        return None  # the papers' are of hard labels
    network = entry.network["name"]
    names = {network, f"{network}{entry.network.get('depth', '')}"}
    if entry.network.get("norm") == "batch":
        names = {f"{network}_bn"}
    return papers.published(method, dataset_in_papers(entry.dataset), ipc, names)


def dataset_in_papers(name: str) -> str:
    """A data set's name in the papers' tables."""
    return _ALIASES.get(name, name)


def is_own(dataset: str) -> bool:
    """Whether the papers have no figures for a data set."""
    return dataset_in_papers(dataset) not in {row.dataset for row in papers.accuracies()}


def tabled(entry: Entry) -> str | None:
    """The name in the papers' tables of an entry's method, or of its ablation."""
    tabled = _ablated(entry.method)
    changed = {tabled[d.name]: d.here for d in differences(entry) if d.name in tabled}
    if not changed:
        return _ALIASES.get(entry.method, entry.method)
    return papers.ablation_row(entry.method, changed)


def _ablated(method: str) -> dict[str, str]:
    """The settings that tables vary for a method, by their names in differences."""
    return {_SPELLED.get(name, name): name for name in papers.ablated(method)}


def differences(entry: Entry) -> list[Difference]:
    """Settings of records, experts, networks and training that are not the paper's."""
    found = training_differences(entry) + _network(entry.network, "evaluated on", _shape(entry))
    size = TRAINING_IMAGES.get(_ALIASES.get(entry.dataset, entry.dataset))
    if size is not None and entry.images is not None and entry.images != size:
        found.append(Difference("training images", entry.images, size))
    if entry.settings:
        found += _condensation(entry) if _has_paper(entry) else []
    if entry.method == "forgetting":
        first = entry.settings.get("first", "least often forgotten")
        found += _compare({"images": first}, {"images": "most often forgotten"})
    return found


def _has_paper(entry: Entry) -> bool:
    return entry.method in methods.METHODS and _paper(entry).published


def deviations(entry: Entry) -> list[Difference]:
    """Settings of the condensation alone that are not the paper's, or the method's default."""
    return _condensation(entry) if entry.settings and entry.method in methods.METHODS else []


def _condensation(entry: Entry) -> list[Difference]:
    settings, paper, shape = entry.settings, _paper(entry), entry.runs[0].made.image_shape
    config = methods.config_of(entry.method, paper.settings)
    usual = paper.settings.get("optimizer", methods.usual_optimizer(entry.method).name)
    earlier = {k.removeprefix("settings."): v for k, v in records.EARLIER.items()}
    earlier = {k: v for k, v in earlier.items() if v is not integrity.UNKNOWN}
    # No rate means the method's own, which is the paper's.
    given = {k: v for k, v in settings.items() if (k, v) != ("learning_rate", None)}
    if settings.get("pltda", True):
        earlier.pop("without_pltda")  # of no effect
    found = _compare(
        {"optimizer": SGD.name, **earlier, **given, "iterations": settings["steps"]},
        {
            **dataclasses.asdict(config),
            "optimizer": usual,
            "init": paper.init,
            "iterations": paper.steps,
        },
    )
    if "networks" in settings:
        turns = " + ".join(network["name"] for network in settings["networks"])
        found.append(Difference(TURNS, turns, paper.architecture))
    for network in settings.get("networks", [settings["network"]] if "network" in settings else []):
        if network["name"] != paper.architecture and "networks" not in settings:
            found.append(Difference("condensed on", network["name"], paper.architecture))
        found += _network(network, "condensed on", shape)
    given = settings.get("experts", [])
    for own in given if isinstance(given, list) else [given]:
        trained = dataclasses.asdict(experts.expert_training(min(shape[:2])))
        found += _compare(own["training"], trained, prefix="experts' ")
        if own.get("count") is not None and paper.experts:
            found += _compare({EXPERTS: own["count"]}, {EXPERTS: paper.experts})
    return found


def _paper(entry: Entry) -> Paper:
    """What the method's paper says of an entry's data set, as far as that is known."""
    shape, ipc = _shape(entry), entry.ipc
    assert shape is not None and ipc is not None
    name = _ALIASES.get(entry.dataset, entry.dataset)
    return methods.paper(entry.method, DatasetFacts(name, shape, known.flip(entry.dataset)), ipc)


def _networks(entry: Entry) -> int:
    """Networks behind the published means of an entry's method; 0 where that is not known."""
    if entry.method not in methods.METHODS:
        return 0
    return methods.paper(entry.method, DatasetFacts(), entry.ipc or 1).networks


def training_differences(entry: Entry) -> list[Difference]:
    """Settings of the evaluation's training that are not the paper's or the protocol's."""
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
