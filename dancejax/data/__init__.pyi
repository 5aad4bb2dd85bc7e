from .dataset import (
    Dataset as Dataset,
    subset as subset,
    train_test_split as train_test_split,
)
from .loading import image_sizes as image_sizes, load as load
from .normalisation import channel_statistics as channel_statistics
