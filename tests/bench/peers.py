"""Slurm and Ray on this machine, for comparison: started for the measurement, ended by pid.

Each function returns ``(value, why)``: None and a reason where the peer is not here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SlurmJob", "ray_first_line", "ray_rate", "sbatch_rate", "slurm_starts", "srun_first_line"]

Measured = tuple[float | None, str]
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
SLURM = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={port}
SlurmdPort={next}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# A node with more cores than there are: Slurm only counts them, and each stands for a GPU.
SLURM_GPUS = """\
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
"""
RAY_VERSION = "ray[default]"


def srun_first_line(rounds: int = 20) -> Measured:
    """Median milliseconds from ``srun python hello`` to its first line."""
    with _slurm() as (environment, why):
        if environment is None:
            return None, why
        times = []
        for _ in range(rounds):
            began = time.monotonic()
            hello = [*_srun(), sys.executable, "-c", "print('hello', flush=True)"]
            with subprocess.Popen(hello, env=environment, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                if not process.stdout.readline():
                    return None, "srun printed nothing"
                times.append((time.monotonic() - began) * 1000)
        return statistics.median(times), ""


def sbatch_rate(jobs: int = 20) -> Measured:
    """Jobs of ``true`` a second through sbatch with its defaults, from the first submit to the last end."""
    with _slurm() as (environment, why):
        if environment is None:
            return None, why
        began = time.monotonic()
        for _ in range(jobs):
            subprocess.run(
                ["sbatch", "-n1", "-o", "/dev/null", "--wrap", "true"],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        while subprocess.run(["squeue", "-h"], env=environment, check=True, capture_output=True).stdout:
            time.sleep(0.1)
        return jobs / (time.monotonic() - began), ""


@dataclass(frozen=True)
class SlurmJob:
    """A job for ``slurm_starts``: seconds from the beginning, seconds of sleep, limit in minutes, GPUs."""

    submit: float
    duration: float
    minutes: int
    gpus: int


def slurm_starts(jobs: Sequence[SlurmJob], gpus: int) -> tuple[list[float] | None, str]:
    """When Slurm started each job, in seconds from the beginning, on one node with so many GPUs."""
    with _slurm(gpus) as (environment, why), tempfile.TemporaryDirectory() as folder:
        if environment is None:
            return None, why
        began = time.time()
        for number, job in enumerate(jobs):
            time.sleep(max(0.0, began + job.submit - time.time()))
            options = ["-n1", f"-c{job.gpus}", f"--time={job.minutes}", "-o", "/dev/null"]
            work = f"date +%s.%N > {folder}/{number}; sleep {job.duration}"
            subprocess.run(
                ["sbatch", *options, "--wrap", work], env=environment, check=True, stdout=subprocess.DEVNULL
            )
        while subprocess.run(["squeue", "-h"], env=environment, check=True, capture_output=True).stdout:
            time.sleep(0.2)
        return [float((Path(folder) / str(n)).read_text()) - began for n in range(len(jobs))], ""


def ray_first_line(rounds: int = 5) -> Measured:
    """Median milliseconds from ``ray job submit -- python hello`` through Ray's client to the job's line."""
    return _ray(
        "times = []\n"
        f"for _ in range({rounds}):\n"
        "    began = time.monotonic(); job = client.submit_job(entrypoint='echo hello-from-ray')\n"
        "    while 'hello-from-ray' not in client.get_job_logs(job): time.sleep(0.01)\n"
        "    times.append((time.monotonic() - began) * 1000)\n"
        "print('measured', statistics.median(times))\n"
    )


def ray_rate(jobs: int = 20) -> Measured:
    """Jobs of ``true`` a second through Ray's job client."""
    return _ray(
        "began = time.monotonic()\n"
        f"ids = [client.submit_job(entrypoint='true') for _ in range({jobs})]\n"
        "while not all(client.get_job_status(i).is_terminal() for i in ids): time.sleep(0.1)\n"
        f"print('measured', {jobs} / (time.monotonic() - began))\n"
    )


def _srun() -> list[str]:
    return ["srun", "-Q", "-n1", "--unbuffered"]


@contextlib.contextmanager
def _slurm(gpus: int = 0) -> Iterator[tuple[dict[str, str] | None, str]]:
    """A munged, a slurmctld and a slurmd of our own; Debian's package starts none by itself."""
    missing = [
        name for name in ("munged", "slurmctld", "slurmd", "srun") if not shutil.which(name, path=SBIN)
    ]
    if missing or os.geteuid() != 0:
        yield None, f"needs {', '.join(missing)} (Debian: slurm-wlm)" if missing else "needs root"
        return
    folder = Path(tempfile.mkdtemp(prefix="slurm-bench-"))
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    cpus = gpus or os.cpu_count()
    text = SLURM.format(host=host, folder=folder, port=26817, next=26818, cpus=cpus)
    config.write_text(text + SLURM_GPUS if gpus else text)
    environment = {**os.environ, "SLURM_CONF": str(config), "PATH": SBIN}
    commands = [
        [
            "munged",
            "-F",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/m.pid",
            f"--log-file={folder}/m.log",
            f"--seed-file={folder}/m.seed",
            "--force",
        ],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", host, "-f", str(config)],
    ]
    running = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.log").open("wb") as log:
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        first = subprocess.run(
            [*_srun(), "true"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if first.returncode == 0:
            yield environment, ""
        else:
            yield None, f"slurm does not run here: {first.stderr.strip().splitlines()[-1:]}"
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _ray(code: str) -> Measured:
    python = _ray_python()
    if python is None:
        return None, "ray could not be installed into .venv-bench"
    script = (
        "import time, statistics, ray\n"
        "from ray.job_submission import JobSubmissionClient\n"
        "ray.init(include_dashboard=True, dashboard_host='127.0.0.1', num_cpus=2, log_to_driver=False)\n"
        "client = JobSubmissionClient('http://127.0.0.1:8265')\n" + code
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("measured "):
            return float(line.split()[1]), ""
    return None, f"ray did not run here: {done.stderr.strip().splitlines()[-1:]}"


def _ray_python() -> str | None:
    folder = Path(".venv-bench")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", RAY_VERSION], check=False)
        if done.returncode != 0:
            shutil.rmtree(folder)
            return None
    return str(python)
