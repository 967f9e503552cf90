"""Executes the user's program: own session, own output file, dead when its keeper is.

Written as fork and exec by hand, because the child must join its control group and take its CPUs before
the program runs, and must report which of these steps failed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

from .processes import die_with_parent

__all__ = ["Program", "SpawnError", "spawn"]

_PR_SET_DUMPABLE = 4


class SpawnError(Exception):
    """The program could not be executed; the message is one sentence."""


@dataclass(frozen=True)
class Program:
    """What is executed, and where.

    Parameters
    ----------
    cpus
        Indexes of the CPUs that it may use; empty: any.
    cgroups
        Control groups to join before the program runs.
    """

    argv: List[str]
    env: Dict[str, str]
    cwd: str
    output: str
    cpus: Sequence[int] = ()
    cgroups: Sequence[str] = ()


def spawn(program: Program) -> int:
    """Start a program and return its pid, which is also its process group and session.

    Raises
    ------
    SpawnError
        If any step before the program's first instruction failed; nothing is left running then.
    """
    reader, writer = os.pipe()  # closed by a successful exec, or holding what went wrong
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(program, parent, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(pid, 0)
        raise SpawnError(json.loads(failure))
    return pid


def _become(program: Program, parent: int, failed: int) -> Any:
    """Turn this child into the program; never returns."""
    step = ""
    try:
        os.setsid()
        die_with_parent(parent)
        step = "its output cannot be written"
        output = os.open(program.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        step = "its control group refused it"
        for cgroup in program.cgroups:
            with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write("0")
        step = "its CPUs are not there"
        if program.cpus:
            os.sched_setaffinity(0, program.cpus)
        step = f"its working directory {program.cwd!r} cannot be entered"
        os.chdir(program.cwd)
        step = ""
        _restore_signals()
        os.execvpe(program.argv[0], program.argv, program.env)
    except BaseException as error:  # noqa: BLE001 - the parent says it, this process only ends
        os.write(failed, json.dumps(_sentence(program, step, error)).encode())
    os._exit(127)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _sentence(program: Program, step: str, error: BaseException) -> str:
    why = getattr(error, "strerror", None) or str(error)
    if step:
        return f"The program was not started: {step} ({why})."
    if isinstance(error, FileNotFoundError):
        return f"The command {program.argv[0]!r} was not found; check its name and the job's PATH."
    if isinstance(error, PermissionError):
        return f"The command {program.argv[0]!r} may not be executed; check its mode and its first line."
    return f"The command {program.argv[0]!r} could not be executed: {why}."
