"""Trees of arrays on disk: Orbax for the arrays, a checksum manifest of our own beside them.

The only module that calls Orbax. Orbax writes atomically, but it restores flipped bytes without a
word and does not fall back from a broken newest step; both are done here.
"""

import contextlib
import hashlib
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from dancejax import runs
from dancejax.errors import UserError
from dancejax.runs import parallel
from dancejax.runs.integrity import FORMAT, DamagedError, check_same, read_manifest, seal
from dancejax.types import Json, Record, Tree

_BESIDE = 2**18
"""Bytes of a checkpoint beside its arrays: Orbax's index and the manifest, in many files."""
_MANIFEST, _ARRAYS = "manifest.json", "arrays"


class Saved(NamedTuple):
    """A checkpoint as it is read back."""

    step: int
    tree: Any
    metadata: dict[str, Any]


def save_tree(path: Path, tree: Tree, metadata: Json) -> None:
    """Write a tree of arrays and JSON metadata to the folder `path`, atomically.

    What is there already is left alone. With several processes all of them call it, the first one
    looks and writes, and all return once it has.

    Raises:
      UserError: the system refuses, in every process.
    """
    path = path.absolute()
    arrays = parallel.fetch(_without_keys(tree))

    def write() -> None:
        if not path.exists():
            _write_tree(path, arrays, metadata)

    parallel.primary_says(write)


def _write_tree(path: Path, arrays: Any, metadata: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    # Orbax, cut short in the middle, has its threads write tracebacks to stderr.
    there = next(p for p in path.parents if p.exists())
    runs.check_space(there, sum(x.nbytes for x in jax.tree.leaves(arrays)) + _BESIDE)
    try:
        temporary.mkdir(parents=True)
        with _checkpointer() as checkpointer:
            checkpointer.save(temporary / _ARRAYS, args=ocp.args.PyTreeSave(arrays))
        files = _digests(temporary / _ARRAYS)
        manifest = {"format": FORMAT, "metadata": metadata, "sha256": files}
        runs.write_json(temporary / _MANIFEST, seal(manifest))
        temporary.rename(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot save to {path} ({reason}); is the disk full or read-only?"
        ) from error
    finally:  # nothing is there any more where it became the tree
        shutil.rmtree(temporary, ignore_errors=True)


def load_metadata(path: Path) -> Json:
    """The JSON metadata that was saved with a tree."""
    manifest = read_manifest(path / _MANIFEST)
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {manifest.get('format')!r}; this version reads format {FORMAT}."
        )
    return manifest["metadata"]


def load_tree(path: Path, target: Tree, *, cut: bool = False) -> Tree:
    """Read a tree and verify every byte.

    Args:
      path: what `save_tree` wrote.
      target: arrays or ShapeDtypeStructs of the structure, shapes and types that are wanted.
      cut: take the first entries where a stored leading axis is longer than the wanted one.

    Returns:
      A tree like `target`.

    Raises:
      DamagedError: a file is missing or has changed.
      UserError: the tree is whole, but of another structure, shape or type.
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
        raise UserError(
            f"{path} is whole, but holds other arrays than those asked for; it was written for "
            "another network or by another version: give the same settings, or another folder."
        ) from error
    if cut:
        arrays = jax.tree.map(
            lambda a, b: b[: a.shape[0]] if a.shape and b.shape else b, plain, arrays
        )
    wanted, got = jax.tree.leaves(plain), jax.tree.leaves(arrays)
    for a, b in zip(wanted, got, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise UserError(
                f"{path} holds {b.dtype}{list(b.shape)} where {a.dtype}{list(a.shape)} is asked "
                "for; give the same settings, or choose another folder."
            )
    return jax.tree.map(_like, target, arrays)


def save_step(folder: Path, step: int, tree: Tree, metadata: Json, *, keep: int = 2) -> None:
    """Save a numbered checkpoint and remove all but the newest `keep`."""
    save_tree(folder / f"step_{step:09d}", tree, metadata)
    if parallel.is_primary():
        for old in _steps(folder)[:-keep]:
            shutil.rmtree(old)


def clear(folder: Path) -> None:
    """Remove all checkpoints of a folder, and the folder if it holds nothing else."""
    for pattern in ("step_?????????", ".step_*.tmp", "damaged_step_*"):
        for old in folder.glob(pattern):
            shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def latest_metadata(folder: Path) -> Json | None:
    """The metadata of the newest undamaged checkpoint, or None; the first process looks."""

    def find() -> dict[str, Any] | None:
        for path in reversed(_steps(folder)):
            with contextlib.suppress(DamagedError):
                return load_metadata(path)
        return None

    return parallel.primary_says(find)


def latest_step(
    folder: Path,
    target: Tree,
    metadata: Json,
    *,
    missing: Record | None = None,
    ignored: Collection[str] = (),
    cut: bool = False,
) -> Saved | None:
    """Read the newest undamaged checkpoint.

    A damaged one is named on stderr, set aside as damaged_*, and the one before is taken; one that
    is whole but does not fit is left where it is. With several processes the first one looks.

    Args:
      folder: where `save_step` put its checkpoints.
      target: see `load_tree`, as for `cut`.
      metadata: what the run is; the checkpoint's has to be the same.
      missing: see `integrity.check_same`.
      ignored: likewise.
      cut: see `load_tree`.

    Returns:
      The checkpoint, or None where there is none.

    Raises:
      UserError: the checkpoint is another run's, or has another structure.
    """
    found: Saved | None = None

    def look() -> int | None:
        nonlocal found
        for stale in folder.glob(".step_*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
        for path in reversed(_steps(folder)):
            try:
                stored = load_metadata(path)
                check_same(stored, metadata, path, missing=missing, ignored=ignored)
                found = Saved(_number(path), load_tree(path, target, cut=cut), stored)
                return found.step
            except DamagedError as error:
                _set_aside(path, error)
        return None

    step = parallel.primary_says(look)
    if step is not None and found is None:  # not the first process
        path = folder / f"step_{step:09d}"
        found = Saved(step, load_tree(path, target, cut=cut), load_metadata(path))
    return found


def _set_aside(path: Path, error: DamagedError) -> None:
    aside = path.with_name(f"damaged_{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    print(f"{error} Set aside as {aside.name}; going back one checkpoint.", file=sys.stderr)


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


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
