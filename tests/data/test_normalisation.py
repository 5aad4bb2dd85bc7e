"""Normalisation constants: the table and the computed ones."""

import numpy as np
import pytest

from dancejax.data import channel_statistics, normalisation
from dancejax.data.normalisation import known_constants


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block", [1, 200, 1 << 24])
def test_statistics_equal_numpy(monkeypatch, channels, block):
    monkeypatch.setattr(normalisation, "_BLOCK", block)
    images = np.random.default_rng(0).integers(0, 200, (37, 5, 4, channels), np.uint8)
    mean, std = channel_statistics(images)
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-12)


def test_a_constant_channel_can_be_divided_by():
    images = np.zeros((4, 2, 2, 3), np.uint8)
    images[..., 1] = 51
    images[:2, ..., 2] = 255
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (0, 0.2, 0.5))
    np.testing.assert_allclose(std, (1, 1, 0.5))


@pytest.mark.parametrize(
    ("name", "channels", "mean", "std"),
    [
        ("mnist", 1, (0.1307,), (0.3081,)),
        ("fashion_mnist", 1, (0.2861,), (0.3530,)),
        ("Fashion-MNIST", 1, (0.2861,), (0.3530,)),
        ("svhn_cropped", 3, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ("cifar10", 3, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100:3.0.2", 3, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("tiny-imagenet-200", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("imagenet_resized/64x64", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_the_fields_constants(name, channels, mean, std):
    assert known_constants(name, channels) == (mean, std)


def test_no_constants_for_other_names_or_other_channels():
    assert known_constants("flowers", 3) is None
    assert known_constants("mnist", 3) is None
