"""Jobs on a Slurm cluster, through submitit: submitted, looked up and cancelled.

Nothing waits for them: the state is in the jobs' folders and in Slurm's queue.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dancejax.errors import UserError
from dancejax.runs import jobs
from dancejax.runs.child import Batch, Child
from dancejax.runs.jobs import ALONE, Job, Together

TIMES = 1000
"""How often a job that reaches its time limit is put into the queue again."""


class Options(NamedTuple):
    """How jobs are submitted.

    Attributes:
      minutes: the time limit of a job, after which it is saved and put into the queue again.
      setup: lines of the shell that come before the command.
      sbatch: sbatch's other options, by their long names; True for those without a value.
    """

    minutes: int
    setup: tuple[str, ...]
    sbatch: Mapping[str, str | bool]


def options(file: Path | None, given: Sequence[str]) -> Options:
    """Read sbatch's options.

    Args:
      file: JSON, or lines KEY=VALUE, with sbatch's long names as keys; `setup` may be there several
        times (a list in JSON).
      given: more of these lines, which come after the file's.

    Raises:
      UserError: the file cannot be read, a line is none, or there is no time limit.
    """
    pairs = [*([] if file is None else _pairs_of(file)), *map(_pair, given)]
    sbatch = {name: value for name, value in pairs if name not in ("time", "setup")}
    times = [value for name, value in pairs if name == "time"]
    if not times:
        raise UserError(
            "Slurm needs a time limit for each job: --sbatch=time=MINUTES; what is not finished by "
            "then is saved and goes on."
        )
    setup = tuple(str(value) for name, value in pairs if name == "setup")
    return Options(_minutes(str(times[-1])), setup, sbatch)


def _pairs_of(file: Path) -> list[tuple[str, str | bool]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the options of Slurm in {file} ({error}).") from error
    if not text.lstrip().startswith("{"):
        lines = [line.strip() for line in text.splitlines()]
        return [_pair(line) for line in lines if line and not line.startswith("#")]
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}).") from error
    pairs: list[tuple[str, str | bool]] = []
    for name, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            pairs.append((_name(name), one if one is True else str(one)))
    return pairs


def _pair(line: str) -> tuple[str, str | bool]:
    name, equals, value = line.partition("=")
    return _name(name), value.strip() if equals else True


def _name(text: str) -> str:
    name = text.strip().lstrip("-").replace("-", "_")
    if not re.fullmatch("[a-z][a-z_]+", name):
        raise UserError(f"{text!r} is no option of sbatch; give KEY=VALUE by its long name.")
    return name


def _minutes(text: str) -> int:
    """A time limit as sbatch takes it, in minutes, rounded up."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        raise UserError(f"time={text} is no time limit; give minutes, H:MM:SS or D-H:MM:SS.")
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # MINUTES, or MINUTES:SECONDS
        hours, (minutes, seconds) = 0, [*numbers, 0][:2]
    total = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)
    if total < 1:
        raise UserError(f"time={text} leaves no time; give minutes.")
    return total


def check() -> None:
    """Raise UserError where submitit or Slurm's commands are missing."""
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--engine=slurm needs the package submitit; pip install 'dancejax[slurm]'."
        ) from error
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"there is no {missing[0]} on this machine; give the command where Slurm's are, or "
            "--engine=local."
        )


def queued() -> dict[str, str]:
    """Return the states of the user's jobs in Slurm's queue, by their numbers, as "12" or "12_3".

    Raises:
      UserError: Slurm does not answer.
    """
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i %T"]
    done = _ask(words, "does not say what is queued")
    return dict(line.split() for line in done.splitlines() if line.strip())


def submit(
    parts: Sequence[Job],
    how: Options,
    folder: Path,
    *,
    parallel: int | None,
    say: Callable[[str], object],
    together: Together = ALONE,
) -> list[Job]:
    """Submit the jobs that are neither finished nor queued or running.

    Args:
      parts: all jobs, in an order in which they can run. Those that wait for the same ones are an
        array.
      how: sbatch's options.
      folder: for submitit's files.
      parallel: of those that wait for the same ones, how many run at a time (None: as Slurm likes).
      say: takes what is submitted, in sentences.
      together: how many parts a job of Slurm does.

    Returns:
      Those that were submitted.

    Raises:
      UserError: Slurm refuses them, or what they wait for runs outside of Slurm.
    """
    there = queued()

    def waits(job: Job) -> bool:
        known = jobs.record(job.folder).get("slurm") in there
        return not (known or jobs.finished(job) or jobs.running(job))

    todo = [job for job in parts if waits(job)]
    by_name = {job.name: job for job in parts}
    for after in dict.fromkeys(job.after for job in todo):
        group = jobs.batches([job for job in todo if job.after == after], parts, together)
        needed = [by_name[name] for name in after if not jobs.finished(by_name[name])]
        wait = _dependency("afterok", [*dict.fromkeys(map(_number, needed))])
        for job in [job for batch in group for job in batch.jobs]:
            jobs.forget(job)
        before: list[str] = []
        for array in _arrays(group):
            # With a bound on what runs at a time, one array comes after the other.
            turn = _dependency("afterany", before if parallel else [])
            waits_for = ",".join(filter(None, (wait, turn)))
            found = _submit(array, how, folder, parallel=parallel, after=waits_for)
            for batch, number in zip(array, found, strict=True):
                jobs.note_all(batch, slurm=number)
            say(f"submitted {len(array)} job{'s' if len(array) > 1 else ''}: {', '.join(found)}")
            before = [found[0].partition("_")[0]]
    return todo


def _dependency(kind: str, numbers: Sequence[str]) -> str:
    """What sbatch's --dependency says of these jobs; "" for none."""
    return ":".join([kind, *numbers]) if numbers else ""


def _arrays(group: Sequence[Batch]) -> list[Sequence[Batch]]:
    """Cut what is submitted into arrays that the cluster takes."""
    if len(group) < 2:
        return [group]
    said = _ask(["scontrol", "show", "config"], "does not say how large arrays may be")
    limit = re.search(r"^MaxArraySize\s*=\s*(\d+)", said, flags=re.M)
    size = int(limit[1]) if limit and int(limit[1]) else len(group)
    return [group[start : start + size] for start in range(0, len(group), size)]


def _number(job: Job) -> str:
    """The number of a job in the queue that others wait for."""
    found = jobs.record(job.folder).get("slurm")
    if found is None or jobs.process_of(job.folder) is not None:
        raise UserError(
            f"{job.name} is made by a process outside of Slurm; give the command again when it is "
            "finished."
        )
    return str(found)


def _submit(
    group: Sequence[Batch],
    how: Options,
    folder: Path,
    *,
    parallel: int | None,
    after: str,
) -> list[str]:
    import submitit

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=TIMES)
    own: dict[str, Any] = {"requeue": True, "kill_on_invalid_dep": "yes", **how.sbatch}
    cpus = how.sbatch.get("cpus_per_task")
    executor.update_parameters(
        time=how.minutes,
        setup=[*how.setup],
        job_name="dancejax",
        stderr_to_stdout=True,
        array_parallelism=parallel or len(group),
        additional_parameters=own,
        srun_args=[f"--cpus-per-task={cpus}"] if cpus else [],  # srun does not ask sbatch's
        **({"dependency": after} if after else {}),
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            found = [executor.submit(Child(batch)) for batch in group]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"Slurm refuses the jobs: {_first(str(error))}; check --sbatch.") from error
    return [job.job_id for job in found]


def cancel(parts: Sequence[Job]) -> list[Job]:
    """Have Slurm end the queued and running ones of the jobs; those that run save before.

    Returns:
      Those that Slurm had.
    """
    there = queued()
    found = [job for job in parts if jobs.record(job.folder).get("slurm") in there]
    if found:
        numbers = [jobs.record(job.folder)["slurm"] for job in found]
        _ask(["scancel", *numbers], "does not cancel the jobs")
    return found


def _ask(words: Sequence[str], trouble: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Slurm {trouble} ({error}).") from error
    if done.returncode:
        raise UserError(f"Slurm {trouble} ({_first(done.stderr)}).")
    return done.stdout


def _first(text: str) -> str:
    """The first line that a command of Slurm says, without the command's name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^\w+: (error: )?", "", lines[0]).rstrip(".") if lines else "no reason given"
