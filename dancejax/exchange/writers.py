"""Exports of a condensed set, each with a description of its pixels and a README."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dancejax import condensed, runs
from dancejax.condensed import CondensedSet
from dancejax.data.dataset import Dataset
from dancejax.errors import UserError
from dancejax.exchange import cards, forms, readers
from dancejax.exchange.form import About, Arrays
from dancejax.exchange.readers import DESCRIPTION, FORMAT
from dancejax.runs import disk, integrity

_DATA = (
    "form",
    "pixels",
    "images",
    "factor_left",
    "classes",
    "normalisation",
    "fingerprint",
    "test",
)
"""What makes two exports the same; the rest is about them."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What to export of a set, and what to say about it.

    Attributes:
      decoded: the training images, factor**2 of each stored one; else the stored ones, which
        readers have to decode.
      licence: of the source data, an identifier such as "mit".
      accuracy: a sentence for the README.
      evaluation: a result of `evaluate` for the description.
      test: the test images, to lie beside the training images, in forms that have a place for them.
    """

    decoded: bool = True
    licence: str = "unknown"
    accuracy: str | None = None
    evaluation: dict[str, Any] | None = None
    test: Dataset | None = None

    @property
    def texts(self) -> About:
        """What the description says about the set beside what it is."""
        return {name: getattr(self, name) for name in ("licence", "accuracy", "evaluation")}


DEFAULT = ExportOptions()


def export(made: CondensedSet, path: Path, form: str, options: ExportOptions = DEFAULT) -> About:
    """Write a set in one of FORMS to a new folder, and read it back.

    The 8-bit forms round to 1/255 and cut off what is not in [0, 1]; the description says how much
    that was.

    Args:
      made: the set.
      path: a folder that is not there yet; it appears whole and verified, or not at all.
      form: one of FORMS.
      options: what to export.

    Returns:
      The description; "largest_difference" is that of a pixel read back, in [0, 1] units.

    Raises:
      UserError: for an unknown form, one that needs decoded images or has no place for test images,
        a folder that is there already, or a disk that does not take it.
    """
    path = Path(path).absolute()
    if path.exists():
        raise UserError(f"{path} is there already; remove it or choose another folder.")
    about, train = _plan(made, form, options)
    clear(path)
    temporary = runs.open_workdir(_temporary(path))
    try:
        about = _write(temporary, made, train, about, options)
        worst = verify(temporary, made, train, about, options.test)
        temporary.rename(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own for a disk that is full
        why = disk.reason(error, path.parent)
        raise UserError(f"cannot write {path} ({why}); make room.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {**about, "largest_difference": worst}


def _write(
    folder: Path, made: CondensedSet, train: Arrays, about: About, options: ExportOptions
) -> About:
    """Write all files, and return the description."""
    form, test = forms.find(about["form"]), options.test
    needed = train[0].size * (1 if form.eight_bit else 4)
    runs.check_space(folder, needed + (test.images.size if test else 0))
    form.write(folder, *train, about)
    if made.soft_labels is not None:
        np.save(folder / condensed.SOFT_LABELS, readers.by_class(made), allow_pickle=False)
    if test is not None:
        form.write(folder, *_test_arrays(test), {**about, "split": "test"})
    sums = {"train": readers.checksum(form.read(folder, about, "train"))}
    if test is not None:
        sums["test"] = readers.checksum(form.read(folder, about, "test"))
    written = {**about, **options.texts, "sha256": sums}
    _write_texts(folder, written)
    return written


def ensure(made: CondensedSet, path: Path, form: str, options: ExportOptions = DEFAULT) -> About:
    """Export as `export` does, but leave a finished export of the same set alone.

    It is read back all the same, and what it says of licence and accuracy is renewed.

    Args:
      made: as in `export`.
      form: likewise.
      options: likewise.
      path: a folder that is not there yet, or one that holds this export.

    Returns:
      The description, as `export` does.

    Raises:
      UserError: as `export` does, and where the folder holds another export or something else.
    """
    path = Path(path).absolute()
    if not path.exists():
        return export(made, path, form, options)
    if not readers.is_export(path):
        raise UserError(f"{path} is there and is no export; remove it or choose another folder.")
    about, train = _plan(made, form, options)
    found = readers.description(path)
    wanted = json.loads(json.dumps(about))
    differing = [k for k in _DATA if k in found and found[k] != wanted.get(k)]
    if bool(found.get("test")) != bool(wanted.get("test")) and "test" not in differing:
        differing.append("test")
    if differing:
        raise UserError(
            f"{path} holds another export, different in {', '.join(differing)}; remove it, or "
            "choose another folder."
        )
    worst = verify(path, made, train, found, options.test)
    texts = options.texts
    if {name: found.get(name) for name in texts} != json.loads(json.dumps(texts)):
        _write_texts(path, {**found, **texts})
    return {**found, **texts, "largest_difference": worst}


def clear(path: Path) -> None:
    """Remove what a killed `export` to a folder has left beside it."""
    shutil.rmtree(_temporary(path), ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _write_texts(folder: Path, about: About) -> None:
    runs.write_json(folder / DESCRIPTION, about)
    runs.write_bytes(folder / "README.md", cards.card(about).encode())


def _plan(made: CondensedSet, name: str, options: ExportOptions) -> tuple[About, Arrays]:
    """The description of an export and its training images, checked."""
    form, test = forms.find(name), options.test
    if not options.decoded and not form.stored:
        raise UserError(f"{name} is for tools that do not decode; export decoded images.")
    if test is not None and not form.test:
        raise UserError(
            f"{name} has no place for test images; choose among {', '.join(forms.with_test())}."
        )
    if test is not None and (test.classes, test.image_shape) != (made.classes, made.image_shape):
        raise UserError(
            f"the test images of {test.name} ({test.num_classes} classes, "
            f"{list(test.image_shape)}) are not those of the set ({made.num_classes} classes, "
            f"{list(made.image_shape)}); give the data set it was made from."
        )
    images, labels = _arrays(made, options.decoded)
    return describe(made, name, images, options), (images, labels)


_SAME = ("method", "ipc", "classes", "source", "settings", "training_recipe", "versions")
"""Entries of the manifest that descriptions have, too."""


def describe(made: CondensedSet, name: str, images: np.ndarray, options: ExportOptions) -> About:
    """Return what dancejax.json of an export says, but for licence and accuracy.

    Args:
      made: the set.
      name: of the form.
      images: what is exported, float32 [n, h, w, c] in [0, 1] units.
      options: of the export.
    """
    manifest, form = condensed.manifest(made), forms.find(name)
    fingerprint = condensed.fingerprint(made)
    own = {"fingerprint": fingerprint, "ipc": made.ipc, "factor": made.factor}
    origin = made.origin or own
    outside = float(np.mean((images < 0) | (images > 1)))
    about = {
        "format": FORMAT,
        "kind": "dancejax export",
        "form": name,
        "pixels": form.pixels,
        "count": len(images),
        "outside_of_range": {"share": outside, "cut_off": form.eight_bit},
        "normalisation": manifest["normalisation"],
        "images": "decoded" if options.decoded else "stored",
        "decoding": manifest["decoding"],
        "factor_left": 1 if options.decoded else made.factor,
        "fingerprint": fingerprint,
        "origin": {key: origin[key] for key in own},
        **{key: manifest[key] for key in _SAME},
    }
    if made.soft_labels is not None:
        own_order = "of the training images sorted by class, those of a class in the order written"
        about["soft_labels"] = {
            **manifest["soft_labels"],
            "of": f"shares of the classes, {own_order}",
        }
        about["soft_labels"]["sha256"] = integrity.digest(readers.by_class(made))
    if (test := options.test) is not None:
        about["test"] = {
            "name": test.name,
            "fingerprint": test.fingerprint,
            "images": len(test),
        }
    return {**about, **form.details(made)}


def verify(
    path: Path, made: CondensedSet, train: Arrays, about: About, test: Dataset | None
) -> float:
    """Read an export back and compare it.

    Args:
      path: the folder.
      made: the set, for its soft labels.
      train: images and labels that were to be written.
      about: the description.
      test: the test images that were to be written, too.

    Returns:
      The largest difference of a training pixel, in [0, 1] units.

    Raises:
      UserError: the difference is more than the form's rounding.
    """
    back = readers.read(path)
    cut_off = about["outside_of_range"]["cut_off"]
    worst = _difference(train, (back.images, back.labels), cut_off)
    if (made.soft_labels is None) != (back.soft_labels is None) or (
        made.soft_labels is not None
        and not np.array_equal(readers.by_class(made), readers.by_class(back))
    ):
        worst = None
    if test is not None and worst is not None:
        same = _difference(_test_arrays(test), readers.read_test(path), cut_off)
        worst = None if same is None else worst
    if worst is None:
        raise UserError(f"{path} does not read back as it was written; check the disk.")
    return worst


def _difference(wanted: Arrays, found: Arrays, cut_off: bool) -> float | None:
    """The largest difference of a pixel; None if it is more than the form's rounding."""
    images, labels = wanted
    order, found_order = (np.argsort(x, kind="stable") for x in (labels, found[1]))
    if not np.array_equal(labels[order], found[1][found_order]):
        return None
    images = np.clip(images, 0, 1) if cut_off else images
    if images.shape != found[0].shape:
        return None
    worst = float(np.abs(images[order] - found[0][found_order]).max())
    allowed = 0.51 / 255 if cut_off else 1e-5 * max(1.0, float(np.abs(images).max()))
    return worst if worst <= allowed else None


def _arrays(made: CondensedSet, decoded: bool) -> Arrays:
    if not decoded:
        return made.images, made.labels.astype(np.int64)
    images, labels = made.decoded()
    return np.asarray(images, np.float32), np.asarray(labels, np.int64)


def _test_arrays(test: Dataset) -> Arrays:
    return test.images.astype(np.float32) / 255, test.labels.astype(np.int64)
