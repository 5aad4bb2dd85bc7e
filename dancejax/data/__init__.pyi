from .dataset import Dataset as Dataset, subset as subset
from .huggingface import HuggingFace as HuggingFace
from .loading import (
    image_folder as image_folder,
    image_sizes as image_sizes,
    load as load,
    name_of as name_of,
)
from .normalisation import channel_statistics as channel_statistics
