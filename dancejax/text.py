"""Names and sentences that every terminal, file and picture can take."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REPLACEMENT = "\ufffd"
_MOST_BYTES = 200
_KEPT_BYTES = 180


def printable(text: str) -> str:
    """Replace what is not text: control characters, line breaks, bytes that are not UTF-8.

    Args:
      text: any string, lone surrogates (as in file names that are not UTF-8) included.

    Returns:
      The text with U+FFFD in their place; it can be encoded as UTF-8 and takes one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _REPLACEMENT if c in _DIRECTIONS or unicodedata.category(c) in _CATEGORIES else c
        for c in text
    )


def printable_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make names printable and short enough for a file name, each still different from the others.

    Args:
      names: different from each other.

    Returns:
      The names in their order. Those that need no change are kept, and so is a second pass's
      result: the function is idempotent.
    """
    safe = [_shortened(printable(name)) for name in names]
    taken = {name for name, original in zip(safe, names, strict=True) if name == original}
    result = []
    for name, original in zip(safe, names, strict=True):
        found, number = name, 2
        while name != original and found in taken:
            found, number = f"{name} ({number})", number + 1
        taken.add(found)
        result.append(str(found))
    return tuple(result)


def meant(given: str, names: Iterable[str]) -> str:
    """Return " Did you mean NAME?" for the name that a misspelt one is closest to, "" without any.

    Case does not matter, nor "-" for "_".
    """
    plain = {name.lower().replace("-", "_"): name for name in names}
    close = difflib.get_close_matches(given.lower().replace("-", "_"), plain, n=1)
    return f" Did you mean {plain[close[0]]!r}?" if close else ""


def _shortened(name: str) -> str:
    """Cut a name to what every file system takes, with something put before or after it."""
    data = name.encode()
    if len(data) <= _MOST_BYTES:
        return name
    return data[:_KEPT_BYTES].decode(errors="ignore") + "…"


def accuracy(mean: float, std: float, networks: int, digits: int = 2) -> str:
    """Return "MEAN +- STD %" of accuracies in percent; a single network has no deviation."""
    text = f"{mean:.{digits}f}"
    return f"{text} +- {std:.{digits}f} %" if networks > 1 else f"{text} %"
