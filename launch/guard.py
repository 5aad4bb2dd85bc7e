"""Where a program meets its user: streams, flags, errors and stops, each said in one sentence."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import lazy_loader
from absl import app, flags, logging

from dancejax import runs, stopping
from dancejax.errors import UserError
from dancejax.runs import backend, integrity, parallel, paths
from dancejax.text import meant
from dancejax.types import Json

from . import begin, deferred, flagtypes, usage

jax = lazy_loader.load("jax")

FLAGS = flags.FLAGS
INSTALLED = __package__ != "launch"
"""Whether the programs are `dancejax NAME` rather than `python -m launch.NAME` in a checkout."""


class _State:
    """What a program knows of itself until it ends."""

    quiet = False
    locks: list[TextIO | None] = []  # noqa: RUF012
    made: list[Path] = []  # noqa: RUF012
    earlier: list[tuple[Path, bytes]] = []  # noqa: RUF012
    aborted: object = None


def spell(text: str) -> str:
    """A sentence with the programs named as they are here, `dancejax NAME` where installed."""
    if not INSTALLED:
        return text
    return re.sub(r"\b(?:python -m )?launch\.([a-z]+)\b", r"dancejax \1", text)


def program() -> str:
    """The name of the program that runs."""
    return Path(sys.argv[0]).stem


def command() -> str:
    """The command that was given, as a user would type it."""
    start = ["dancejax", program()] if INSTALLED else ["python", "-m", f"launch.{program()}"]
    return shlex.join([*start, *sys.argv[1:]])


def quiet(value: bool) -> None:
    """Say and show nothing from here on: another process of the run does."""
    _State.quiet = value


def say(text: str) -> None:
    """Log to stderr; results go to stdout."""
    if not _State.quiet:
        runs.say(spell(text))


def show(result: object) -> None:
    """Print a result, text or JSON, to stdout."""
    if not _State.quiet:
        print(result if isinstance(result, str) else json.dumps(result, indent=2))


def end_dry_run(folder: Path) -> None:
    """Say that nothing is written."""
    say(f"a dry run: nothing is written; the work folder would be {folder}")


def open_workdir(path: Path, config: Json | None = None) -> Path:
    """Make and lock a work folder; config.json, if any, is written when the run begins."""
    workdir = runs.check_workdir(path)
    if config is not None:
        _check_program(workdir, config["command"])
    missing = [p for p in (workdir, *workdir.parents) if not p.exists()]
    runs.open_workdir(workdir)
    _State.made += missing
    _State.locks.append(runs.lock(workdir))
    if config is not None:
        told = workdir / "config.json"
        if told.exists():
            _State.earlier.append((told, told.read_bytes()))
        runs.when_it_begins(lambda: runs.write_json(told, config))
    return workdir


@contextlib.contextmanager
def workdir(path: Path) -> Iterator[None]:
    """Make a work folder, and lock it while the body runs."""
    open_workdir(path)
    lock = _State.locks.pop()
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _check_program(workdir: Path, name: str) -> None:
    """Raise UserError if a folder is another program's, whose settings and results would go."""
    if not (workdir / "config.json").exists():
        return
    try:
        there = runs.read_json(workdir / "config.json")
    except UserError:  # damaged: nothing to lose
        return
    other = there.get("command") if isinstance(there, dict) else None
    if isinstance(other, str) and other != name:
        raise UserError(f"{workdir} holds a run of {other}; choose another --workdir for {name}.")


def _tidy() -> None:
    """Remove the folders that a refused command made and put nothing into."""
    while _State.locks:
        lock = _State.locks.pop()
        if lock is not None:
            lock.close()
    for made in _State.made:
        with contextlib.suppress(OSError):
            if [p.name for p in made.iterdir()] in ([".lock"], []):
                shutil.rmtree(made)


def parse(argv: list[str]) -> list[str]:
    """absl's parsing, with errors as one sentence and status 2; --help is ours, with status 0."""
    if usage.asked(argv):
        print(spell(usage.page(sys.modules["__main__"].__doc__ or "", usage.method_of(argv))))
        sys.exit(0)
    try:
        rest = FLAGS(argv)
        for earlier, name in flagtypes.RENAMED.items():
            if FLAGS[earlier].present:
                say(f"--{earlier} is called --{name} now; the next version takes that name alone")
        return rest
    except flags.Error as error:
        text = " ".join(str(error).split()).removeprefix("ERROR:: ").rstrip(".")
        for words, plain in _PLAIN.items():
            text = re.sub(words, plain, text)
        raise UserError(f"{text}; --help lists the flags.{_meant(text)}") from error
    except stopping.Stopped:
        raise
    except SystemExit:  # after --help, which absl ends with status 1
        sys.exit(0)


_PLAIN = {
    r"flag --(\w+)=None: Flag --\1 must have a value other than None": r"--\1 is missing",
    r"flag (--\w+=.*): invalid literal for int\(\).*": r"\1 is no whole number",
    r"flag (--\w+=.*): could not convert string to float.*": r"\1 is no number",
    r"Unable to open flagfile: \[Errno \d+\] (.*): (.*)": r"cannot read --flagfile=\2 (\1)",
}
"""Python's and absl's words of wrong flags, and what a user needs to know."""


def _meant(text: str) -> str:
    """Which of a flag's values was meant, where absl's error lists them."""
    found = re.search(r"--\w+=(.*): value should be one of <(.+)>", text)
    return meant(found[1], found[2].split("|")) if found else ""


def run(main: Callable[[], None], prepare: Callable[[], None]) -> None:
    """Run a program, and end it with its status: every end but success is said in one sentence.

    prepare: called before main, with the flags parsed.
    """
    begin()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of classes may be any
            stream.reconfigure(errors="backslashreplace")

    def work(argv: list[str]) -> None:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; options are given as --name=value.")
        deferred.load()
        backend.tune_allocator()
        if "DANCEJAX_NO_CACHE" not in os.environ:
            backend.enable_compilation_cache()
        prepare()
        main()
        runs.begin()

    _describe()
    logging.set_verbosity(logging.WARNING)
    sys.exit(_status(lambda: app.run(work, flags_parser=parse)))


def _describe() -> None:
    """Have --help list all flags of ours, and name the programs as they are here."""
    main = sys.modules["__main__"]
    main.__doc__ = spell(main.__doc__ or "")
    for module, own in FLAGS.flags_by_module_dict().items():
        if module.startswith(__package__):
            for flag in own:
                if flag.name in flagtypes.RENAMED:
                    continue
                flag.help = spell(flag.help or "")
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _status(work: Callable[[], None]) -> int:
    """Run the program; its exit status."""
    try:
        try:
            work()
        except stopping.Stopped:
            raise
        except SystemExit as end:
            sys.stdout.flush()
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0
    except integrity.AnotherRunError as error:
        for told, earlier in _State.earlier:  # what the folder holds was not made by this command
            runs.write_bytes(told, earlier)
        _fail(str(error))
    except UserError as error:
        _fail(str(error))
    except (runs.Interrupted, stopping.Stopped) as stopped:
        _tidy()
        stopping.say()
        return 128 + stopped.signum
    except BrokenPipeError:  # the reader of stdout, as head, has seen enough
        _drop_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        _drop_stdout()
        _fail(_of_a_file(error))
    except MemoryError:
        _fail(_OUT_OF_MEMORY)
    except jax.errors.JaxRuntimeError as error:
        if parallel.lost_another(error):
            _fail(_LOST)
            sys.stdout.flush()
            os._exit(2)  # JAX's own end would wait for the others, and dump what it knows
        if not re.search("RESOURCE_EXHAUSTED|[Oo]ut of memory", str(error)):
            raise
        _fail(_OUT_OF_MEMORY)
    return 2


def _of_a_file(error: OSError) -> str:
    """What failed with which file, and what to do."""
    if error.filename is None:
        return f"standard output or a file: {error.strerror or error}; make room for it."
    if isinstance(error, PermissionError):
        return f"{paths.closed(error.filename)}: {error.strerror}; ask for access to it."
    return f"{error.filename}: {error.strerror or error}; make room, or choose another place."


_OUT_OF_MEMORY = (
    "out of memory; choose a smaller --batch_real, --class_chunk, --width, --ipc or data set, or "
    "--placement=host."
)
_LOST = (
    "another process of this run has ended; start them all again by the same command, which goes "
    "on from the last checkpoint."
)


def catch_aborts() -> None:
    """End this process of several with a sentence and status 2, too, where JAX aborts it.

    JAX misses a process that has died or hangs in a thread of its own, and aborts while Python
    waits for the others' results, so that no handler of Python's runs; one of the C library does.
    """
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
    _State.aborted = handler(_aborted)
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, handler), ctypes.c_void_p
    library.signal(signal.SIGABRT, _State.aborted)


def _aborted(signum: int) -> None:
    """Say it without a lock that another thread may hold, and end."""
    sentence = f"error: JAX aborted this process, most likely because {_LOST}"
    os.write(2, f"{spell(sentence)}\n".encode())
    os._exit(2)


def _fail(sentence: str) -> None:
    """Say why the program ends; what it has not begun leaves nothing behind."""
    _tidy()
    runs.say(f"error: {spell(sentence)}")


def _drop_stdout() -> None:
    """Lead what is still to come to stdout nowhere, so that the interpreter's end is quiet."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
