"""The papers' settings by method, data set size and IPC, in one place."""

import dataclasses
from typing import Any

from dancejax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Preset:
    """How a paper runs a method: iterations, evaluation protocol, fields of the method's Config."""

    steps: int
    protocol: str
    config: dict[str, Any]


def paper(method: str, *, image_side: int, ipc: int) -> Preset:
    """The published settings for images of a side and an IPC (METHODS: sections 2 to 5)."""
    large = image_side >= 128
    if method == "dance":
        config = {"factor": 3 if large else 2, "learning_rate": (0.1 if large else 0.01) * ipc}
        return Preset(10_000, "dance", config)
    raise UserError(f"there is no preset for {method!r}.")
