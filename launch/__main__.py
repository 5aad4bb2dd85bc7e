"""The programs of dancejax under one name: `dancejax NAME`, or `python -m launch NAME`."""

import contextlib
import os
import re
import runpy
import subprocess
import sys

from dancejax import __version__
from dancejax.text import meant

from . import begin

PROGRAMS = {
    "demo": "two experts, DANCE at 10 images per class and its evaluation, on embedded images",
    "pretrain": "train a pool of experts",
    "condense": "condense a data set",
    "select": "choose a coreset of real images",
    "evaluate": "train networks on a condensed set, a coreset or the whole set, and test them",
    "label": "give a condensed set soft labels by experts",
    "sweep": "run a grid of methods, IPCs and seeds, one table",
    "cross": "evaluate condensed sets on several networks, one table",
    "continual": "learn classes step by step with a condensed memory, one table",
    "nas": "search for the best network with small sets, one table",
    "analyse": "measure what condensed sets have in common with the real images, with plots",
    "report": "write what runs measured beside the papers' numbers, as HTML, Markdown and CSV",
    "export": "write a condensed set in forms that other tools read",
    "picture": "draw a run: before and after, its evolution, its features beside real ones",
    "doctor": "say what this machine offers and what is missing",
    "convert": "turn someone else's condensed set into ours",
}
COMPLETION = """\
# Completes programs and flags of dancejax; bash: eval "$(dancejax completion)", zsh: autoload -U
# +X bashcompinit && bashcompinit before it.
_dancejax() {
  local word=${COMP_WORDS[COMP_CWORD]} flags=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "%s help completion" -- "$word"))
    return
  fi
  case ${COMP_WORDS[1]} in
%s
  esac
  COMPREPLY=($(compgen -W "$flags" -- "$word"))
}
complete -o default -o nospace -F _dancejax dancejax
"""
HELP = ("-h", "-help", "--help", "--helpshort", "help")


def usage() -> str:
    """The programs, a line each."""
    start = "python -m launch" if __package__ == "launch" else "dancejax"
    lines = [
        f"usage: {start} PROGRAM [flags]",
        f"       {start} help PROGRAM",
        f"       {start} completion",
        "",
    ]
    lines += [f"  {name:<10} {text}" for name, text in PROGRAMS.items()]
    return "\n".join(
        [*lines, "", "--help after a program lists its flags; --version: the version."]
    )


def completion() -> str:
    """A script for bash and zsh, of what the programs say of their flags."""
    asked = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{name}", "--help"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in PROGRAMS
    }
    cases = []
    for name, process in asked.items():
        text, _ = process.communicate()
        found = re.findall(r"^  --(\[no\])?(\w+)(=?)", text, re.MULTILINE)
        words = [f"--{word}{equals}" for _, word, equals in found]
        words += [f"--no{word}" for no, word, _ in found if no]
        cases.append(f'    {name}) flags="{" ".join(sorted(words))}" ;;')
    return COMPLETION % (" ".join(PROGRAMS), "\n".join(cases))


def show(text: str) -> int:
    """Print to a reader that may have seen enough, as head; returns the exit status."""
    try:
        print(text, flush=True)
        return 0
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        print(f"error: standard output takes nothing ({error.strerror}).", file=sys.stderr)
        return 2


def main() -> None:
    begin()
    words = sys.argv[1:]
    if not words:
        show(usage())
        sys.exit(2)
    if words[0] in HELP and len(words) > 1 and not words[1].startswith("-"):
        words = [words[1], "--help"]
    if words[0] in HELP:
        sys.exit(show(usage()))
    if words[0] == "completion":
        sys.exit(show(completion()))
    if words[0] in ("--version", "-V", "version"):
        sys.exit(show(f"dancejax {__version__}"))
    name = words[0]
    if name not in PROGRAMS:
        hint = meant(name, PROGRAMS)
        print(f"error: there is no program {name!r}.{hint}\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    sys.argv[1:] = words[1:]
    runpy.run_module(f"{__package__}.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
