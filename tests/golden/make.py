"""Makes the golden files: 20 iterations of each method by the plain statement.

    python -m tests.golden.make [METHOD ...]

Needs PyTorch. The random numbers are the package's, drawn here as its documentation of keys says;
everything computed from them is the statement's.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dancejax import augment, coreset, interpolate, methods, networks
from dancejax.data import sampling
from dancejax.training import experts

FOLDER = Path(__file__).parent
STEPS, SEED, IPC, BATCH = 20, 3, 2, 8
IDM_QUEUE = {
    "queue_start": 2, "queue_size": 3, "push_every": 3, "train_steps": 2, "train_batch": 8,
}  # fmt: skip
SETTINGS = {
    "dm": {"batch_real": BATCH},
    "m3d": {"batch_real": BATCH, "iterations_per_model": 5},
    "dance": {"batch_real": BATCH, "batch_syn": 6, "update_order": "joint"},
    "tgdd": {
        "batch_real": BATCH,
        "batch_syn": 6,
        "update_order": "joint",
        "epoch_interval": 2,
        "alpha": 0.5,
    },
    "ncfm": {
        "batch_real": BATCH,
        "batch_syn": 6,
        "frequencies": 32,
        "learning_rate": 0.01,
        "amplitude": 0.75,
        "patience": 4,
    },
    "idm": {"batch_real": BATCH, "update_order": "joint", "accuracy_window": 0, **IDM_QUEUE},
}


def colour_set(train):
    """The embedded images in three channels that differ, with round normalisation constants."""
    grey = train.images.astype(np.float64)
    images = np.concatenate([grey, 0.6 * grey + 40, 255 - 0.8 * grey], -1).round().astype(np.uint8)
    return dataclasses.replace(train, images=images, mean=(0.3,) * 3, std=(0.4,) * 3)


def make_network(dataset):
    return networks.create("convnet", dataset.num_classes, dataset.image_shape, width=4, depth=2)


def make_pool(network, shape):
    """Two "experts" of random parameters."""
    made = [networks.init(network, jax.random.key(100 + n), shape) for n in range(4)]
    return experts.ExpertPool(interpolate.stack(made[:2]), interpolate.stack(made[2:]))


def make_trajectories(network, shape):
    """Two "experts" of four snapshots of random parameters, leaves [2, 4, ...]."""
    made = [networks.init(network, jax.random.key(200 + n), shape) for n in range(8)]
    return interpolate.stack([interpolate.stack(made[:4]), interpolate.stack(made[4:])])


def import_statement():
    """Only making the files needs PyTorch, not comparing with them."""
    from . import statement

    return statement


class Drawn:
    """The package's random numbers, as tensors for the statement."""

    def __init__(self, dataset, network, settings):
        import torch

        self.torch, self.dataset, self.network, self.settings = torch, dataset, network, settings
        self.key = jax.random.key(SEED)
        self.data, order = sampling.class_sizes(dataset)
        self.images = self.tensor(dataset.images[order] / 255.0)
        self.labels = torch.from_numpy(dataset.labels[order].astype(np.int64))
        self.init = jax.jit(lambda key: networks.init(network, key, dataset.image_shape))

    def tensor(self, images):
        return self.torch.from_numpy(np.array(images, np.float64)).permute(0, 3, 1, 2)

    def start(self, factor):
        chosen = coreset.random_indices(self.dataset, IPC * factor**2, seed=SEED)
        real = self.tensor(self.dataset.images[chosen.reshape(-1)] / 255.0)
        real = real.reshape(-1, factor**2, *real.shape[1:])
        stored = self.torch.stack([import_statement().mix(tiles, factor) for tiles in real])
        return stored.reshape(self.dataset.num_classes, IPC, *stored.shape[1:])

    def variables(self, variables):
        params = jax.tree.map(lambda x: np.array(x, np.float64), variables["params"])
        found = {}
        for block in range(self.network.depth):
            conv, norm = params[f"conv{block}"], params[f"norm{block}"]["norm"]
            found |= {
                f"conv{block}": conv["kernel"].transpose(3, 2, 0, 1).copy(),
                f"bias{block}": conv["bias"],
                f"scale{block}": norm["scale"],
                f"shift{block}": norm["bias"],
            }
        found |= {"head": params["Dense_0"]["kernel"], "head_bias": params["Dense_0"]["bias"]}
        return {name: self.torch.from_numpy(value) for name, value in found.items()}

    def random_network(self, key):
        return self.variables(self.init(key))

    def reals(self, key, step):
        classes = jnp.arange(self.dataset.num_classes)
        taken = sampling.class_indices(key, jnp.asarray(step), self.data, classes, BATCH)
        return [self.images[np.array(own)] for own in taken]

    def augmentations(self, key):
        side = self.dataset.image_shape[0]
        strategy, mode = self.settings["augmentation"], self.settings["mode"]
        draws = []
        for label in range(self.dataset.num_classes):
            own = jax.random.fold_in(key, label)
            numbers = augment.draw(own, strategy, mode, side, side)._asdict()
            draws.append({name: np.array(value).tolist() for name, value in numbers.items()})
        return draws

    def subsets(self, key, count, most):
        keys = [jax.random.fold_in(key, label) for label in range(self.dataset.num_classes)]
        return [np.array(jax.random.permutation(k, count)[:most]) for k in keys]


def matching(name, drawn, factor):
    statement = import_statement()
    own = drawn.settings
    k_real, k_network, k_run = jax.random.split(drawn.key, 3)
    start = drawn.start(factor)
    unit = name == "m3d"
    distance = statement.gaussian_mmd2 if unit else statement.mean_distance
    pixels = statement.Pixels(start if unit else statement.normalise(start), own["learning_rate"])
    for step in range(STEPS):
        if unit:
            with drawn.torch.no_grad():
                pixels.values.clamp_(0, 1)
        model = step // own["iterations_per_model"]
        network = drawn.random_network(jax.random.fold_in(k_network, model))
        _, k_augment = jax.random.split(jax.random.fold_in(k_run, step))
        losses = statement.matching_step(
            pixels, network, drawn.reals(k_real, step), drawn.augmentations(k_augment), factor,
            distance, statement.normalise if unit else lambda images: images,
        )  # fmt: skip
        kept = pixels.values if unit else pixels.values * statement.STD + statement.MEAN
        yield {"matching": losses}, kept


def dance(drawn, factor):
    statement = import_statement()
    pool = make_pool(drawn.network, drawn.dataset.image_shape)
    k_real, k_run = jax.random.split(drawn.key)
    pixels = statement.Pixels(drawn.start(factor), 0.01 * IPC)
    decoded, most = IPC * factor**2, drawn.settings["batch_syn"]
    for step in range(STEPS):
        k_expert, k_lambda, *keys = jax.random.split(jax.random.fold_in(k_run, step), 6)
        chosen = jax.random.randint(k_expert, (), 0, 2)
        first, final = (drawn.variables(interpolate.select(end, chosen)) for end in pool)
        pltda, calibration = statement.dance_step(
            pixels, first, final, float(jax.random.uniform(k_lambda)), drawn.reals(k_real, step),
            drawn.augmentations(keys[1]), drawn.augmentations(keys[3]),
            (drawn.subsets(keys[0], decoded, most), drawn.subsets(keys[2], decoded, most)), factor,
        )  # fmt: skip
        yield {"pltda": pltda, "calibration": calibration}, pixels.values


def tgdd(drawn, factor):
    statement = import_statement()
    paths = make_trajectories(drawn.network, drawn.dataset.image_shape)
    k_real, k_run = jax.random.split(drawn.key)
    pixels = statement.Pixels(drawn.start(factor), 0.01 * IPC)
    own, epochs, decoded = drawn.settings, 4, IPC * factor**2
    for step in range(STEPS):
        k_visits, k_subset, k_augment = jax.random.split(jax.random.fold_in(k_run, step), 3)
        k_expert, k_first, k_second = jax.random.split(k_visits, 3)
        expert = int(jax.random.randint(k_expert, (), 0, 2))
        first = int(jax.random.randint(k_first, (), 0, epochs))
        end = min(first + own["epoch_interval"], epochs)
        second = int(jax.random.randint(k_second, (), first, end))
        matched, classifier = (
            drawn.variables(jax.tree.map(lambda x, e=expert, t=t: x[e, t], paths))
            for t in (first, second)
        )
        distances, entropies = statement.tgdd_step(
            pixels, matched, classifier, own["alpha"], drawn.reals(k_real, step),
            drawn.augmentations(k_augment), drawn.subsets(k_subset, decoded, own["batch_syn"]),
            factor,
        )  # fmt: skip
        yield {"matching": distances, "cross_entropy": entropies}, pixels.values


def ncfm(drawn, factor):
    statement = import_statement()
    pool = make_pool(drawn.network, drawn.dataset.image_shape)
    k_real, k_run = jax.random.split(drawn.key)
    own, decoded, most = drawn.settings, IPC * factor**2, drawn.settings["batch_syn"]
    pixels = statement.PixelsOfClasses(drawn.start(factor), own["learning_rate"], own["patience"])
    size = networks.features(
        drawn.network, interpolate.select(pool.final, 0), jnp.zeros((1, *drawn.dataset.image_shape))
    ).shape[-1]
    for step in range(STEPS):
        k_expert, k_lambda, k_frequencies, *keys = jax.random.split(
            jax.random.fold_in(k_run, step), 7
        )
        chosen = jax.random.randint(k_expert, (), 0, 2)
        first, final = (drawn.variables(interpolate.select(end, chosen)) for end in pool)
        normal = [
            jax.random.normal(
                jax.random.split(jax.random.fold_in(k_frequencies, label))[0],
                (own["frequencies"], size),
            )
            for label in range(drawn.dataset.num_classes)
        ]
        frequencies = [drawn.torch.from_numpy(np.array(t, np.float64)) for t in normal]
        matching, calibration = statement.ncfm_step(
            pixels,
            (first, final, float(jax.random.uniform(k_lambda))),
            (frequencies, own["amplitude"]),
            drawn.reals(k_real, step),
            (drawn.augmentations(keys[1]), drawn.augmentations(keys[3])),
            (drawn.subsets(keys[0], decoded, most), drawn.subsets(keys[2], decoded, most)),
            factor,
        )
        yield {"matching": matching, "calibration": calibration}, pixels.values


def idm(drawn, factor):
    statement = import_statement()
    own = drawn.settings
    k_network, k_real, k_training, k_run = jax.random.split(drawn.key, 4)
    pixels = statement.Pixels(statement.normalise(drawn.start(factor)), own["learning_rate"])
    queue, pushed = {}, 0

    def push():
        nonlocal pushed
        key = jax.random.fold_in(k_network, pushed)
        queue[pushed % own["queue_size"]] = statement.QueuedNetwork(drawn.random_network(key))
        pushed += 1

    def slots(key, count):
        numbers = np.array(jax.random.uniform(key, (own["queue_size"],)))
        used = min(pushed, own["queue_size"])
        return np.argsort(numbers[:used])[:count].tolist()

    for _ in range(own["queue_start"]):
        push()
    number = 0
    for step in range(STEPS):
        k_match, k_train, _, k_augment = jax.random.split(jax.random.fold_in(k_run, step), 4)
        if step and step % own["push_every"] == 0:
            push()
        queued = queue[slots(k_match, 1)[0]]
        percent = queued.percent()
        losses, entropies = statement.idm_step(
            pixels, queued, drawn.reals(k_real, step), drawn.augmentations(k_augment), factor,
            own["regularisation"],
        )  # fmt: skip
        for slot in slots(k_train, own["networks_trained"]):
            for _ in range(own["train_steps"]):
                size, count = own["train_batch"], len(drawn.labels)
                taken = np.array(
                    sampling.epoch_positions(k_training, jnp.asarray(number), size, count)
                )
                queue[slot].train(drawn.images[taken], drawn.labels[taken])
                number += 1
        yield (
            {"matching": losses, "cross_entropy": entropies, "network_accuracy": percent},
            pixels.values * statement.STD + statement.MEAN,
        )


def make(name, train):
    """The golden arrays of a method."""
    dataset = colour_set(train)
    network = make_network(dataset)
    config = methods.create(name, network=network, **SETTINGS[name]).config
    drawn = Drawn(dataset, network, dataclasses.asdict(config))
    run = {"dance": dance, "idm": idm, "ncfm": ncfm, "tgdd": tgdd}.get(name) or (
        lambda d, f: matching(name, d, f)
    )
    found = {"start": drawn.start(config.factor).permute(0, 1, 3, 4, 2).numpy()}
    history = []
    for step, (metrics, pixels) in enumerate(run(drawn, config.factor), 1):
        history.append(metrics)
        if step in (1, 5, STEPS):
            images = pixels.detach().permute(0, 1, 3, 4, 2).numpy()
            found[f"pixels_{step}"] = images.astype(np.float32)
    for metric in history[0]:
        found[metric] = np.array([line[metric] for line in history])
    return found


if __name__ == "__main__":
    from tests.conftest import cut

    for name in sys.argv[1:] or SETTINGS:
        np.savez_compressed(FOLDER / f"{name}.npz", **make(name, cut("train", 24)))
