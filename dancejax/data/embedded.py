"""fashion_mnist_mini: 600 training and 200 test images a class of Fashion-MNIST, in the package.

Made by scripts/make_fashion_mnist_mini.py. Copyright (c) 2017 Zalando SE, MIT licence; see
FASHION_MNIST_LICENSE.
"""

import hashlib
from importlib import resources

from dancejax.data import npz
from dancejax.data.arrays import Arrays
from dancejax.data.provenance import Provenance
from dancejax.errors import UserError

NAME = "fashion_mnist_mini"
PROVENANCE = Provenance(
    "Fashion-MNIST",
    "MIT",
    "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
    "Learning Algorithms, arXiv:1708.07747, 2017",
    "https://github.com/zalandoresearch/fashion-mnist",
)
SHA256 = "4ee226ae7ba4c4d873d100e8c1b8863c02432d0041fac6f835a569fe1be8ab06"


def read(split: str, *, image_size: int | None) -> Arrays:
    """Read one split ("train" or "test"), uint8 [N, 28, 28, 1]; N is 6000 for train, 2000 for test.

    Raises UserError where the file is not the one that was released, or image_size is not 28.
    """
    file = resources.files("dancejax.data").joinpath(f"{NAME}.npz")
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; install dancejax again.") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UserError(f"{file} is damaged (its sha256 differs); install dancejax again.")
    return npz.parse(data, NAME, split, image_size=image_size, seed=0)
