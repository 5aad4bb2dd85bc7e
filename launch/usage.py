"""What --help shows: a program's flags in sections, those of one method where one is named."""

from __future__ import annotations

import functools
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, ParamSpec

from absl import flags

from . import flagtypes

FLAGS = flags.FLAGS
OWN = "This program"
"""The section of flags that no other is for."""
_KINDS = {"int": "N", "float": "X", "string": "TEXT", "path": "PATH", "name or path": "DATA"}
_LONGEST_KIND = 48
_Given = ParamSpec("_Given")


class MethodFlag(NamedTuple):
    """A flag that is a setting of methods.

    Attributes:
      meaning: without methods and defaults.
      defaults: by method, for those that have it; what holds where no preset says otherwise.
    """

    meaning: str
    defaults: dict[str, object]


class _State:
    """What the program defined, as it stands when it is started."""

    sections: ClassVar[dict[str, list[str]]] = {}
    settings: ClassVar[dict[str, MethodFlag]] = {}


def section(title: str) -> Callable[[Callable[_Given, None]], Callable[_Given, None]]:
    """Decorate a function so that the flags it defines stand under a title."""

    def decorate(define: Callable[_Given, None]) -> Callable[_Given, None]:
        @functools.wraps(define)
        def defining(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
            before = set(FLAGS)
            define(*args, **kwargs)
            taken = {name for names in _State.sections.values() for name in names}
            new = [name for name in FLAGS if name not in before | taken]
            _State.sections.setdefault(title, []).extend(new)

        return defining

    return decorate


def setting(name: str, meaning: str, defaults: dict[str, object]) -> None:
    """Note that a flag is a setting of methods, as `MethodFlag` has it."""
    _State.settings[name] = MethodFlag(meaning, defaults)


def page(about: str, method: str | None = None) -> str:
    """A program's help.

    Args:
      about: what it does.
      method: shows the settings of this method alone, with its defaults.
    """
    own = _own_flags()
    placed = {name for names in _State.sections.values() for name in names}
    sections = {OWN: [name for name in own if name not in placed], **_State.sections}
    if not any(method in flag.defaults for flag in _State.settings.values()):
        method = None
    parts = [about.strip(), ""]
    for title, names in sections.items():
        lines = [line for name in names if name in own for line in _lines(own[name], method)]
        if lines:
            parts += [title, "-" * len(title), *lines, ""]
    if _State.settings and method is None and "method" in own:
        parts += ["--method=NAME --help shows the settings of one method, with its defaults.", ""]
    parts += ["--flagfile=FILE reads flags from a file, a flag in each line."]
    return "\n".join(parts)


def asked(argv: Sequence[str]) -> bool:
    """Whether the arguments ask for help."""
    return bool({"-h", "--help", "-help", "--helpshort"} & set(argv))


def method_of(argv: Sequence[str]) -> str | None:
    """The method that arguments name, without parsing the rest."""
    found = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "method":
            found = value if equals else following
    return found


def _own_flags() -> dict[str, flags.Flag[Any]]:
    """The flags that modules of ours define, in the order of definition."""
    modules = FLAGS.flags_by_module_dict()
    own = {
        flag.name
        for module, found in modules.items()
        if module.startswith(str(__package__)) or module == sys.argv[0]
        for flag in found
    }
    return {name: FLAGS[name] for name in FLAGS if name in own and name not in flagtypes.RENAMED}


def _lines(flag: flags.Flag[Any], method: str | None) -> list[str]:
    """A flag with its meaning, indented; none where it is another method's."""
    about = flag.help or ""
    if flag.name in _State.settings and method is not None:
        meaning, defaults = _State.settings[flag.name]
        if method not in defaults:
            return []
        else_ = "" if defaults[method] is None else f", else {_shown(defaults[method])}"
        about = f"{meaning} (default: the preset's{else_})"
    elif flag.default is not None and not flag.boolean and "default" not in about:
        about = f"{about} (default: {_shown(flag.default)})"
    values = getattr(flag.parser, "enum_values", None)
    if values:  # absl puts them in front
        about = about.removeprefix(f"<{'|'.join(values)}>: ")
    if values and len("|".join(values)) > _LONGEST_KIND:
        about = f"{about}; one of {', '.join(values)}"
    head = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}={_kind(flag, values)}"
    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    indent = " " * 6
    body = textwrap.wrap(
        about, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return [head, *body]


def _kind(flag: flags.Flag[Any], values: Sequence[str] | None) -> str:
    """What a flag's value looks like."""
    if values:
        listed = "|".join(map(str, values))
        return listed if len(listed) <= _LONGEST_KIND else "NAME"
    kind = flag.flag_type()
    return _KINDS.get(kind, "A,B,..." if "list" in kind else kind)


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
