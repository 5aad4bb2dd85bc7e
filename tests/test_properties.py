"""Properties that hold for all inputs, over random ones."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dancejax import augment, condensation, condensed, methods, multiformation, runs
from dancejax.condensed import CondensedSet
from dancejax.data import sampling
from dancejax.errors import UserError

FEW = settings(max_examples=15, deadline=None)
FEWER = settings(max_examples=6, deadline=None)  # each is compiled anew
STRATEGIES = st.lists(st.sampled_from(augment.OPERATIONS), unique=True).map("_".join)


@FEW
@given(n=st.integers(1, 3), factor=st.integers(1, 4), side=st.integers(8, 17), seed=st.integers(0))
def test_decoding_keeps_the_range_and_each_tile_apart(n, factor, side, seed):
    rng = np.random.default_rng(seed)
    images = rng.uniform(size=(n, side, side, 1)).astype(np.float32)
    decoded = np.asarray(multiformation.decode(jnp.asarray(images), factor))
    assert decoded.shape == (n * factor**2, side, side, 1)
    low, high = min(images.min(), 0.5), max(images.max(), 0.5)  # 0.5 fills up
    assert low - 1e-6 <= decoded.min() and decoded.max() <= high + 1e-6
    changed = images.copy()
    changed[0, 0, 0] += 1  # the first tile of the first image
    moved = np.abs(np.asarray(multiformation.decode(jnp.asarray(changed), factor)) - decoded)
    assert moved[0].max() > 0.1 and (n * factor**2 == 1 or moved[1:].max() == 0)


@FEWER
@given(strategy=STRATEGIES, mode=st.sampled_from(augment.MODES), seed=st.integers(0, 2**31 - 1))
def test_augmentation_is_affine_finite_and_the_same_for_the_batch(strategy, mode, seed):
    """Every operation is affine in the image, but for the constant of brightness."""
    key = jax.random.key(seed)
    images = jax.random.normal(jax.random.fold_in(key, 1), (3, 10, 12, 3))
    augmented = jax.jit(lambda x: augment.siamese(key, x, strategy, mode))
    out, zero = augmented(images), augmented(0 * images)
    assert out.shape == images.shape and bool(jnp.isfinite(out).all())
    np.testing.assert_allclose(zero[0], zero[1], atol=1e-6)
    mixed = augmented(0.3 * images)
    np.testing.assert_allclose(mixed, 0.3 * out + 0.7 * zero, atol=2e-5)
    alone = augmented(jnp.repeat(images[1:2], 3, 0))  # without the others, in the same program
    np.testing.assert_allclose(alone[0], out[1], atol=1e-6)


@FEWER
@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    batch=st.integers(1, 12),
    seed=st.integers(0, 2**31 - 1),
)
def test_class_batches_are_epochs_without_replacement(counts, batch, seed):
    """Over n draws of a class of n images each is seen once, whatever the batch size."""
    offsets = np.cumsum(counts) - counts
    data = sampling.ClassData(
        jnp.zeros((0, 1, 1, 1), jnp.uint8),
        jnp.repeat(jnp.arange(len(counts)), jnp.array(counts)),
        jnp.array(offsets, jnp.int32),
        jnp.array(counts, jnp.int32),
    )
    classes = jnp.arange(len(counts), dtype=jnp.int32)
    steps = -(-2 * max(counts) // batch)
    key = jax.random.key(seed)
    draw = jax.vmap(lambda step: sampling.class_indices(key, step, data, classes, batch))
    drawn = np.concatenate(jax.jit(draw)(jnp.arange(steps)), 1)
    for label, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        for epoch in range(2):
            seen = drawn[label, epoch * count : (epoch + 1) * count]
            assert sorted(seen) == list(range(offset, offset + count))


@FEW
@given(
    classes=st.integers(2, 4),
    ipc=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    factor=st.integers(1, 3),
    text=st.text(min_size=1, max_size=20) | st.sampled_from(["$\\no$", "猫", "a_b^c"]),
    seed=st.integers(0, 1000),
)
def test_the_artifact_comes_back(classes, ipc, channels, factor, text, seed):
    """Any pixels, names in any script, settings of any JSON kind."""
    rng = np.random.default_rng(seed)
    made = CondensedSet(
        images=rng.normal(size=(classes * ipc, 8, 9, channels)).astype(np.float32),
        labels=np.repeat(np.arange(classes, dtype=np.int32), ipc),
        classes=tuple(f"{text}{i}" for i in range(classes)),
        mean=(0.5,) * channels,
        std=(0.2,) * channels,
        factor=factor,
        method="dm",
        source={"name": text, "fingerprint": "0" * 64, "split": "train"},
        settings={"note": text, "list": [1, None, 2.5], "deep": {"flag": True}},
    )
    with tempfile.TemporaryDirectory() as folder:
        condensed.save(made, Path(folder) / "set")
        found = condensed.load(Path(folder) / "set")
    np.testing.assert_array_equal(found.images, made.images)
    assert condensed.fingerprint(found) == condensed.fingerprint(made)
    assert (found.classes, found.settings, found.source) == (
        made.classes, made.settings, made.source,
    )  # fmt: skip


@pytest.mark.slow
def test_any_damage_to_a_work_folder_is_noticed_or_harmless(tmp_path, capsys, train, network):
    """Each file of a run flipped, cut or removed: the run goes on to the same set, or says so."""
    method = methods.create("dm", network=network, batch_real=4, augmentation="flip")
    workdir = runs.open_workdir(tmp_path)

    def run():
        return condensation.condense(
            method, train, ipc=1, steps=4,
            run=runs.Run(
                workdir, progress=False, log_every=1, checkpoint_seconds=0, picture_every=2
            ),
        )  # fmt: skip

    good = run()
    condensed.save(good, workdir / "condensed")
    kept = {p: p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}
    rng = np.random.default_rng(0)
    outcomes = {"same": 0, "said": 0}
    for number, path in enumerate(kept):
        # The files that a run reads back get all three, the many small ones of Orbax one each.
        read_back = path.parent.name in ("condensed", workdir.name)
        for kind in ("flip", "cut", "remove") if read_back else (("flip", "cut")[number % 2],):
            for other, data in kept.items():
                other.parent.mkdir(parents=True, exist_ok=True)
                other.write_bytes(data)
            for aside in workdir.glob("checkpoints/damaged_*"):
                for file in sorted(aside.rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
                aside.rmdir()
            data = bytearray(kept[path])
            if kind == "remove":
                path.unlink()
            elif kind == "cut" or not data:
                path.write_bytes(data[: len(data) // 2])
            else:
                data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
                path.write_bytes(data)
            try:
                found = run()
                stored = condensed.load(workdir / "condensed")
            except UserError:
                outcomes["said"] += 1
                continue
            outcomes["same"] += 1
            np.testing.assert_array_equal(found.images, good.images)
            assert condensed.fingerprint(stored) == condensed.fingerprint(good)
    # The set's own files cannot be mended; all others are made again or do not matter.
    assert outcomes["said"] >= 3 and outcomes["same"] > 2 * outcomes["said"]
    capsys.readouterr()


def test_a_folder_in_use_is_refused_until_it_is_let_go(tmp_path):
    with (
        runs.lock(tmp_path),
        pytest.raises(UserError, match=r"process \d+"),
    ):
        runs.lock(tmp_path)
    runs.lock(tmp_path).close()


def test_space_is_counted(tmp_path):
    runs.check_space(tmp_path, 10)
    with pytest.raises(UserError, match="MB are needed; make room"):
        runs.check_space(tmp_path, 1e18)
