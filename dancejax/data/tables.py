"""Data sets of the package `datasets` in memory: splits, columns, labels and encoded images.

The images stay encoded until `pixels` decodes them, so that the rules for their modes are those of
image files.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dancejax.data import arrays, cache, pixels
from dancejax.data.arrays import Arrays
from dancejax.data.provenance import Provenance, stated
from dancejax.data.splitting import DIGEST_BYTES, content_split
from dancejax.errors import UserError
from dancejax.runs.notes import say_once

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "validation", "valid", "val", "dev", "eval")
_IMAGE = ("image", "img", "images", "picture", "photo")
_LABEL = ("label", "labels", "fine_label", "class", "target", "category")
_PACKAGE = (
    "Hugging Face data sets need the package datasets; pip install 'datasets>=4.0', or "
    "'.[huggingface]' in a checkout."
)


class Tables(NamedTuple):
    """The splits of a data set, and the columns that count."""

    title: str
    splits: dict[str, Any]  # "train", and "test" where there is one with labels
    image: str
    label: str
    files: tuple[Path, ...] = ()  # what it is read from; empty in memory
    key: tuple[str, ...] = ()  # of what is kept of it
    name: str = ""  # on the hub, or of its folder; empty in memory
    licence: str | None = None  # as a card beside it says


def check_columns(columns: Sequence[str]) -> None:
    """Raise UserError unless columns are two names, or none."""
    if columns and (isinstance(columns, str) or len(columns) != 2):
        raise UserError("columns are two names: of the column with images and of that with labels.")


def choose(
    loaded: object, title: str, splits: Sequence[str] = (), columns: Sequence[str] = ()
) -> Tables:
    """Choose splits and columns of a data set in memory, and say which on stderr.

    Args:
      loaded: a `datasets.Dataset`, or a `datasets.DatasetDict`.
      title: stands in errors.
      splits: as of `HuggingFace`.
      columns: likewise.

    Raises:
      UserError: there are no such splits or columns, or no images with labels.
    """
    datasets = package()
    if isinstance(loaded, datasets.Dataset):
        loaded = datasets.DatasetDict(train=loaded)
    if not isinstance(loaded, datasets.DatasetDict):
        raise UserError(
            f"{title} is a {type(loaded).__name__}; it must be a datasets.Dataset or DatasetDict."
        )
    train = _train_split(loaded, title, splits)
    image, label = columns or _guess(loaded[train].features, title, datasets)
    for column in (image, label):
        if column not in loaded[train].features:
            raise UserError(
                f"{title} has no column {column!r}; it has {', '.join(loaded[train].features)}."
            )
    found = {"train": loaded[train]}
    test = splits[1] if len(splits) == 2 else None
    if not splits:
        others = [name for name in _TEST if name in loaded and name != train]
        test = next((name for name in others if _labelled(loaded[name], label)), None)
    if test is not None:
        found["test"] = loaded[test]
    drawn = f"test images from split {test!r}" if test else "no test split"
    say_once(
        f"{title}: training images from split {train!r}, {drawn}; images in column {image!r}, "
        f"labels in {label!r}"
    )
    return Tables(title, found, image, label)


def read(tables: Tables, split: str, *, image_size: int | None, seed: int | None = None) -> Arrays:
    """Read one split.

    Args:
      tables: the data set.
      split: "train" or "test".
      image_size: see `pixels.decode`; needed where images differ in size.
      seed: where there is no test split, of the draw of about a fifth of the images, by content;
        None draws none.

    Returns:
      Images in the stored order, grey if those of both splits are all stored grey, else RGB. What
      is decoded of files is kept for the next start.

    Raises:
      UserError: an image or label cannot be read, or there is no test split and none is drawn.
    """
    labels, classes = _numbered(tables)
    drawn = "test" not in tables.splits and seed is not None
    if split not in tables.splits and not drawn:
        raise UserError(f"{tables.title} has no test split; Dataset.split draws one.")
    own = tables.splits["train" if drawn else split]
    numbers = labels["train" if drawn else split]
    stamp = cache.stamp(tables.files, *(part.tobytes() for part in labels.values()))
    if drawn:
        assert seed is not None
        digests = _digests(tables, stamp)
        index = content_split(digests, numbers, classes, seed=seed)[split]
        own, numbers = own.select(index), numbers[index]

    def make(room: cache.Empty) -> Arrays:
        every = (block for table in tables.splits.values() for block in _encoded(table, tables))
        images = pixels.decode_all(
            _encoded(own, tables),
            len(own),
            channels=1 if all(map(pixels.all_grey, every)) else 3,
            image_size=image_size,
            title=f"{tables.title} {split}",
            room=room,
        )
        return Arrays(images, numbers, classes)

    if not tables.files:
        return make(pixels.empty)
    return cache.cached((*tables.key, split, image_size), f"{stamp} {seed if drawn else ''}", make)


def own_name(tables: Tables) -> str:
    """Return the name that a data set in memory knows of itself."""
    return str(tables.splits["train"].info.dataset_name or "huggingface")


def provenance(tables: Tables) -> Provenance:
    """Return what a data set states of itself."""
    info = tables.splits["train"].info
    return stated(
        tables.name or own_name(tables),
        info.license or tables.licence,
        info.citation,
        info.homepage,
    )


def sizes(tables: Tables, most: int) -> list[tuple[int, int]]:
    """Return (width, height) of some training images, at most `most`, spread over all."""
    table = tables.splits["train"]
    some = table.select(range(0, len(table), -(-len(table) // most)))
    with pixels.quiet():
        return [pixels.size(image) for block in _encoded(some, tables) for image in block]


def package() -> Any:
    """Import and return the package `datasets`. Raises UserError where it is missing."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(_PACKAGE) from error
    return datasets


def _train_split(loaded: Any, title: str, splits: Sequence[str]) -> str:
    """The name of the split for training, after all given names are checked."""
    for name in splits:
        if name not in loaded:
            raise UserError(f"{title} has no split {name!r}; it has {', '.join(loaded)}.")
    names = list(splits[:1]) or [name for name in _TRAIN if name in loaded]
    if not names and len(loaded) == 1:
        names = list(loaded)
    if not names:
        raise UserError(
            f"{title} has the splits {', '.join(loaded)}, none of them called train; choose with "
            "splits (--hf_splits=TRAIN,TEST)."
        )
    if len(loaded[names[0]]) == 0:
        raise UserError(f"{title} has no images in its split {names[0]!r}; choose another one.")
    return str(names[0])


def _guess(features: Any, title: str, datasets: Any) -> tuple[str, str]:
    """The columns with images and with labels: by type, then by name."""
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    found: list[str] = []
    for what, typed, names in (("images", images, _IMAGE), ("labels", labels, _LABEL)):
        usual = [name for name in names if name in (typed or features)]
        chosen = typed if len(typed) == 1 else usual[:1]
        if not chosen:
            raise UserError(
                f"{title} has the columns {', '.join(features)}, and it is not clear which has the "
                f"{what}; choose with columns (--hf_columns=IMAGE,LABEL)."
            )
        found += chosen
    return found[0], found[1]


def _labelled(table: Any, label: str) -> bool:
    """Whether a split has images, and the first one a label."""
    return (
        len(table) > 0
        and label in table.features
        and table.select([0]).with_format(None)[0][label] not in (None, -1)
    )


def _numbered(tables: Tables) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """(class numbers int32 [N] of each split, names of the classes)."""
    found = {split: _values(table, tables) for split, table in tables.splits.items()}
    names = getattr(tables.splits["train"].features[tables.label], "names", None)
    if found["train"].dtype.kind == "U":
        names = np.unique(found["train"]).tolist()
        for split, values in found.items():
            if len(odd := np.setdiff1d(values, names)):
                raise UserError(
                    f"{tables.title}: the {split} split has the class {str(odd[0])!r}, of which "
                    "there are no training images."
                )
            found[split] = np.searchsorted(names, values)
    checked = {
        split: arrays.to_labels(values, f"{tables.title}: {tables.label}", len(values))
        for split, values in found.items()
    }
    numbering = arrays.number_classes(checked["train"], names, tables.title)
    numbers = {
        split: arrays.to_numbers(values, numbering, f"{tables.title}, {split} split")
        for split, values in checked.items()
    }
    return numbers, numbering.classes


def _values(table: Any, tables: Tables) -> np.ndarray:
    """The labels of a split as they are stored."""
    label = tables.label
    if label not in table.features:
        raise UserError(f"{tables.title} has a test split without the column {label!r}.")
    values = table.select_columns([label]).with_format(None)[:][label]
    unknown = hasattr(table.features[label], "names") and -1 in values
    if None in values or unknown:
        raise UserError(
            f"{tables.title} has images without a label, in column {label!r}; leave them out, or "
            "choose other splits (--hf_splits)."
        )
    return arrays.as_array(values, f"{tables.title}: {label}")


def _encoded(table: Any, tables: Tables) -> Iterator[list[pixels.Encoded]]:
    """Yield blocks of encoded images of a split."""
    import datasets

    title, column = tables.title, tables.image
    try:
        kind = datasets.Image(decode=False)
        raw = table.select_columns([column]).with_format(None).cast_column(column, kind)
    except Exception as error:  # of the package and of Arrow
        raise UserError(
            f"{title}: column {column!r} holds no images but {table.features[column]}; choose "
            "another column (--hf_columns), or read the arrays yourself for Dataset.from_arrays."
        ) from error
    for start in range(0, len(raw), pixels.BLOCK):
        rows = raw[start : start + pixels.BLOCK][column]
        yield [
            (f"{title} image {number}", _content(row, f"{title} image {number}"))
            for number, row in enumerate(rows, start)
        ]


def _content(row: dict[str, Any] | None, name: str) -> bytes | Path:
    if row is None or (row["bytes"] is None and not row["path"]):
        raise UserError(f"{name} is missing; leave out rows without an image.")
    return Path(row["path"]) if row["bytes"] is None else row["bytes"]


def _digests(tables: Tables, stamp: str) -> np.ndarray:
    """Digests of the encoded training images, uint8 [N, 16]; kept for the next start."""
    table = tables.splits["train"]
    new = functools.partial(hashlib.blake2b, digest_size=DIGEST_BYTES)

    def make() -> np.ndarray:
        found = [
            new(content if isinstance(content, bytes) else content.read_bytes()).digest()
            for block in _encoded(table, tables)
            for _, content in block
        ]
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST_BYTES)

    if not tables.files:
        return make()
    return cache.kept_array((*tables.key, "digests"), stamp, (len(table), DIGEST_BYTES), make)
