"""A Slurm of one machine for tests, in a folder of its own: as root, without systemd.

    python -m tests.slurm.cluster FOLDER COMMAND...

starts munged, slurmctld and slurmd, runs the command with SLURM_CONF set, and ends the three by
their own process numbers. Debian: apt-get install slurm-wlm munge.
"""

import contextlib
import os
import secrets
import shutil
import signal
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


class Cluster:
    """A cluster at work.

    Attributes:
      environment: of its commands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")
        }  # fmt: skip

    def call(self, *words: str) -> str:
        """Give a command of Slurm, again while it is to be tried later; return what it writes."""
        for _ in range(60):
            done = subprocess.run(
                words, env=self.environment, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return done.stdout
            if "try again later" not in done.stderr:
                break
            time.sleep(1)
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")

    def start(self, *words: str, within: tuple[str, ...] = ()) -> None:
        """Start one of its daemons, within another command that turns into it."""
        with open(self._folder / f"{words[0]}.out", "ab") as output:
            self._started[words[0]] = subprocess.Popen(
                (*within, *words),
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,  # Slurm's signal their group as they end
            )
        time.sleep(1)

    def wait_for_node(self) -> None:
        """Wait until the node takes jobs."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = self.call("sinfo", "--noheader", "--format=%T").strip()
            if found in ("idle", "mixed", "allocated"):
                return
            time.sleep(0.5)
        raise RuntimeError(f"the node does not come up: {found}")

    def fail_node(self) -> None:
        """Kill slurmd with all jobs, as a machine does that loses its power, and start it again."""
        daemon = self._started["slurmd"]
        for number in [daemon.pid, *self._of_jobs()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        daemon.wait()
        self.call("scontrol", "update", f"NodeName={_host()}", "State=DOWN", "Reason=failed")
        self.start("slurmd", "-D")
        self.wait_for_node()  # ReturnToService=2 takes it back

    @contextlib.contextmanager
    def hidden(self, path: Path) -> Iterator[None]:
        """Have a folder be another one on the node than here, as where nodes do not share it."""
        script = f'mount -t tmpfs tmpfs "{path}" && exec "$@"'
        self._begin_again("unshare", "--mount", "sh", "-c", script, "sh")
        yield
        self._begin_again()

    def _begin_again(self, *within: str) -> None:
        daemon = self._started["slurmd"]
        daemon.terminate()
        daemon.wait()
        self.start("slurmd", "-D", within=within)
        self.wait_for_node()

    def _of_jobs(self) -> list[int]:
        """All processes of its jobs, those of Slurm that watch over them first."""
        own, found = f"SLURM_CONF={self._folder / 'slurm.conf'}".encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "environ").read_bytes().split(b"\0")
                watches = (path / "comm").read_text().strip() == "slurmstepd"
                if own in words and watches:
                    found.insert(0, int(path.name))
                elif own in words and any(word.startswith(b"SLURM_JOB_ID=") for word in words):
                    found.append(int(path.name))
        return found

    def stop(self) -> None:
        """End the jobs, and the daemons by their own process numbers."""
        words = ["scancel", "--user=root", "--signal=KILL"]
        subprocess.run(words, env=self.environment, check=False)
        for process in reversed(self._started.values()):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Have a cluster as long as the body runs."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    text = CONFIGURATION.format(host=_host(), ports=_free_ports(), folder=folder)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    files = [f"--{name}-file={folder}/munged.{name}" for name in ("log", "pid", "seed")]
    found = Cluster(folder)
    try:
        socket_and_key = (f"--socket={folder}/munge.socket", f"--key-file={key}")
        found.start("munged", "--foreground", "--force", *socket_and_key, *files)
        found.start("slurmctld", "-D", "-c")
        found.start("slurmd", "-D")
        found.wait_for_node()
        yield found
    finally:
        found.stop()


def _host() -> str:
    return socket.gethostname().split(".")[0]


if __name__ == "__main__":
    with running(Path(sys.argv[1]).absolute()) as found:
        sys.exit(subprocess.run(sys.argv[2:], env=found.environment, check=False).returncode)
