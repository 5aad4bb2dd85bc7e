"""Trees of arrays on disk: Orbax for the arrays, a checksum manifest of our own beside them.

The only module that calls Orbax. Orbax writes atomically, but it restores flipped bytes without a
word and does not fall back from a broken newest step; both are done here.
"""

import contextlib
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from dancejax import parallel, runs
from dancejax.errors import UserError

FORMAT = 1
_MANIFEST, _ARRAYS = "manifest.json", "arrays"


class DamagedError(UserError):
    """A stored tree is incomplete or its bytes have changed."""


def digest(array: Any) -> str:
    """sha256 over dtype, shape and bytes of an array."""
    array = np.ascontiguousarray(array)
    header = f"{array.dtype.str} {array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with a checksum of its own content under "manifest_sha256"."""
    body = {k: v for k, v in manifest.items() if k != "manifest_sha256"}
    text = json.dumps(body, sort_keys=True)
    return {**body, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads a sealed manifest; raises DamagedError if it is missing or its checksum is wrong."""
    try:
        manifest = runs.read_json(path)
    except UserError as error:
        raise DamagedError(str(error)) from error
    if not isinstance(manifest, dict) or seal(manifest) != manifest:
        raise DamagedError(f"{path} is damaged or was edited: its checksum does not fit.")
    return manifest


def save_tree(path: Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays and JSON metadata to the new folder `path`, atomically.

    With several processes all of them call it, and the first one writes.
    """
    path = path.absolute()
    arrays = parallel.fetch(_without_keys(tree))
    if parallel.is_primary():
        _write_tree(path, arrays, metadata)
    parallel.barrier(f"saved {path}")


def _write_tree(path: Path, arrays: Any, metadata: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        with _checkpointer() as checkpointer:
            checkpointer.save(temporary / _ARRAYS, args=ocp.args.PyTreeSave(arrays))
        files = _digests(temporary / _ARRAYS)
        manifest = {"format": FORMAT, "metadata": metadata, "sha256": files}
        runs.write_json(temporary / _MANIFEST, seal(manifest))
        temporary.rename(path)
    except (OSError, ValueError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot save to {path} ({reason}); is the disk full or read-only?"
        ) from error


def load_metadata(path: Path) -> dict[str, Any]:
    """The JSON metadata that was saved with a tree."""
    manifest = read_manifest(path / _MANIFEST)
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {manifest.get('format')!r}; this version reads format {FORMAT}."
        )
    return manifest["metadata"]


def load_tree(path: Path, target: Any) -> Any:
    """Reads a tree of `target`'s structure, shapes and types, and verifies every byte.

    target: arrays or ShapeDtypeStructs. Raises DamagedError if anything does not fit.
    """
    path = path.absolute()
    load_metadata(path)
    # Before Orbax sees them: it restores flipped bytes, and chokes on others in many ways.
    if _digests(path / _ARRAYS) != read_manifest(path / _MANIFEST)["sha256"]:
        raise DamagedError(f"{path} is damaged: its files' checksums do not fit.")
    plain = _without_keys(target)
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), plain)
    try:
        with _checkpointer() as checkpointer:
            arrays = checkpointer.restore(
                path / _ARRAYS, args=ocp.args.PyTreeRestore(item=plain, restore_args=restore_args)
            )
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{path} does not hold what belongs there.") from error
    wanted, got = jax.tree.leaves(plain), jax.tree.leaves(arrays)
    for a, b in zip(wanted, got, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise DamagedError(f"{path} holds {b.dtype}{b.shape} where {a.dtype}{a.shape} belongs.")
    return jax.tree.map(_like, target, arrays)


def save_step(
    folder: Path, step: int, tree: Any, metadata: dict[str, Any], *, keep: int = 2
) -> None:
    """Saves a numbered checkpoint and removes all but the newest `keep`."""
    path = folder / f"step_{step:09d}"
    if path.exists():
        return
    save_tree(path, tree, metadata)
    if parallel.is_primary():
        for old in _steps(folder)[:-keep]:
            shutil.rmtree(old)


def latest_metadata(folder: Path) -> dict[str, Any] | None:
    """The metadata of the newest undamaged checkpoint, or None."""
    for path in reversed(_steps(folder)):
        with contextlib.suppress(DamagedError):
            return load_metadata(path)
    return None


def latest_step(folder: Path, target: Any, metadata: dict[str, Any]) -> tuple[int, Any] | None:
    """The newest undamaged checkpoint as (step, tree), or None.

    A damaged one is named on stderr, set aside as damaged_*, and the one before is taken. Raises
    UserError if the checkpoint is another run's: its metadata differs from `metadata`.
    """
    if parallel.is_primary():
        for stale in folder.glob(".step_*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
        found = _latest(folder, target, metadata)
    parallel.barrier(f"checked {folder}")  # what is damaged is set aside by now
    return found if parallel.is_primary() else _latest(folder, target, metadata)


def _latest(folder: Path, target: Any, metadata: dict[str, Any]) -> tuple[int, Any] | None:
    for path in reversed(_steps(folder)):
        try:
            check_same(load_metadata(path), metadata, path)
            return int(path.name.removeprefix("step_")), load_tree(path, target)
        except DamagedError as error:
            aside = path.with_name(f"damaged_{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(f"{error} Set aside as {aside.name}; going back one checkpoint.", file=sys.stderr)
    return None


def plain(value: Any) -> Any:
    """A JSON value as it comes back from a file."""
    return json.loads(json.dumps(value))


def check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raises UserError naming the settings in which two runs differ."""
    found, wanted = _flat(found), _flat(wanted)
    differing = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
    if differing:
        listing = "; ".join(
            f"{k} is {_short(found.get(k))} there, {_short(wanted.get(k))} here"
            for k in differing[:6]
        )
        raise UserError(
            f"{path} belongs to another run ({listing}); "
            "give the same settings, or choose another folder."
        )


def _checkpointer() -> ocp.Checkpointer:
    """Works within one process, whatever the others do."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )
    if jax.process_count() == 1:
        alone = ocp.options.MultiprocessingOptions()
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:36] + "..."


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix[:-1]: plain(value)}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*"))


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    """PRNG keys as their data; works for arrays and for shapes."""

    def plain(leaf: Any) -> Any:
        if not _is_key(leaf):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.eval_shape(jax.random.key_data, leaf)
        return jax.random.key_data(leaf)

    return jax.tree.map(plain, tree)


def _like(target: Any, array: np.ndarray) -> jax.Array:
    value = jnp.asarray(array)
    return jax.random.wrap_key_data(value) if _is_key(target) else value


def _digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
