"""A small condensed set to export."""

import numpy as np
import pytest

from dancejax.condensed import CondensedSet


@pytest.fixture
def made(train):
    """Two stored images a class of factor 2, of real pixels."""
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[:2] for c in range(3)])
    return CondensedSet(
        images=(train.images[chosen] / 255).astype(np.float32),
        labels=train.labels[chosen],
        classes=train.classes,
        mean=train.mean,
        std=train.std,
        factor=2,
        method="dance",
        source={"name": train.name, "fingerprint": train.fingerprint, "split": "train"},
        settings={"steps": 5},
    )
