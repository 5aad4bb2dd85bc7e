"""Where a data set comes from, as its source states it, for what is made of it."""

from typing import NamedTuple


class Provenance(NamedTuple):
    """What a source says of itself; an entry is None where it says nothing."""

    name: str  # of the data set, as the source has it
    licence: str | None = None
    citation: str | None = None
    homepage: str | None = None


def stated(name: str, licence: object, citation: object, homepage: object) -> Provenance:
    """Make an entry for what a library says, in which empty texts stand for nothing."""
    texts = (str(text).strip() if text else "" for text in (licence, citation, homepage))
    return Provenance(name, *(text or None for text in texts))
