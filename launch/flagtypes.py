"""Kinds of flags whose values are checked as they are parsed: paths, lists, numbers, addresses."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from dancejax import registries
from dancejax.errors import UserError
from dancejax.runs import paths
from dancejax.text import meant


class _Parser(flags.ArgumentParser[Any]):
    """A parser made of a function; what it raises is the sentence that the user reads."""

    def __init__(self, convert: Callable[[Any], Any], kind: str) -> None:
        super().__init__()
        self._convert, self._kind = convert, kind

    def parse(self, argument: Any) -> Any:
        return self._convert(argument)

    def flag_type(self) -> str:
        return self._kind


class _Serializer(flags.ArgumentSerializer[Any]):
    def serialize(self, value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _define(
    name: str,
    default: Any,
    help_text: str,
    convert: Callable[[Any], Any],
    kind: str,
    *,
    required: bool = False,
) -> None:
    flags.DEFINE(
        _Parser(convert, kind),
        name,
        default,
        help_text,
        serializer=_Serializer(),
        required=required,
    )


def define_path(name: str, default: str | None, help_text: str, *, required: bool = False) -> None:
    """Define a flag that is a path: `~` is expanded, an empty one is refused."""
    _define(
        name, default, help_text, lambda x: paths.expand(x, f"--{name}"), "path", required=required
    )


RENAMED: dict[str, str] = {}
"""Flags by the names that they had in an earlier version."""


def rename(earlier: str, name: str) -> None:
    """Let a flag be given by an earlier name, too, which this version takes with a warning."""
    flags.DEFINE_alias(earlier, name)
    RENAMED[earlier] = name


def define_paths(name: str, help_text: str, *, required: bool = False) -> None:
    """Define a flag that is a list of paths, separated by commas."""
    convert = _items(name, "one path or more", lambda x: paths.expand(x, f"--{name}"))
    _define(name, None, help_text, convert, "comma separated list of paths", required=required)


def define_dataset(help_text: str, *, required: bool = False) -> None:
    """Define --dataset, a name or a path; "./cifar10" stays apart from "cifar10"."""

    def convert(text: str) -> str:
        expanded = os.fspath(paths.expand(text, "--dataset"))
        return expanded if text.startswith("~") else text

    _define("dataset", None, help_text, convert, "name or path", required=required)


def define_integers(
    name: str,
    default: Sequence[int] | None,
    help_text: str,
    *,
    lower_bound: int,
    repeats: bool = False,
) -> None:
    """Define a flag that is a list of whole numbers; repeats: the same one may be there twice."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", text) or int(text) < lower_bound:
            raise UserError(f"--{name} must be whole numbers from {lower_bound}, not {text!r}.")
        return int(text)

    chosen = None if default is None else [*map(str, default)]
    _define(
        name,
        chosen,
        help_text,
        _items(name, "one whole number or more", convert, repeats),
        "comma separated list of integers",
    )


def define_choices(
    name: str,
    default: Sequence[str] | None,
    help_text: str,
    choices: Sequence[str],
    *,
    required: bool = False,
) -> None:
    """Define a flag that is a list of some of the choices."""

    def convert(text: str) -> str:
        if text not in choices:
            raise UserError(
                f"--{name} has an unknown entry {text!r}; choose among {', '.join(choices)}."
                f"{meant(text, choices)}"
            )
        return text

    _define(
        name,
        default,
        help_text,
        _items(name, f"some of {', '.join(choices)}", convert),
        "comma separated list",
        required=required,
    )


def define_texts(name: str, help_text: str, *, required: bool = False) -> None:
    """Define a flag that is a list of texts, none of them empty."""
    _define(
        name,
        None,
        help_text,
        _items(name, "one entry or more", str),
        "comma separated list",
        required=required,
    )


def define_networks(name: str, default: str, help_text: str) -> None:
    """Define a flag that is a list of networks, each NAME or NAME:OPTION=VALUE."""

    def convert(text: str) -> str:
        kind, _ = registries.parse_network(text)
        if kind not in registries.NETWORKS:
            known = ", ".join(registries.NETWORKS)
            raise UserError(
                f"--{name}={text} names no network; choose among {known}."
                f"{meant(kind, registries.NETWORKS)}"
            )
        return text

    convert_all = _items(name, "one network or more", convert)
    _define(name, [default], help_text, convert_all, "comma separated list of networks")


class _OneNetwork(flags.EnumParser):
    """The name of a network, where other programs take several."""

    def parse(self, argument: str) -> str:
        if "," in argument:
            raise ValueError(
                "one network is taken here; launch.pretrain and launch.condense take several, in "
                "turns, and launch.cross evaluates on several"
            )
        return str(super().parse(argument))


def define_network(name: str, default: str, choices: Sequence[str], help_text: str) -> None:
    """A flag for the name of one network."""
    flag = flags.EnumFlag(name, default, help_text, list(choices))
    flag.parser = _OneNetwork(list(choices))
    flags.DEFINE_flag(flag)


def define_number(
    name: str,
    default: float | None,
    help_text: str,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Define a flag that is a finite number, above and below the bounds and not under `least`."""
    limits = [f"above {above:g}"] if above > -math.inf else []
    limits += [f"at least {least:g}"] if least > -math.inf else []
    limits += [f"below {below:g}"] if below < math.inf else []
    what = " ".join(["a number", " and ".join(limits)]).strip()

    def convert(text: Any) -> float:
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not (math.isfinite(value) and above < value < below and value >= least):
            raise UserError(f"--{name} must be {what}, not {text!s}.")
        return value

    _define(name, default, help_text, convert, "float")


def define_address(name: str, help_text: str) -> None:
    """Define a flag that is HOST:PORT, or auto."""

    def convert(text: str) -> str:
        found = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^\s:\[\]/]+):([0-9]{1,5})", text)
        if text != "auto" and (found is None or not 0 < int(found[2]) < 65536):
            raise UserError(
                f"--{name} must be HOST:PORT with a port from 1 to 65535, or auto, not {text!r}."
            )
        return text

    _define(name, None, help_text, convert, "HOST:PORT")


def _items(
    name: str, what: str, convert: Callable[[str], Any], repeats: bool = False
) -> Callable[[Any], list[Any]]:
    """A function from "a,b" to the entries: at least one, none of them empty or twice."""

    def parse(text: str | Sequence[str]) -> list[Any]:
        parts = text.split(",") if isinstance(text, str) else [*text]
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        if not any(parts):
            raise UserError(f"--{name} names nothing; give {what}, separated by commas.")
        if not all(parts):
            raise UserError(f"--{name} has an empty entry; give {what}, separated by commas.")
        found = [convert(part) for part in parts]
        twice = next((x for x in found if found.count(x) > 1), None)
        if twice is not None and not repeats:
            raise UserError(f"--{name} names {str(twice)!r} twice; leave one out.")
        return found

    return parse
