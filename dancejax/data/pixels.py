"""Decoding image files with Pillow: any pixel mode to uint8, resized, in a pool of threads.

Transparent pixels are laid on white; 16-bit grey is scaled to 8 bits; a photograph's EXIF
orientation is applied; of an animation the first frame counts.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features
from tqdm import tqdm

from dancejax.data import memory
from dancejax.errors import UserError

_FORMATS = {
    "PNG": ".png .apng",
    "JPEG": ".jpg .jpeg .jpe .jfif",
    "BMP": ".bmp .dib",
    "DIB": ".dib",
    "WEBP": ".webp",
    "GIF": ".gif",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm",
}
if features.check("avif"):
    _FORMATS["AVIF"] = ".avif .avifs"
if features.check("jpg_2000"):
    _FORMATS["JPEG2000"] = ".jp2 .j2k .j2c .jpc .jpf .jpx"
# Formats that are told by what a file begins with; those without a mark (TGA) take any bytes.
FORMATS = tuple(_FORMATS)
EXTENSIONS = frozenset(" ".join(_FORMATS.values()).split())
MAX_PIXELS = 80_000_000  # below the size at which Pillow itself warns
BLOCK = 2048  # files a block
_CHUNK = 64  # files a task of the pool

_SMALLER = "give a smaller image_size, or fewer images."

# An encoded image: the name that errors give it, and its path or its bytes.
Encoded = tuple[str, Path | bytes]


def check_image_size(image_size: int | None) -> None:
    """Raise UserError unless image_size is None or a positive whole number."""
    if image_size is None:
        return
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise UserError(
            f"image_size is {image_size!r}; give the side in pixels as a positive whole number."
        )
    if image_size**2 > MAX_PIXELS:
        raise UserError(
            f"image_size is {image_size}; images of more than {MAX_PIXELS // 10**6} million pixels "
            "are not made, so give a smaller side."
        )


def is_grey(encoded: Encoded) -> bool:
    """Return whether an image is stored without colour, from its header; errors as `decode`'s."""
    with _open(encoded) as image:
        return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def size(encoded: Encoded) -> tuple[int, int]:
    """Return (width, height) as the file's header says; errors as `decode`'s."""
    with _open(encoded) as image:
        return image.size


def all_grey(files: Sequence[Encoded]) -> bool:
    """Return whether all of the images are stored without colour; checks every header."""
    with quiet(), ThreadPoolExecutor() as pool:
        chunks = [files[i : i + BLOCK] for i in range(0, len(files), BLOCK)]
        return all([grey for chunk in chunks for grey in pool.map(is_grey, chunk)])


def decode(encoded: Encoded, *, channels: int, image_size: int | None) -> np.ndarray:
    """Decode one image.

    Args:
      encoded: its name in errors, and its path or bytes.
      channels: 1 or 3.
      image_size: the shorter side is resized to it (bilinear, antialiased) and the centre square
        cut out; an image that is already so is left bit-equal. None keeps the size.

    Returns:
      uint8 [H, W, channels].

    Raises:
      UserError: the file is empty, truncated, unreadable, too large to decode safely or has
        floating-point pixels.
    """
    with _open(encoded) as opened:
        try:
            image = _convert(ImageOps.exif_transpose(opened), encoded[0], channels)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # Pillow's readers raise many types on broken files
            raise _damaged(encoded[0]) from error
    if image_size is not None:
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image.height, image.width, channels)


def fit(images: np.ndarray, image_size: int | None) -> np.ndarray:
    """Bring decoded images to a size by the rule of `decode`.

    Args:
      images: uint8 [N, H, W, C], C 1 or 3.
      image_size: as for `decode`.

    Returns:
      uint8 [N, image_size, image_size, C].

    Raises:
      UserError: they do not fit into memory.
    """
    if image_size is None or images.shape[1:3] == (image_size, image_size):
        return images
    channels = images.shape[-1]
    _check_memory(len(images), image_size)
    result = empty((len(images), image_size, image_size, channels))
    for image, out in zip(images, result, strict=True):
        opened = Image.fromarray(image.squeeze(-1) if channels == 1 else image)
        resized = ImageOps.fit(opened, (image_size, image_size), Image.Resampling.BILINEAR)
        out[:] = np.asarray(resized).reshape(out.shape)
    return result


def to_png(image: np.ndarray) -> bytes:
    """Encode an image as the bytes of a PNG file.

    Args:
      image: uint8 [h, w, c], c 1 or 3.
    """
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def empty(shape: tuple[int, ...]) -> np.ndarray:
    """Return room for images of a shape, in memory. Raises UserError where there is not enough."""
    count, height, width = shape[:3]
    needed = int(np.prod(shape, dtype=object))
    memory.check(needed, f"{count} images of {width}x{height} pixels", _SMALLER)
    return np.empty(shape, np.uint8)


def _check_memory(count: int, side: int) -> None:
    """Raise UserError where images of this side do not fit into memory while they are decoded."""
    needed = side**2 * 4 * min(count, os.cpu_count() or 1)
    memory.check(needed, f"images of {side}x{side} pixels", _SMALLER)


def decode_all(
    blocks: Iterable[Sequence[Encoded]],
    count: int,
    *,
    channels: int,
    image_size: int | None,
    title: str,
    room: Callable[[tuple[int, ...]], np.ndarray] = empty,
) -> np.ndarray:
    """Decode images in a pool of threads, with a progress bar on a terminal's stderr.

    Args:
      blocks: of encoded images.
      count: images at most.
      channels: as for `decode`.
      image_size: likewise.
      title: of the progress bar.
      room: gives room for images of a shape.

    Returns:
      uint8 [n, H, W, channels], in the order of the blocks.

    Raises:
      UserError: as `decode`, and for images of different sizes where image_size is None.
    """
    images = np.empty((0, 0, 0, channels), np.uint8)
    first_name, done = "", 0
    if image_size is not None:
        _check_memory(count, image_size)  # before anything is decoded
        images = room((count, image_size, image_size, channels))

    def fill(start: int, chunk: Sequence[Encoded]) -> int:
        for i, encoded in enumerate(chunk, start):
            image = decode(encoded, channels=channels, image_size=image_size)
            if image.shape != images.shape[1:]:
                raise UserError(
                    f"{encoded[0]} is {image.shape[1]}x{image.shape[0]} pixels and {first_name} "
                    f"{images.shape[2]}x{images.shape[1]}; give image_size to bring all images "
                    "to one size."
                )
            images[i] = image
        return len(chunk)

    with (
        quiet(),
        ThreadPoolExecutor() as pool,
        tqdm(total=count, desc=title, unit=" images", disable=None) as bar,
    ):
        for block in blocks:
            if not done:
                first_name = block[0][0]
                if image_size is None:
                    first = decode(block[0], channels=channels, image_size=None)
                    images = room((count, *first.shape))
            chunks = [block[i : i + _CHUNK] for i in range(0, len(block), _CHUNK)]
            starts = range(done, done + len(block), _CHUNK)
            for filled in pool.map(fill, starts, chunks):
                bar.update(filled)
            done += len(block)
    return images if done == count else images[:done]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings, of metadata and the like: files are taken or refused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextlib.contextmanager
def _open(encoded: Encoded) -> Iterator[Image.Image]:
    """The image with only its header read, of a size that is safe to decode."""
    name, source = encoded
    try:
        if isinstance(source, Path) and source.stat().st_size == 0:
            raise UserError(f"{name} is an empty file; replace or remove it.")
        # Given a path, Pillow 13.0 maps raw TIFFs into memory and garbles those with an EXIF turn.
        file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise UserError(
            f"{name} cannot be read ({error.strerror}); make it readable or remove it."
        ) from error
    with file:
        try:
            image = Image.open(file, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name) from error
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise many types on broken files
            raise UserError(
                f"{name} cannot be read as an image, whatever it is called; replace or remove it."
            ) from error
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(name)
        yield image


def _convert(image: Image.Image, name: str, channels: int) -> Image.Image:
    """Any mode to L (1 channel) or RGB (3)."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"{name} has 32-bit pixels; save it with 8 or 16 bits a channel.")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise UserError(f"{name} has floating-point pixels; save it with 8 or 16 bits a channel.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "LAB":
        raise UserError(f"{name} has the colours of CIELAB; save it as RGB.")
    return image if image.mode == mode else image.convert(mode)


def _damaged(name: str) -> UserError:
    return UserError(
        f"{name} cannot be read as an image: it is truncated or damaged; replace or remove it."
    )


def _too_large(name: str) -> UserError:
    return UserError(
        f"{name} declares more than {MAX_PIXELS // 10**6} million pixels, which is not decoded "
        "for safety; make it smaller or remove it."
    )
