"""What analyses look at in the tests: a coreset, all real images as a set, and trained networks."""

import dataclasses

import numpy as np
import pytest

from dancejax import coreset
from dancejax.analysis import Material
from dancejax.training import experts


@pytest.fixture(scope="session")
def sets(train):
    """Two sets of one image a class, and all real images with right and with wrong labels."""
    whole = coreset.random(train, 24)
    wrong = dataclasses.replace(whole, labels=np.roll(whole.labels, 24))
    return {"few": coreset.random(train, 4, seed=1), "whole": whole, "wrong": wrong}


@pytest.fixture(scope="session")
def snapshot_folder(tmp_path_factory, train, network):
    folder = tmp_path_factory.mktemp("snapshots")
    config = experts.expert_training(28, epochs=3, batch_size=16)
    experts.train_pool(train, network, config, count=2, snapshots=1, run=folder)
    return folder


@pytest.fixture(scope="session")
def material(sets, train, test, network, snapshot_folder):
    config = experts.expert_training(28, epochs=2, batch_size=16)
    pool = experts.load_pool(snapshot_folder)
    return Material(sets, train, test, network, config, pool, snapshot_folder, seed=3)
