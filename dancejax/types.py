"""Names for what has no narrower type."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object."""
Record: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read."""
Tree: TypeAlias = Any
"""A pytree of arrays: nested tuples, lists, dicts and dataclasses of them."""
