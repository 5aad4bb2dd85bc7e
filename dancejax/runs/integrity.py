"""Checksums of arrays and manifests, and the comparison of what two runs are."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dancejax.errors import UserError
from dancejax.runs.folder import read_json
from dancejax.types import Json, Record

FORMAT = 1


UNKNOWN = object()
"""For `check_same`: what a record without an entry says of it."""


class DamagedError(UserError):
    """A stored tree is incomplete or its bytes have changed."""


class AnotherRunError(UserError):
    """A folder holds what was made by other settings."""


def digest(array: ArrayLike) -> str:
    """sha256 over dtype, shape and bytes of an array."""
    array = np.ascontiguousarray(array)
    header = f"{array.dtype.str} {array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def seal(manifest: Json) -> Json:
    """The manifest with a checksum of its own content under "manifest_sha256"."""
    body = {k: v for k, v in manifest.items() if k != "manifest_sha256"}
    text = json.dumps(body, sort_keys=True)
    return {**body, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_manifest(path: Path) -> Json:
    """Reads a sealed manifest; raises DamagedError if it is missing or its checksum is wrong."""
    try:
        manifest = read_json(path)
    except UserError as error:
        raise DamagedError(str(error)) from error
    if not isinstance(manifest, dict) or seal(manifest) != manifest:
        raise DamagedError(f"{path} is damaged or was edited: its checksum does not fit.")
    return manifest


def plain(value: object) -> Any:
    """A JSON value as it comes back from a file."""
    return json.loads(json.dumps(value))


def check_same(
    found: Json,
    wanted: Json,
    path: Path,
    *,
    missing: Record | None = None,
    ignored: Collection[str] = (),
) -> None:
    """Compare the records of two runs.

    Args:
      found: a JSON object; entries of objects inside are named "settings.ipc".
      wanted: another.
      path: where the first one lies, for the sentence.
      missing: entries that earlier versions did not record, with what their absence means; UNKNOWN
        where nobody can tell, which compares as equal. An entry stands for all those inside it.
      ignored: entries that are no part of what a run is.

    Raises:
      AnotherRunError: they differ; the sentence names the settings.
    """
    stored, wanted = _flat(found), _flat(wanted)
    found = dict(stored)
    for name in wanted:
        if stored.get(name) is None:
            found[name] = _absent(name, wanted[name], missing or {}, stored)
    differing = sorted(
        name
        for name in found.keys() | wanted.keys()
        if found.get(name) != wanted.get(name) and not _within(name, ignored)
    )
    if differing:
        listing = "; ".join(
            f"{k} is {_short(found.get(k))} there, {_short(wanted.get(k))} here"
            for k in differing[:6]
        )
        raise AnotherRunError(
            f"{path} belongs to another run ({listing}); "
            "give the same settings, or choose another folder."
        )


def _within(name: str, entries: Collection[str]) -> bool:
    return any(name == entry or name.startswith(f"{entry}.") for entry in entries)


def _absent(name: str, wanted: Any, missing: Mapping[str, Any], stored: dict[str, Any]) -> Any:
    """What a record says of an entry that is not in it."""
    for entry, meaning in missing.items():
        recorded = any(
            value is not None for other, value in stored.items() if _within(other, [entry])
        )
        if _within(name, [entry]) and not recorded:
            return wanted if meaning is UNKNOWN else meaning
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:36] + "..."


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix[:-1]: plain(value)}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
