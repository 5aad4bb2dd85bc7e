"""Names that users give (classes, data sets), made fit for pictures, tables and file systems.

The artifact itself keeps every name as it was given; what is shown or handed to other tools goes
through here, so that no name can break a format.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

_JOINERS = "\u200c\u200d"
"""Invisible, but part of the spelling in Persian, Hindi and emoji."""
_UNPORTABLE = re.compile(r'[<>:"/\\|?*]')
"""Characters that some file system does not take."""


def clean(text: str) -> str:
    """Return a name on one line, with only characters that every encoding and format can take.

    White space of other kinds, newlines among it, becomes a space; control characters, halves of
    surrogate pairs (bytes of a file name that are not UTF-8) and unassigned ones become U+FFFD.
    """
    text = str(text).strip()
    if text.isprintable():
        return text
    spaced = "".join(" " if c.isspace() else c for c in text)
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in spaced)


def short(text: str, longest: int = 24) -> str:
    """Return `clean(text)` with an ellipsis where it is longer than `longest` characters."""
    text = clean(text)
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def unique(names: Iterable[str]) -> list[str]:
    """Return clean names, not empty, and told apart by a number where cleaning made them equal."""
    found: list[str] = []
    for name in names:
        own = base = clean(name) or "unnamed"
        number = 2
        while own in found:
            own, number = f"{base} ({number})", number + 1
        found.append(own)
    return found


def markdown(text: str) -> str:
    """Return a clean name with the characters escaped that mean something in Markdown or HTML."""
    text = re.sub(r"([\\`*\[\]<>|$~])", r"\\\1", clean(text)).replace("&", "&amp;")
    # Inside a word an underscore is only that.
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def identifier(text: str, longest: int = 60) -> str:
    """Return a name as Python and TFDS want them: a-z, 0-9 and _, beginning with a letter."""
    plain = unicodedata.normalize("NFKD", str(text).lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:longest].strip("_")
    return plain if plain[:1].isalpha() else f"set_{plain}".strip("_")


def folders(classes: Sequence[str]) -> list[str]:
    """Return a folder name for each class such that their alphabetical order is the labels' order.

    The class names themselves where they can be names of folders and are in order already, as
    those that came from folders are; characters that a file system refuses are replaced; all are
    numbered where the order, or two names that a file system may hold for one, asks for it.
    """
    found = [_folder(name) for name in classes]
    kinds = {unicodedata.normalize("NFC", name).casefold() for name in found}
    if found == sorted(found) and len(kinds) == len(found):
        return found
    digits = len(str(len(found) - 1))
    return [f"{number:0{digits}d}_{name}" for number, name in enumerate(found)]


def _folder(name: str) -> str:
    """A class name as a portable folder name of at most 150 bytes, never hidden."""
    plain = _UNPORTABLE.sub("_", clean(name)).encode()[:150].decode(errors="ignore")
    plain = plain.strip(" .") if plain.strip(" .") else "unnamed"
    return plain


_CORESETS = {
    "kcenter": "k-center",
    "kmeans": "k-means",
    "forgetting_least": "forgetting, least first",
}


def coreset(name: str) -> str:
    """Return a coreset's name as people write it; clean, where it is unknown."""
    return _CORESETS.get(name, clean(name))
