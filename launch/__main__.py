"""The programs of dancejax under one name: `dancejax NAME`, or `python -m launch NAME`."""

import runpy
import sys
from pathlib import Path

PROGRAMS = {
    "demo": "three experts, DANCE at 10 images per class and its evaluation, on embedded images",
    "pretrain": "train a pool of experts",
    "condense": "condense a data set",
    "select": "choose a coreset of real images",
    "evaluate": "train networks on a condensed set, a coreset or the whole set, and test them",
    "sweep": "run a grid of methods, IPCs and seeds, one table",
    "cross": "evaluate condensed sets on several networks, one table",
    "report": "write what runs measured beside the papers' numbers, as HTML, Markdown and CSV",
    "export": "write a condensed set in forms that other tools read",
    "picture": "draw a run: before and after, its evolution, its features beside real ones",
    "doctor": "say what this machine offers and what is missing",
    "convert": "turn someone else's condensed set into ours",
}


def main() -> None:
    usage = "usage: dancejax PROGRAM [--help] [flags]\n\n" + "".join(
        f"  {name:<10} {text}\n" for name, text in PROGRAMS.items()
    )
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "--helpshort"):
        print(usage)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    name = sys.argv.pop(1)
    if name not in PROGRAMS:
        print(f"error: there is no program {name!r}.\n{usage}", file=sys.stderr)
        sys.exit(2)
    package = __package__ or Path(__file__).parent.name
    runpy.run_module(f"{package}.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
