"""Arrays and images out of files of several kinds; no code in them is run."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from dancejax.data import folder, pixels
from dancejax.errors import UserError
from dancejax.exchange import torchfile


def named_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz, .safetensors or PyTorch file.

    Raises:
      UserError: there is no such file, or it is damaged or holds more than arrays.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path.")
    try:
        match path.suffix.lower():
            case ".npz":
                # NumPy leaves a path that it can't read open.
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            case ".safetensors":
                return dict(safetensors.numpy.load_file(path))
            case ".pt" | ".pth":
                return _torch_arrays(path)
    except UserError:
        raise
    except Exception as error:  # the readers raise many types for broken files
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); it is damaged or holds more than "
            "arrays."
        ) from error
    raise UserError(f"{path} is neither .npz nor .safetensors, .pt or .pth.")


def _torch_arrays(path: Path) -> dict[str, np.ndarray]:
    value = torchfile.load(path)
    # The published scripts of the field store {"data": [[images, labels], ...]}, best last.
    if isinstance(value, dict) and isinstance(value.get("data"), list) and value["data"]:
        value = value["data"][-1]
    if isinstance(value, list | tuple) and len(value) == 2:
        value = {"images": value[0], "labels": value[1]}
    if isinstance(value, np.ndarray):
        value = {"tensor": value}
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; it must hold images and labels.")
    return {str(name): array for name, array in value.items() if isinstance(array, np.ndarray)}


def class_folders(root: Path, channels: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read a folder of a folder of images for each class.

    Returns:
      (names of the folders, sorted; images float32 [n, h, w, channels] in [0, 1]; labels [n]).

    Raises:
      UserError: there is no such folder, or its images are of several sizes or damaged.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; check the path.")
    found, files = folder.class_files(root)
    images = decode([(str(path), path) for path in files.paths], channels, root.name)
    return list(found), images, files.labels


def decode(files: list[pixels.Encoded], channels: int, title: str) -> np.ndarray:
    """Decode image files of one size to float32 [n, h, w, channels] in [0, 1].

    Args:
      files: (name, path or bytes) of each.
      channels: 1 or 3.
      title: of the source, for errors.
    """
    if not files:
        raise UserError(f"the folder {title} of the export has no images; export it again.")
    images = pixels.decode_all([files], len(files), channels=channels, image_size=None, title=title)
    return images.astype(np.float32) / 255
