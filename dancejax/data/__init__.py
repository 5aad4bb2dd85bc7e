"""Data sets: `load` reads the embedded set, TFDS, image folders and .npz into `ImageDataset`."""

from dancejax.data.dataset import ImageDataset, subset
from dancejax.data.loading import load
from dancejax.data.normalisation import channel_statistics

__all__ = ["ImageDataset", "channel_statistics", "load", "subset"]
