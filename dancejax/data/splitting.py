"""Splits drawn by content: what an image shows decides on its side, not its place in the list.

One more file, or one less, leaves all others on the side where they were, so that a condensed set
never meets its own training images in the test split of a folder that has grown since. The same
image twice is on one side. Images that are one side of an earlier draw are drawn anew, so that a
part can be divided again.
"""

import hashlib
import itertools

import numpy as np

from dancejax import checks
from dancejax.errors import UserError

TEST_SHARE = 0.2
DIGEST_BYTES = 16
_BY_CHANCE = 1e-6
"""Draws that leave one end of [0, 1) empty, as fewer in a million would, were divided before."""


def image_digests(images: np.ndarray) -> np.ndarray:
    """Compute digests of images' pixels.

    Args:
      images: uint8 [N, H, W, C].

    Returns:
      uint8 [N, 16].
    """
    result = np.empty((len(images), DIGEST_BYTES), np.uint8)
    for row, image in zip(result, images, strict=True):
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES)
        row[:] = np.frombuffer(digest.digest(), np.uint8)
    return result


def content_split(
    digests: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    *,
    seed: int,
    share: float = TEST_SHARE,
) -> dict[str, np.ndarray]:
    """Split 0..N-1 by a seeded draw from each image's digest.

    All draws of one side of an earlier split lie at one end; the next draw of each image is taken
    where that shows (by chance it does in one case of a million, with fewer than 60 images of a
    part of four fifths it does not).

    Args:
      digests: uint8 [N, 16]; equal ones are the same image.
      labels: int [N] in 0..len(classes)-1.
      classes: names, for errors.
      seed: not negative; another seed draws another split.
      share: of the images, for testing: the chance of each, so that a class's share varies.

    Returns:
      Sorted int64 indices {"train", "test"}; each class has at least one image in either.

    Raises:
      UserError: a class has fewer than two different images.
    """
    checks.whole("seed", seed)
    if not 0 < checks.number("share", share) < 1:
        raise UserError(f"The share of test images is {share}; it must lie between 0 and 1.")
    packed = np.ascontiguousarray(digests).view(f"V{DIGEST_BYTES}").reshape(-1)
    distinct, group = np.unique(packed, return_inverse=True)
    draws = _undivided(seed, distinct)
    test = _in_both(draws, draws < share, group, labels, classes)[group]
    return {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}


def _undivided(seed: int, distinct: np.ndarray) -> np.ndarray:
    """The first draws of these images by which they are not one side of an earlier split."""
    for number in itertools.count():
        draws = np.array([_draw(seed, number, digest.tobytes()) for digest in distinct])
        gap = max(draws.min(initial=1), 1 - draws.max(initial=0))
        if (1 - gap) ** len(draws) >= _BY_CHANCE:
            return draws
    raise AssertionError  # for type checkers: the loop has no end


def _draw(seed: int, number: int, digest: bytes) -> float:
    """A number in [0, 1) that seed and content decide, the first one (0) or a later one."""
    prefix = f"{seed} {number} " if number else f"{seed} "
    drawn = hashlib.sha256(prefix.encode() + digest).digest()[:6]
    return int.from_bytes(drawn, "big") / 2**48


def _in_both(
    draws: np.ndarray,
    test: np.ndarray,
    group: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
) -> np.ndarray:
    """Move single images, those nearest to the bound, until each class is on both sides.

    draws, test: of each different image; group: which of them each image is.
    """
    count = len(draws)
    pairs = np.unique(labels.astype(np.int64) * count + group)
    of_class, of_group = pairs // count, pairs % count
    different = np.bincount(of_class, minlength=len(classes))
    if len(few := np.flatnonzero(different < 2)):
        raise UserError(
            f"Class {classes[few[0]]!r} has {different[few[0]]} different image(s), too few to "
            "split into train and test; give at least two, or make the split yourself."
        )
    sides = np.bincount(of_class, test[of_group], len(classes)).astype(np.int64)
    for label in np.flatnonzero((sides == 0) | (sides == different)):
        to_test = sides[label] == 0
        if not (to_test or sides[label] == different[label]):
            continue  # mended by an image that it shares with a class before
        own = of_group[of_class == label]
        for chosen in own[np.argsort(draws[own] if to_test else -draws[own], kind="stable")]:
            sharing = of_class[of_group == chosen]
            after = sides[sharing] + (1 if to_test else -1)
            others = sharing != label
            if ((after > 0) & (after < different[sharing]))[others].all():
                test[chosen] = to_test
                sides[sharing] = after
                break
        else:
            raise UserError(
                f"Class {classes[label]!r} cannot be split into train and test, because its images "
                "are in other classes, too; remove the copies, or make the split yourself."
            )
    return test
