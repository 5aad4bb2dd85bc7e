"""Flags of programs whose parts can run side by side, and what these flags ask for.

A program hands its application, a `programs.base.Program`, to `run`. Each part is a job: the
program's own command, with what differs for the part.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader
from absl import flags

from dancejax.applications import forecast
from dancejax.errors import UserError
from dancejax.report import progress
from dancejax.runs import child, folder, jobs, slurm
from dancejax.runs.jobs import Job, State
from dancejax.text import meant

from . import common, flagtypes, guard, usage

jax = lazy_loader.load("jax")

if TYPE_CHECKING:
    from dancejax.applications.programs.base import Program
    from dancejax.data.dataset import Dataset

    from .settings import Work

FLAGS = flags.FLAGS
OWN = (
    "cancel",
    "cells",
    "dry_run",
    "engine",
    "flagfile",
    "parallel",
    "print_commands",
    "sbatch",
    "slurm",
    "status",
    "together",
    "watch",
)
"""Flags that say who makes the parts, which the parts' own commands do not have."""
REFRESH = 5.0
"""Seconds between two looks of --watch."""


@dataclasses.dataclass(frozen=True)
class How:
    """Who makes the parts of a program, or what is asked about them: flags of the same names."""

    engine: str
    parallel: int | None
    together: int | None
    print_commands: bool
    status: bool
    dry_run: bool
    watch: bool
    cancel: bool
    slurm: Path | None
    sbatch: Sequence[str]
    coordinator: str | None
    devices: int | None
    cells: Sequence[str] | None

    def __post_init__(self) -> None:
        if self.parallel is not None and self.engine == "serial":
            raise UserError(
                f"--parallel={self.parallel} is for --engine=local or --engine=slurm; give one of "
                "them, too."
            )
        if self.together is not None and self.engine == "serial" and not self.print_commands:
            raise UserError(
                f"--together={self.together} is for --engine=local, --engine=slurm or "
                "--print_commands; give one of them, too."
            )
        if (self.slurm or self.sbatch) and self.engine != "slurm":
            raise UserError("--slurm and --sbatch are for --engine=slurm; give that, too.")
        if self.watch and not self.status:
            raise UserError("--watch is for --status; give that, too.")
        asked = ("print_commands", "status", "cancel", "dry_run")
        given = [f"--{name}" for name in asked if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} are different things; give one of them.")

    @property
    def computes(self) -> bool:
        """Whether this process makes the parts itself, or tries how fast it would."""
        return self.dry_run or (self.engine == "serial" and not self.looks)

    @property
    def shared(self) -> bool:
        """Whether another process may have the work folder: parts take their own."""
        return self.looks or self.dry_run or self.cells is not None

    @property
    def looks(self) -> bool:
        """Whether parts are listed, looked at or cancelled, so that nothing is made."""
        return self.print_commands or self.status or self.cancel


def run(how: How, work: Work, program: Program) -> None:
    """Do what the flags ask for: all parts, some, by other processes, or a look at them."""

    def begin(train: Dataset | None) -> None:
        common.start(work, program.about, train)

    if how.dry_run:
        _expect(how, work, program)
    elif how.cells is not None:
        _make(how, work, program)
    elif how.computes:
        guard.show(program.make_all(begin))
    elif how.looks:
        stay_on_cpu()
        look(how, work, program)
    else:
        stay_on_cpu()
        check(how)
        begin(program.check())
        states = drive(how, work, _jobs(work, program))
        if text := program.collect():
            guard.show(text)
        end(states)


def _jobs(work: Work, program: Program) -> list[Job]:
    """The parts with their commands."""
    found = []
    for part in program.parts():
        argv = command({"workdir": [work.path], **part.changes, "cells": [part.name]})
        found.append(Job(part.name, part.folder, argv, part.result, part.after))
    return found


def _make(how: How, work: Work, program: Program) -> None:
    """Make the parts that --cells names, each in its folder, which is this process's meanwhile.

    One that cannot be made is an error. Of several it fails alone, and the others are made.
    """
    if not how.computes:
        raise UserError("--cells makes these parts in this process; give it without --engine.")
    names, known = how.cells or (), {job.name: job for job in _jobs(work, program)}
    for name in names:
        if name not in known:
            raise UserError(
                f"--cells names {name!r}, which is none of the parts: {', '.join(known)}."
                f"{meant(name, [*known])}"
            )
    make = program.maker(names)
    failed = []
    for job in [known[name] for name in names]:
        try:
            with guard.workdir(job.folder):
                found = make(job.name)
            if found is not None:
                guard.show(found)
        except UserError as error:
            if len(names) == 1:
                raise
            child.fail(job.folder, 2, str(error))
            failed.append(State(job, "failed", str(error)))
    end(failed)


def _expect(how: How, work: Work, program: Program) -> None:
    """Show the plan and what the parts will take; nothing is written."""
    text, loads = program.plan()
    if text:
        guard.show(f"{text}\n")
    parts = _jobs(work, program)
    done = {job.name: (job.folder / job.result).exists() for job in parts}
    machine, found = forecast.expect(parts, done, loads, how.devices)
    workers = {"serial": 1, "local": _workers(how), "slurm": how.parallel}[how.engine]
    local = how.engine != "slurm"
    guard.show(forecast.table(found, machine, local=local, workers=workers))
    guard.end_dry_run(work.path)


def _workers(how: How) -> int:
    """Processes at a time of --engine=local."""
    return how.parallel or min(2, os.cpu_count() or 1)


@usage.section("Parts side by side, and on Slurm")
def define(examples: str) -> None:
    """Define the flags; examples: of the parts' names, for the help of --cells."""
    flagtypes.define_texts(
        "cells",
        f"make only these parts, by the names of their folders, each in its folder: {examples}",
    )
    flags.DEFINE_enum(
        "engine",
        "serial",
        ["serial", "local", "slurm"],
        "what makes the parts: this process one after another, processes of this machine side by "
        "side, or jobs of a Slurm cluster",
    )
    flags.DEFINE_integer(
        "parallel",
        None,
        "parts at a time: processes of --engine=local, each with a GPU or a share of the cores "
        "(default: 2), or jobs of an array of --engine=slurm (default: as many as Slurm lets run)",
        lower_bound=1,
        upper_bound=1000,
    )
    flags.DEFINE_integer(
        "together",
        None,
        "parts that one process of --engine=local, one job of --engine=slurm or one line of "
        "--print_commands makes one after another at most (default: 1): short ones share its "
        "start, its data and its compiled programs",
        lower_bound=1,
    )
    flagtypes.define_path(
        "slurm",
        None,
        "file with sbatch's options, as JSON or lines KEY=VALUE by their long names (partition, "
        "mem, gpus-per-node, cpus-per-task, account, ...); time is the limit of a job, and setup a "
        "line of the shell before the command, which may be repeated",
    )
    flags.DEFINE_multi_string("sbatch", [], "such a line, KEY=VALUE; may be repeated")
    flags.DEFINE_bool(
        "print_commands", False, "print a command for each part, for any other scheduler, and end"
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "show the parts, what is there, and roughly how long the rest will take on this machine's "
        "devices, by --engine and --parallel, and end",
    )
    flags.DEFINE_bool("status", False, "say where each part stands, and end")
    flags.DEFINE_bool("watch", False, "with --status: again every few seconds, until all are done")
    flags.DEFINE_bool("cancel", False, "have all parts that are under way save and stop, and end")


def read() -> How:
    """What the flags ask for."""
    fields = dataclasses.fields(How)
    values: dict[str, Any] = {field.name: FLAGS[field.name].value for field in fields}
    return How(**values)


def stay_on_cpu() -> None:
    """Keep this process off the accelerators, which are the parts'; before JAX is in use."""
    jax.config.update("jax_platforms", "cpu")


def command(changes: Mapping[str, Sequence[object]]) -> tuple[str, ...]:
    """Return the program's command as it was given, for one part.

    Args:
      changes: values of flags in place of those given, one `--name=value` each.
    """
    words = [sys.executable, "-m", f"{__package__}.{guard.program()}"]
    for name in sorted(set(FLAGS) - flagtypes.RENAMED.keys() - {*OWN} - changes.keys()):
        flag = FLAGS[name]
        if flag.present and isinstance(flag, flags.MultiFlag):
            words += [f"--{name}={value}" for value in flag.value or ()]
        elif flag.present and flag.value is not None:
            words.append(flag.serialize())
    words += [f"--{name}={value}" for name, values in changes.items() for value in values]
    return tuple(words)


def look(how: How, work: Work, program: Program) -> None:
    """List, look at or cancel parts; nothing is made and no data is read."""
    parts = _jobs(work, program)
    if how.print_commands:
        guard.show("\n".join(jobs.commands(parts, _together(how, work))))
    elif how.cancel:
        _cancel(parts, work.path)
    else:
        _status(how, parts, work.path, program)


def _together(how: How, work: Work) -> jobs.Together:
    """How many parts a process makes, by the command as it was given."""
    return jobs.Together(how.together or 1, command({"workdir": [work.path]}))


def _cancel(parts: Sequence[Job], workdir: Path) -> None:
    """Stop the process that starts the parts, then those that are left, and jobs of Slurm."""
    stopped = jobs.cancel([workdir])
    if stopped:
        guard.say("the process that starts the parts stops them, and itself, when they have saved")
        return
    found = [path.name for path in jobs.cancel([job.folder for job in parts])]
    if any("slurm" in jobs.record(job.folder) for job in parts):
        slurm.check()
        found += [job.name for job in slurm.cancel(parts)]
    guard.say(f"cancelled: {', '.join(found)}" if found else "nothing is under way")


def _status(how: How, parts: Sequence[Job], workdir: Path, program: Program) -> None:
    watch = progress.Watch([workdir])
    while True:
        states = [_with_more(state, watch, program) for state in _states(parts)]
        if how.watch and sys.stdout.isatty():
            guard.show("\x1b[2J\x1b[H")
        guard.show(_listing(states))
        if not how.watch or all(state.word in ("finished", "failed") for state in states):
            return
        sys.stdout.flush()
        time.sleep(REFRESH)


def _states(parts: Sequence[Job]) -> list[State]:
    """Where all parts stand; Slurm is asked only where it was given some."""
    on_slurm = any("slurm" in jobs.record(job.folder) for job in parts)
    if on_slurm:
        slurm.check()
    queued = slurm.queued() if on_slurm else {}
    return [jobs.state(job, queued) for job in parts]


def _with_more(state: State, watch: progress.Watch, program: Program) -> State:
    """Say what a finished part came to, and how far one without a log of its own is."""
    if state.word == "finished":
        result = folder.read_json(state.job.folder / state.job.result)
        return state._replace(text=program.describe(state.job.name, result))
    if state.word != "running" or state.text:
        return state
    for seen in watch.look():
        if Path(seen.name).is_relative_to(state.job.folder):
            steps = f"{seen.kind}: {seen.step}" + (f"/{seen.steps}" if seen.steps else "")
            rate = [f"{seen.rate:.3g}/s"] if seen.rate else []
            left = [f"{seen.left} left"] if seen.left else []
            return state._replace(text=", ".join([steps, *rate, *left]))
    return state


def _listing(states: Sequence[State]) -> str:
    width = max(len(state.job.name) for state in states)
    lines = [f"{s.job.name:<{width}}  {s.word:<8}  {s.text}".rstrip() for s in states]
    words = [state.word for state in states]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return "\n".join([*lines, "", ", ".join(counts)])


def drive(how: How, work: Work, parts: Sequence[Job]) -> list[State]:
    """Have the parts made by processes of this machine, or submit them to Slurm.

    Returns:
      Where each part stands at the end.
    """
    workdir, together = work.path, _together(how, work)
    if how.engine == "local":
        jobs.note(workdir, sys.orig_argv)
        return jobs.run(parts, _workers(how), say=guard.say, together=together)
    options, own = slurm.options(how.slurm, how.sbatch), workdir / "slurm"
    slurm.submit(parts, options, own, parallel=how.parallel, say=guard.say, together=together)
    return _states(parts)


def check(how: How) -> None:
    """Raise UserError for what `drive` cannot do here, before anything is written."""
    if how.coordinator is not None:
        raise UserError(f"--engine={how.engine} starts processes itself; leave --coordinator out.")
    if how.engine == "local":
        jobs.places(how.parallel or 1)
    else:
        slurm.check()
        slurm.options(how.slurm, how.sbatch)


def end(states: Sequence[State]) -> None:
    """Say what failed, and end the program with status 1 if something did."""
    failed = [state for state in states if state.word == "failed"]
    for state in failed:
        guard.say(f"failed: {state.job.name}: {state.text} (log: {jobs.log_folder(state.job)})")
    if failed:
        sys.exit(1)
