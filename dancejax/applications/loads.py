"""The loads of each application's parts, by the names of their jobs, for `forecast`."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import numpy as np

from dancejax import analysis, coreset, methods
from dancejax.applications import analyse, assess, cell, continual, cross, grid, nas, plan, spaces
from dancejax.applications.forecast import Load, trained
from dancejax.applications.plan import GRADIENT
from dancejax.applications.settings import EvaluationSettings, ExpertSettings
from dancejax.data.dataset import Dataset
from dancejax.methods import Paper
from dancejax.training import protocols

Loads = Mapping[str, list[Load]]


def of_grid(opened: grid.Grid) -> Loads:
    """Return the loads of a grid's experts and cells."""
    settings, train, network = opened.settings, opened.train, opened.network
    found = {grid.EXPERTS: _experts(settings.experts, settings.experts_needed, train, network)}
    for own in settings.cells():
        factor = 1
        if own.method in methods.METHODS:
            paper = cell.plan_of(own, train, settings.steps, settings.config)
            loads, factor = _condensed(own.method, paper, own.ipc, train, network)
        else:
            loads = _chosen(own.method, settings.experts, train, network)
        how, size = settings.evaluation_of(own.ipc), own.ipc * factor**2
        _, config = how.training(own.method, opened.test, decoded=size, factor=factor)
        evaluated = trained(network, train.image_shape, size * train.num_classes, config)
        found[own.name] = [*loads, *_evaluated(evaluated, how, opened.test)]
    return found


def of_cross(job: cross.Job) -> Loads:
    """Return the loads of a table's cells."""
    found = {}
    for own in cross.cells(job.settings):
        made = job.settings.sets[own.label]
        how = assess.recorded(job.settings.evaluation, made)
        size = protocols.size_of(made)
        _, config = how.training(made.method, job.test, **size)
        images = len(made.labels) * size["factor"] ** 2
        load = trained(job.modules[own.network], job.test.image_shape, images, config)
        found[own.name] = _evaluated(load, how, job.test)
    return found


def of_nas(job: nas.Job) -> Loads:
    """Return the loads of a search's coresets, networks and end."""
    settings, train, config = job.settings, job.train, job.training
    base = settings.network.create(train)
    loads = [_chosen(name, settings.experts, train, base) for name in settings.coresets]
    if any(coreset.CORESETS[name].needs == "experts" for name in settings.coresets):
        loads.append(_experts(settings.experts, 1, train, base))
    found = {nas.PROXIES: [load for own in loads for load in own]}
    whole = dataclasses.replace(config, epochs=settings.whole_epochs)
    sizes = [settings.ipc * train.num_classes for _ in settings.coresets]
    sizes += [len(made.labels) * made.factor**2 for made in settings.sets.values()]
    shape, seen = train.image_shape, len(job.validation)
    for name, network in job.networks.items():
        own = [trained(network, shape, size, config) for size in sizes]
        if settings.early_stopping:
            most = GRADIENT * len(train) * whole.epochs
            early = GRADIENT * job.early_steps * min(config.batch_size, len(train))
            own.append(Load(network, shape, min(early, most)))
        if settings.whole:
            own.append(trained(network, shape, len(train), whole))
        tested = Load(network, shape, seen * len(own) + len(job.test) * settings.whole)
        found[spaces.folder_of(name)] = [*own, tested]
    if not settings.whole:  # each proxy may choose another network, of average size
        share = (len(sizes) + settings.early_stopping) / len(job.networks)
        every = job.networks.values()
        once = [trained(network, shape, len(train), whole).times(share) for network in every]
        found[nas.CHOSEN] = once
    return found


def of_continual(job: continual.Job) -> Loads:
    """Return the loads of the experts of each order, and of each method in it."""
    settings, train = job.settings, job.train
    network, shape = settings.network.create(train), train.image_shape
    # Experts and sets are of each step's classes alone: of all classes once, all steps together.
    pools = _experts(settings.experts, settings.experts_needed, train, network)
    found = {f"order-{order}-experts": pools for order in range(settings.orders)}
    for part in settings.parts():
        loads, factor = list[Load](), 1
        if part.method in methods.METHODS:
            paper = settings.paper(part.method, train)
            loads, factor = _condensed(part.method, paper, settings.ipc, train, network)
        elif part.method != continual.WHOLE:
            loads = _chosen(part.method, settings.experts, train, network)
        steps = job.steps(part.order)
        for number in range(1, len(steps) + 1):
            seen = np.concatenate(steps[:number])
            stored, config = continual.trained_on(job, part, seen, factor)
            tested = int(job.test.class_counts[seen].sum())
            own = [trained(network, shape, stored, config), Load(network, shape, tested)]
            loads = [*loads, *(load.times(settings.training.networks) for load in own)]
        found[f"order-{part.order}-{part.method}"] = loads
    return found


def of_analyses(job: analyse.Job) -> Loads:
    """Return the loads of experts and analyses: what they train, and a look at all images."""
    material, settings = job.material, job.settings
    train, network = material.train, material.network
    shape = train.image_shape
    found = {analyse.EXPERTS: _experts(settings.experts, settings.experts.number, train, network)}
    for name in settings.analyses:
        count = getattr(settings.own(name), "networks", 1)
        looked = Load(network, shape, (len(train) + len(material.test)) * count)
        own = [looked]
        if "training" in analysis.ANALYSES[name].needs:
            once = trained(network, shape, len(train), material.training)
            own = [once.times(count), looked.times(material.training.epochs)]
        found[name] = own
    return found


def _experts(
    settings: ExpertSettings, count: int, train: Dataset, network: nn.Module
) -> list[Load]:
    """The training of some experts."""
    return [trained(network, train.image_shape, len(train), settings.training(train)).times(count)]


def _condensed(
    name: str, paper: Paper, ipc: int, train: Dataset, network: nn.Module
) -> tuple[list[Load], int]:
    """The iterations of a method, and its factor."""
    method = methods.create(name, network=network, **paper.settings)
    passes = plan.step_passes(method, train.num_classes, ipc)
    load = Load(network, train.image_shape, sum(passes.values())).times(paper.steps)
    return [load], method.factor


def _chosen(name: str, settings: ExpertSettings, train: Dataset, network: nn.Module) -> list[Load]:
    """The choice of a coreset: a network's training, or a look at all images."""
    needs = coreset.CORESETS[name].needs
    if needs == "training":
        return _experts(settings, 1, train, network)
    return [Load(network, train.image_shape, len(train))] if needs == "experts" else []


def _evaluated(once: Load, how: EvaluationSettings, test: Dataset) -> list[Load]:
    """The networks of an evaluation, each trained as `once` and tested several times."""
    tested = Load(once.network, once.image_shape, len(test) * how.test_points)
    return [load.times(how.networks) for load in (once, tested)]
