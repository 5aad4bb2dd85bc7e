"""Folders of runs as the programs leave them, made in a moment."""

import dataclasses
import json

import numpy as np

from dancejax import condensed, methods, networks, runs
from dancejax.condensed import CondensedSet
from dancejax.methods import DatasetFacts
from dancejax.training import experts, protocols

CIFAR = networks.identity(networks.create("convnet", 10, (32, 32, 3)))


def as_published(method, ipc, dataset="cifar10", **changes):
    """The settings that a run with the paper's would have."""
    preset = methods.paper(method, DatasetFacts(dataset), ipc)
    config = methods.config_of(method, preset.settings)
    settings = {**dataclasses.asdict(config), "network": CIFAR, "steps": preset.steps, "seed": 0}
    if method == "dance":
        training = dataclasses.asdict(experts.expert_training(32))
        settings["experts"] = {"training": training, "count": 5}
    return {**settings, **changes}


def store(
    folder, method, ipc, accuracies, *, settings=None, dataset="cifar10", network=CIFAR,
    protocol=None, shape=(32, 32, 3), **training,
):  # fmt: skip
    """A run's folder with its evaluation, as the launchers leave it."""
    rng = np.random.default_rng(hash((str(folder), method, ipc)) % 2**32)
    made = CondensedSet(
        images=rng.random((10 * ipc, *shape), np.float32),
        labels=np.repeat(np.arange(10, dtype=np.int32), ipc),
        classes=tuple(map(str, range(10))),
        mean=(0.5,) * shape[2], std=(0.25,) * shape[2], factor=2, method=method,
        source={"name": dataset, "fingerprint": "f", "split": "train"},
        settings=as_published(method, ipc) if settings is None else settings,
    )  # fmt: skip
    runs.open_workdir(folder / "evaluation")
    condensed.save(made, folder / "condensed")
    (folder / "metrics.jsonl").write_text(
        json.dumps({"kind": method, "step": 10, "matching": 1.5}) + "\n"
        + json.dumps({"kind": method, "step": 20, "matching": 1.0}) + '\n{"kind": "to'
    )  # fmt: skip
    cost = {"seconds_per_iteration": 0.5, "step_memory_mb": 64.0, "device": "cpu", "devices": 2}
    runs.write_json(folder / "result.json", cost)
    name = protocol or methods.protocol_of(method)
    config = protocols.protocol(name, dataset, **training)
    result = {
        "protocol": name, "accuracy_mean": float(np.mean(accuracies)), "accuracies": accuracies,
        "best_over_epochs_mean": max(accuracies) + 1, "network": network,
        "curve": {"epochs": [1, 2], "accuracy_mean": [10.0, 20.0]},
        "training": dataclasses.asdict(config), "test": {"name": dataset, "fingerprint": "t"},
        "train": {
            "name": dataset, "method": method, "ipc": ipc,
            "fingerprint": condensed.fingerprint(made),
        },
    }  # fmt: skip
    runs.write_json(folder / "evaluation" / "result.json", result)


ODD = (
    "caf\udce9", "a|b\n\n| c | d |", "<script>alert(1)</script>", "$x$", "\x00", "**b** `c` _d_",
    '=1+2,"q"', "\u732b", "# title", "</style></script><img src=x onerror=alert(1)>",
    "{{ 7919 * 7907 }}",
)  # fmt: skip
"""Names that break a page, a table or a template where they are put in as they are."""


def store_pool(folder, accuracies, *, dataset="cifar10", images=None):
    """A pool of experts, which stands for the whole set."""
    runs.open_workdir(folder)
    pool = {
        "protocol": experts.PROTOCOL, "experts": len(accuracies),
        "accuracy_mean": float(np.mean(accuracies)), "accuracies": accuracies, "network": CIFAR,
        "training": dataclasses.asdict(experts.expert_training(32)),
        "train": {"name": dataset, "method": "whole", "ipc": None, "fingerprint": "f"},
        "test": {"name": dataset, "fingerprint": "t"},
    }  # fmt: skip
    runs.write_json(folder / "result.json", pool)
    if images is not None:
        about = {"name": dataset, "images": images, "fingerprint": "f"}
        runs.write_json(folder / "config.json", {"settings": {"dataset": about}})
