"""PyTorch's files of tensors, read without PyTorch and without running any code in them.

A .pt file since PyTorch 1.6 is a zip archive, not compressed: NAME/data.pkl is a pickle that names
storages by number, and NAME/data/NUMBER are their bytes. The unpickler here knows tensors, their
storages and plain containers, and nothing else.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np

from dancejax.errors import UserError

_DTYPES: dict[str, Any] = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "BFloat16Storage": ml_dtypes.bfloat16,
}


class _StorageType(NamedTuple):
    dtype: np.dtype[Any]


class _Storage(NamedTuple):
    values: np.ndarray


def load(path: Path) -> Any:
    """Read what torch.save wrote: tensors as NumPy arrays, in the containers they were in.

    Args:
      path: of a .pt or .pth file.

    Returns:
      An array, or lists, tuples and dictionaries of arrays and plain values.

    Raises:
      UserError: the file is damaged, older than PyTorch 1.6, or holds more than tensors.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is damaged or of PyTorch before 1.6; there torch.save(torch.load(path), path) "
            "with a newer PyTorch writes it in the form that is read here."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            return _Unpickler(archive, name.removesuffix("data.pkl")).load()
    except UserError:
        raise
    except Exception as error:  # a pickle that was made up can fail in any way
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); it is damaged or holds more than "
            "tensors: save a dictionary of images and labels."
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root + "data.pkl")))
        self._archive, self._root = archive, root
        order = root + "byteorder"
        big = order in archive.namelist() and archive.read(order).strip() == b"big"
        self._order: Literal["<", ">"] = ">" if big else "<"
        self._known: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in _DTYPES:
            return _StorageType(np.dtype(_DTYPES[name]))
        raise UserError(
            f"{self._archive.filename} cannot be read: it holds more than tensors "
            f"({module}.{name}); save a dictionary of images and labels."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise ValueError("not a storage")
        if key not in self._known:
            info = self._archive.getinfo(f"{self._root}data/{key}")
            dtype = storage_type.dtype
            if info.file_size != count * dtype.itemsize:
                raise ValueError("a storage of another size")
            if dtype.kind in "fi":
                dtype = dtype.newbyteorder(self._order)
            self._known[key] = _Storage(np.frombuffer(self._archive.read(info), dtype))
        return self._known[key]


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """The array of a tensor; numbers are checked first, since NumPy trusts strides."""
    values, size, stride = storage.values, tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("size and stride of a tensor")
    if 0 in size:
        return np.zeros(size, values.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(values) or math.prod(size) > len(values):
        raise ValueError("a tensor larger than its storage")
    steps = tuple(step * values.itemsize for step in stride)
    view = np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)
    kind = values.dtype
    return np.array(view, np.float32 if kind == ml_dtypes.bfloat16 else kind.newbyteorder("="))


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data
