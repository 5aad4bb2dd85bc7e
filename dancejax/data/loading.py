"""`load`: from a name or a path to an ImageDataset."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from dancejax.data import embedded, folder, imagenet, npz, tfds_source
from dancejax.data.dataset import Arrays, ImageDataset, check_split
from dancejax.data.normalisation import channel_statistics, known_constants
from dancejax.data.pixels import check_image_size
from dancejax.errors import UserError

Reader = Callable[[str], Arrays]


def load(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "train",
    image_size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Loads one split of a data set into memory, uint8 [N, H, W, C]; nothing is downloaded.

    name_or_path: "fashion_mnist_mini" (in the package); a data set that TFDS has prepared under
    data_dir (default: TFDS's own), as "cifar10" or "imagenette/160px"; "tiny_imagenet" or an
    ImageNet set of the papers below data_dir (see `imagenet.read`); a folder of images (see
    `folder.read`); an .npz file (see `npz.read`). A name that could be either is a TFDS name:
    write ./cifar10 for a folder of that name.
    split: "train" or "test". image_size: side to resize and centre-crop to (folders and TFDS).
    seed: draws the test images of a folder or file that has no test split.
    mean and std are the field's constants where the name (of the set, folder or file) is a known
    one, else computed from the training split, for both splits.
    Raises UserError, in one sentence, for anything that the caller can put right.
    """
    check_split(split)
    check_image_size(image_size)
    name, read = _source(name_or_path, data_dir, image_size, seed)
    arrays = read(split)
    constants = known_constants(name, arrays.images.shape[-1])
    if constants is None:
        train = arrays if split == "train" else read("train")
        if train.images.shape[1:] != arrays.images.shape[1:]:
            raise UserError(
                f"{name}: training images are {list(train.images.shape[1:])} and test images "
                f"{list(arrays.images.shape[1:])}; bring them to one size, with image_size for a "
                "folder of images."
            )
        constants = channel_statistics(train.images)
    return ImageDataset(name, split, *arrays, *constants)


def _source(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None,
    image_size: int | None,
    seed: int,
) -> tuple[str, Reader]:
    """The data set's name, and a function that reads a split of it."""
    name = os.fspath(name_or_path)
    path = Path(name).expanduser()
    if path.suffix.lower() == ".npz":
        return path.stem, lambda split: npz.read(path, split, image_size=image_size, seed=seed)
    is_path = not isinstance(name_or_path, str) or name.startswith((".", "~", os.sep))
    if not is_path:
        if name == embedded.NAME:
            return name, lambda split: embedded.read(split, image_size=image_size)
        base = tfds_source.default_data_dir() if data_dir is None else Path(data_dir).expanduser()
        found = tfds_source.find(name, base)
        if found is not None:
            return name, lambda split: tfds_source.read(found, name, split, image_size=image_size)
        if name in imagenet.NAMES:
            return name, lambda split: imagenet.read(name, base, split, image_size=image_size)
        if name in tfds_source.NAMES:
            raise UserError(
                f"{name} is not prepared under {base}; give the data_dir that has it, or prepare "
                f"it (TensorFlow needed for that, once): {tfds_source.how_to_prepare(name, base)}"
            )
        if not name or not path.is_dir():
            raise UserError(_unknown(name, base))
    if path.is_file():
        raise UserError(f"{path} is a file; give a folder of images or an .npz file.")
    root = path.resolve()
    return root.name, lambda split: folder.read(root, split, image_size=image_size, seed=seed)


def _unknown(name: str, data_dir: Path) -> str:
    names = [embedded.NAME, *tfds_source.NAMES, *imagenet.NAMES]
    if data_dir.is_dir():
        names += sorted(
            p.name for p in data_dir.iterdir() if p.is_dir() and p.name not in ("downloads", *names)
        )
    close = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"There is no data set {name!r}.{hint} Give one of {', '.join(names)}, another "
        f"image classification set that TFDS has prepared under {data_dir}, the path of a "
        "folder of images, or an .npz file."
    )
