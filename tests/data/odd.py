"""What tests of generated data sets share: how they are drawn, and what holds for every set."""

import contextlib
import io
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from dancejax.data import Dataset
from dancejax.errors import UserError

_FEW, _MANY = 60, 250


def both(test: Callable[[st.DataObject], None]) -> Callable[..., None]:
    """The test on drawn data, with few examples, and as a slow one with many."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    def of(count: int) -> Any:
        # Each count decorates a function of its own.
        drawn = given(st.data())(lambda data: test(data))
        return settings(
            max_examples=count,
            deadline=None,
            suppress_health_check=health,
            database=None,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
        )(drawn)

    marks = [pytest.param(_FEW), pytest.param(_MANY, marks=pytest.mark.slow)]

    @pytest.mark.parametrize("examples", marks)
    def run(examples: int) -> None:
        of(examples)()

    run.__doc__ = test.__doc__
    return run


def loaded(read: Callable[[str], Dataset]) -> dict[str, Dataset] | str:
    """Both splits, or the sentence that refuses either."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            parts = {split: read(split) for split in ("train", "test")}
        assert all(map(is_text, said.getvalue().split("\n")))
        return parts
    except UserError as error:
        sentence = str(error)
        assert is_text(sentence) and len(sentence) < 2000, sentence
        assert sentence.endswith((".", '"')) or "download_and_prepare" in sentence, sentence
        return sentence


def is_text(text: str) -> bool:
    """Whether a text takes one line and can be encoded."""
    kinds = {unicodedata.category(c) for c in text}
    return not kinds & {"Cc", "Cs", "Zl", "Zp"} and bool(text.encode()) is bool(text)


def content(*parts: Dataset) -> Counter[tuple[int, bytes]]:
    """How often each image is there with each class."""
    return Counter(
        (int(label), image.tobytes())
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    )


def check(parts: dict[str, Dataset], classes: int) -> None:
    """What holds for every set."""
    train, test = parts["train"], parts["test"]
    assert train.classes == test.classes and len(set(train.classes)) == classes
    assert all(name and is_text(name) for name in train.classes)
    assert train.image_shape == test.image_shape
    assert (train.class_counts > 0).all()
