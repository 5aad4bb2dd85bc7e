"""What is known of data sets by their names."""

UNMIRRORED = frozenset(
    {
        "mnist",
        "binarized_mnist",
        "mnist_corrupted",
        "kmnist",
        "qmnist",
        "usps",
        "emnist",
        "emnist_balanced",
        "emnist_byclass",
        "emnist_bymerge",
        "emnist_digits",
        "emnist_letters",
        "emnist_mnist",
        "svhn",
        "svhn_cropped",
        "omniglot",
        "binary_alpha_digits",
        "cmaterdb",
    }
)
"""Sets of digits and letters: a mirrored 3 is no 3."""


def key(name: str) -> str:
    """Return a data set's name without case, configuration and version, and "-" as "_"."""
    return name.lower().replace("-", "_").partition("/")[0].partition(":")[0]


def flip(name: str) -> bool:
    """Return whether mirrored images keep their labels, as far as the data set's name says."""
    return key(name) not in UNMIRRORED
