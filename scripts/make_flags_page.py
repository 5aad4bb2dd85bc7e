"""Writes docs/flags.md from what the programs say of their flags.

python scripts/make_flags_page.py
"""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "flags.md"
HEAD = """# Flags

Given as `--name=value`, or `--name` and `--noname` for true and false. `--flagfile=FILE` reads
them from a file, a flag in each line. `python -m launch.NAME --help` shows the flags of a program.
Made by `python scripts/make_flags_page.py`.
"""
Flag = tuple[str, str, str]


def flags_of(program: str) -> list[Flag]:
    """(name, default, meaning) of a program's own flags."""
    done = subprocess.run(
        [sys.executable, "-m", f"launch.{program}", "--helpxml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = []
    for flag in ElementTree.fromstring(done.stdout).iter("flag"):
        if flag.findtext("key") == "yes":
            meaning = flag.findtext("meaning", "")
            default = flag.findtext("default", "").strip("'").replace("None", "")
            found.append((flag.findtext("name", ""), default, " ".join(meaning.split())))
    return found


def page() -> str:
    """The page: flags that the same programs share stand together."""
    modules = sorted((ROOT / "launch").glob("*.py"))
    programs = [m.stem for m in modules if "common.run(" in m.read_text() and m.stem != "common"]
    users: dict[Flag, list[str]] = defaultdict(list)
    for program in programs:
        for flag in flags_of(program):
            users[flag].append(program)
    groups: dict[tuple[str, ...], list[Flag]] = defaultdict(list)
    for flag, names in users.items():
        groups[tuple(names)].append(flag)
    parts = [HEAD]
    for names, own in sorted(groups.items(), key=lambda item: (-len(item[0]), item[0])):
        title = "All programs" if len(names) == len(programs) else ", ".join(names)
        lines = [f"## {title}", "", "| flag | default | meaning |", "|---|---|---|"]
        for name, default, meaning in sorted(own):
            shown = f"`{default}`" if default else ""
            lines.append(f"| `--{name}` | {shown} | {meaning.replace('|', ', ')} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
