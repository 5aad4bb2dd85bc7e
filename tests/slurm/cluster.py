"""A Slurm of one machine for tests, in a folder of its own: as root, without systemd.

    python -m tests.slurm.cluster FOLDER COMMAND...

starts munged, slurmctld and slurmd, runs the command with SLURM_CONF set, and ends the three by
their own process numbers. Debian: apt-get install slurm-wlm munge.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no such cluster here; "" where there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"needs Slurm and munge: {absent[0]} is not installed"
    return "" if os.geteuid() == 0 else "needs root, as which slurmd runs"


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("", 0))
        other.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Have a cluster as long as the body runs; yields the environment of its commands."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(host=host, ports=_free_ports(), folder=folder)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    files = [f"--{name}-file={folder}/munged.{name}" for name in ("log", "pid", "seed")]
    daemons = (
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
         f"--key-file={key}", *files],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    )  # fmt: skip
    started = []
    try:
        for words in daemons:
            with open(folder / f"{words[0]}.out", "wb") as output:
                daemon = subprocess.Popen(
                    words,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    start_new_session=True,  # Slurm's signal their group as they end
                )
                started.append(daemon)
            time.sleep(1)
        _wait_for_node(environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root", "--signal=KILL"], env=environment, check=False)
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _wait_for_node(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"the node does not come up: {done.stdout} {done.stderr}")


if __name__ == "__main__":
    with running(Path(sys.argv[1]).absolute()) as found:
        sys.exit(subprocess.run(sys.argv[2:], env=found, check=False).returncode)
