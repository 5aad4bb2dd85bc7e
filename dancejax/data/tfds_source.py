"""Image classification data sets that TFDS has prepared, read without TensorFlow or network.

TensorFlow Datasets and array_record are imported only here, and only once files are found.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax.data import cache, pixels
from dancejax.data.arrays import Arrays
from dancejax.data.provenance import Provenance, stated
from dancejax.errors import UserError
from dancejax.runs import paths

_MOST = 1300
"""Training images of ImageNet's largest classes."""
NAMES = ("mnist", "fashion_mnist", "svhn_cropped", "cifar10", "cifar100")
_NAME = re.compile(r"(?P<name>\w+)(/(?P<config>[\w.\-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def default_data_dir() -> Path | None:
    """Return where TFDS prepares data sets unless told otherwise; None without a home folder."""
    if given := os.environ.get("TFDS_DATA_DIR"):
        return paths.expand(given, "TFDS_DATA_DIR")
    home = paths.home()
    return None if home is None else home / "tensorflow_datasets"


def find(name: str, data_dir: Path) -> Path | None:
    """Find the newest version of a prepared data set.

    Args:
      name: as TFDS has it, "NAME", "NAME/CONFIG", with ":VERSION" if one is wanted.
      data_dir: where TFDS prepared it.

    Returns:
      The folder data_dir/NAME[/CONFIG]/VERSION; None where nothing is prepared.

    Raises:
      UserError: several configurations are prepared and none is named.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    base = data_dir / match["name"] / (match["config"] or "")
    folders = [p for p in base.glob("*") if _prepared(p)]
    if not folders and not match["config"]:
        configs = sorted({p.parent for p in base.glob("*/*") if _prepared(p)})
        if len(configs) > 1:
            raise UserError(
                f"{name} is prepared in several configurations under {data_dir}; give one of "
                f"{', '.join(f'{name}/{c.name}' for c in configs)}."
            )
        folders = [p for c in configs for p in c.glob("*") if _prepared(p)]
    if match["version"]:
        folders = [p for p in folders if p.name == match["version"]]
    return max(folders, key=lambda p: tuple(map(int, p.name.split("."))), default=None)


def how_to_prepare(name: str, data_dir: Path) -> str:
    """Return the shell command that prepares a data set in the format that is read here."""
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{data_dir}', "
        "file_format='array_record').download_and_prepare()\""
    )


def read(
    folder: Path,
    name: str,
    split: str,
    *,
    image_size: int | None,
    classes: tuple[str, ...] | None = None,
) -> Arrays:
    """Read one split of a prepared data set.

    Args:
      folder: of the prepared version, see `find`.
      name: of the data set, for errors.
      split: "train", or "test", which means the set's validation split where it has no test split
        or one without labels.
      image_size: see `pixels.decode`; needed where images differ in size.
      classes: only those, in RGB, labelled in their order; what is decoded of them is kept for the
        next start.

    Returns:
      Images in the stored order, grey where TFDS declares one channel, else RGB.

    Raises:
      UserError: packages are missing, the format cannot be read without TensorFlow, a file is
        missing or broken, or the set does not have an `image` and a `label`.
    """
    builder = _builder(folder, name)
    features = builder.info.features
    _check_features(features, name)
    part, source = _labelled_part(builder, split, name, folder)
    names = tuple(features["label"].names)
    if missing := set(classes or ()) - set(names):
        raise UserError(f"{name} in {folder} has no class {min(missing)}.")
    channels = 3 if classes or features["image"].shape[-1] != 1 else 1
    relabel = {names.index(c): i for i, c in enumerate(classes or names)}

    def make(room: cache.Empty) -> Arrays:
        labels: list[int] = []
        images = pixels.decode_all(
            _blocks(_Part(source, name, part, folder), relabel, labels, chosen=classes is not None),
            # Of chosen classes nobody knows how many images there are, but ImageNet's most.
            min(len(source), _MOST * len(classes)) if classes else len(source),
            channels=channels,
            image_size=image_size,
            title=f"{name} {part}",
            room=room if classes is None else pixels.empty,
        )
        return Arrays(images, np.array(labels, np.int32), tuple(classes or names))

    if classes is None and name != "imagenet2012":
        return make(pixels.empty)
    files = [Path(f) for f in builder.info.splits[part].filepaths]
    key = (folder, part, image_size, channels, ",".join(classes or ()))
    return cache.cached(key, cache.stamp(files), make)


def provenance(folder: Path, name: str) -> Provenance:
    """Return what a prepared data set states of itself; arguments as of `read`."""
    info = _builder(folder, name).info
    return stated(name, info.redistribution_info.license, info.citation, info.homepage)


class _Part(NamedTuple):
    """A split of a prepared data set."""

    source: Any  # TFDS's random access, images encoded
    name: str  # of the data set
    split: str  # as the data set calls it
    folder: Path


def _check_features(features: Any, name: str) -> None:
    """Raise UserError unless a data set has 8- or 16-bit images and class labels."""
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(
            f"{name} has the features {', '.join(features)}; only image classification sets "
            "with an image and a class label can be read."
        )
    image = features["image"]
    if type(image).__name__ not in ("Image", "LabeledImage"):
        raise UserError(
            f"{name} has no encoded images but the feature {type(image).__name__}; only "
            "image classification sets with an image and a class label can be read."
        )
    if image.np_dtype.kind == "f":
        raise UserError(f"{name} has floating-point images; only 8- and 16-bit ones can be read.")


def _labelled_part(builder: Any, split: str, name: str, folder: Path) -> tuple[str, Any]:
    """(The data set's own name of a split, its `_source`), of the first that has labels."""
    splits = builder.info.splits
    candidates = ("train",) if split == "train" else ("test", "validation")
    for part in candidates:
        if part not in splits or not splits[part].num_examples:
            continue
        source = _source(builder, part, name, folder)
        if _records(source, [0], name, folder)[0]["label"] >= 0:
            return part, source
    raise UserError(
        f"{name} has no labelled {' or '.join(candidates)} split, only {', '.join(splits)}; "
        "choose another data set."
    )


def _blocks(
    part: _Part, relabel: dict[int, int], labels: list[int], *, chosen: bool
) -> Iterator[list[pixels.Encoded]]:
    """Yield encoded images whose labels are in `relabel`, and append their new ones to `labels`.

    chosen: whether to pass over the other images; else they are an error.
    """
    source, name, split, folder = part
    for start in range(0, len(source), pixels.BLOCK):
        keys = list(range(start, min(start + pixels.BLOCK, len(source))))
        records = zip(keys, _records(source, keys, name, folder), strict=True)
        kept = [(k, r) for k, r in records if int(r["label"]) in relabel]
        if not chosen and len(kept) < len(keys):
            raise UserError(
                f"{name} {split} has images without a label, {len(keys) - len(kept)} of the "
                f"first {keys[-1] + 1}; only sets with a label for each can be read."
            )
        labels.extend(relabel[int(r["label"])] for _, r in kept)
        if kept:
            yield [(f"{name} {split} image {k}", r["image"]) for k, r in kept]


def write(
    data_dir: Path, name: str, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Prepare images as the training split of a new TFDS data set, in order.

    Args:
      data_dir: where to prepare it.
      name: of the data set, an identifier in lower case.
      images: uint8 [n, h, w, c].
      labels: int [n] in 0..len(classes)-1.
      classes: names of the classes.

    Raises:
      UserError: packages are missing.
    """
    try:
        import array_record.python.array_record_module  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"writing a TFDS data set needs packages that are missing ({error}); "
            "pip install tensorflow-datasets array_record importlib_resources."
        ) from error
    set_name = name

    class Prepared(
        tfds.core.GeneratorBasedBuilder,
        skip_registration=True,  # type: ignore[call-arg]
    ):
        name = set_name
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=images.shape[1:]),
                "label": tfds.features.ClassLabel(names=list(classes)),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, manager: Any) -> Any:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Any:
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield number, {"image": pixels.to_png(image), "label": int(label)}

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # which is for results
        Prepared(data_dir=data_dir, file_format="array_record").download_and_prepare()


def _prepared(folder: Path) -> bool:
    return bool(_VERSION.fullmatch(folder.name)) and (folder / "dataset_info.json").is_file()


def _builder(folder: Path, name: str) -> Any:
    """A read-only TFDS builder: made from the files alone, it has nothing to download."""
    try:
        import array_record.python.array_record_module  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"Reading {name} from TFDS needs packages that are missing ({error}); "
            "pip install tensorflow-datasets array_record importlib_resources."
        ) from error
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # whatever TFDS makes of broken metadata
        raise _broken(name, folder, error) from error


def _source(builder: Any, part: str, name: str, folder: Path) -> Any:
    """Random access to a TFDS split; images stay encoded."""
    import tensorflow_datasets as tfds

    prepared = builder.info.file_format
    if prepared not in tfds.core.FileFormat.with_random_access():
        raise UserError(
            f"{folder} is prepared in the {prepared.value} format, which needs "
            "TensorFlow; prepare it as array_record in another data_dir: "
            f"{how_to_prepare(name, Path('NEW_DATA_DIR'))}"
        )
    try:
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(part, decoders=decoders)
        files = [Path(f) for f in builder.info.splits[part].filepaths]
    except Exception as error:  # whatever TFDS makes of broken metadata
        raise _broken(name, folder, error) from error
    if missing := [f for f in files if not f.is_file()]:
        raise UserError(
            f"{name} is incomplete: {missing[0]} is missing; delete {folder} and prepare it again."
        )
    return source


def _records(source: Any, keys: list[int], name: str, folder: Path) -> list[dict[str, Any]]:
    try:
        return source.__getitems__(keys)
    except Exception as error:  # whatever array_record and TFDS make of broken files
        raise _broken(name, folder, error) from error


def _broken(name: str, folder: Path, error: Exception) -> UserError:
    return UserError(
        f"{name} in {folder} cannot be read ({type(error).__name__}: {error}); "
        "delete that folder and prepare it again."
    )
