"""Makes the embedded data set, dancejax/data/fashion_mnist_mini.npz, from a prepared Fashion-MNIST.

    python scripts/make_fashion_mnist_mini.py --data_dir DIR --output fashion_mnist_mini.npz

Prints the file's sha256, which belongs in dancejax/data/embedded.py. The same bytes come out
whatever the order in which TFDS stored the images (given the same zlib).
"""

import argparse
import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from dancejax.data import Dataset, load, subset

SEED = 20240601
PER_CLASS = {"train": 600, "test": 200}
EPOCH = (1980, 1, 1, 0, 0, 0)


def select(dataset: Dataset, per_class: int, seed: int) -> Dataset:
    """per_class images of each class in a random order; both depend on the images and seed only."""
    canonical = sorted(range(len(dataset)), key=lambda i: dataset.images[i].tobytes())
    chosen = subset(_reordered(dataset, np.array(canonical)), per_class, seed=seed)
    return _reordered(chosen, np.random.default_rng(seed).permutation(len(chosen)))


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """A compressed .npz file without time stamps."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{key}.npy", EPOCH),
                member.getvalue(),
                compress_type=zipfile.ZIP_DEFLATED,
                compresslevel=9,
            )
    return buffer.getvalue()


def _reordered(dataset: Dataset, order: np.ndarray) -> Dataset:
    return dataclasses.replace(dataset, images=dataset.images[order], labels=dataset.labels[order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", required=True, help="TFDS data_dir with fashion_mnist")
    parser.add_argument("--output", required=True, type=Path, help="the .npz file to write")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    for split, per_class in PER_CLASS.items():
        dataset = load("fashion_mnist", data_dir=args.data_dir, split=split)
        chosen = select(dataset, per_class, args.seed)
        arrays[f"x_{split}"] = chosen.images[..., 0]
        arrays[f"y_{split}"] = chosen.labels.astype(np.uint8)
        arrays["classes"] = np.array(chosen.classes)
    data = npz_bytes(arrays)
    args.output.write_bytes(data)
    record = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "seed": args.seed}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
