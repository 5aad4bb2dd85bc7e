"""Data sets: `load` reads the embedded set, TFDS, image folders and .npz into `ImageDataset`.

Arrays of one's own become one by `ImageDataset.from_arrays`.
"""

from dancejax.data.dataset import ImageDataset, subset, train_test_split
from dancejax.data.loading import image_sizes, load
from dancejax.data.normalisation import channel_statistics

__all__ = [
    "ImageDataset",
    "channel_statistics",
    "image_sizes",
    "load",
    "subset",
    "train_test_split",
]
