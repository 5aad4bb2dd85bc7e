"""Names of every kind in pictures, tables and on disk: nothing fails, and nothing breaks a form."""

import pytest

from dancejax import coreset, methods, names, networks
from dancejax.errors import UserError
from dancejax.exchange import forms
from dancejax.text import meant

ODD = (
    "caf\udce9", "a\nb", "x|y", "$x_1$", "<script>", "\x00\x07", "猫", "👩\u200d🔬", "a/b", "..",
    "**bold**", "`code`", "'quoted\"", "-", "a\u2028b", "\ufeff", "long " * 60,
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_shown_names_fit_every_format(name):
    shown = names.clean(name)
    shown.encode("utf-8")
    assert shown.splitlines() in ([shown], [])
    assert "|" not in names.markdown(name).replace("\\|", "")
    assert "<" not in names.markdown(name).replace("\\<", "")
    assert len(names.short(name)) <= 24
    assert names.identifier(name).isidentifier() and names.identifier(name).isascii()


def test_equal_names_are_told_apart():
    assert names.unique(["a\n", "a", "", " "]) == ["a", "a (2)", "unnamed", "unnamed (2)"]


def test_folders_are_the_class_names_where_their_order_is_the_labels():
    assert names.folders(["ape", "bee", "cat dog"]) == ["ape", "bee", "cat dog"]
    assert names.folders(["bee", "ape"]) == ["0_bee", "1_ape"]
    assert names.folders(["Ape", "ape"]) == ["0_Ape", "1_ape"]


def test_folders_of_odd_names_are_legal_and_in_order():
    folders = names.folders(ODD)
    assert sorted(folders) == folders and len(set(folders)) == len(ODD)
    assert all(len(name.encode()) < 200 and "/" not in name for name in folders)
    assert names.folders(["..", ".hidden"]) == ["0_unnamed", "1_hidden"]


@pytest.mark.parametrize(
    ("given", "found"),
    [("danse", "dance"), ("DM", "dm"), ("con-vnet", "convnet"), ("x_y", "X-y"), ("zebra", None)],
)
def test_a_misspelt_name_is_guessed(given, found):
    hint = meant(given, ("dance", "dm", "convnet", "X-y"))
    assert hint == ("" if found is None else f" Did you mean {found!r}?")


def test_whoever_takes_a_name_guesses_what_was_meant(train):
    calls = {
        "dance": lambda: methods.create("dence", None),
        "resnet18": lambda: networks.create("resnet_18", train),
        "herding": lambda: coreset.choose("heading", train, 1),
        "huggingface": lambda: forms.find("hugging_face"),
    }
    for wanted, call in calls.items():
        with pytest.raises(UserError, match=f"Did you mean '{wanted}'"):
            call()
