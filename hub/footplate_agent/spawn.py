"""Executes the user's program: own session, own output file, dead when its keeper is.

Written as fork and exec by hand, because the child must join its control group and take its CPUs before
the program runs, and must report which of these steps failed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from dataclasses import asdict, dataclass
from typing import Callable, Dict, List, Optional, Sequence

from .processes import die_with_parent

__all__ = ["Program", "Seat", "SpawnError"]

_PR_SET_DUMPABLE = 4


class SpawnError(Exception):
    """The program could not be executed; the message is one sentence."""


@dataclass(frozen=True)
class Program:
    """What is executed, and where."""

    argv: List[str]
    env: Dict[str, str]
    cwd: str
    output: str


class Seat:
    """A child that waits, in its session, control groups and CPUs, to become a program.

    Joining a control group waits for the kernel, 5 to 25 ms where nobody joined one just before. A seat is
    therefore taken while the program's code and data are still being fetched.

    Parameters
    ----------
    cgroups
        Control groups to join.
    cpus
        Indexes of the CPUs that the program may use; empty: any.
    drop
        Called in the child: closes what it must not hold while it waits.
    """

    def __init__(
        self, cgroups: Sequence[str] = (), cpus: Sequence[int] = (), drop: Callable[[], None] = lambda: None
    ) -> None:
        orders, self._orders = os.pipe()
        self._failure, failed = os.pipe()  # closed by a successful exec, or holding what went wrong
        parent = os.getpid()
        self.cgroups, self._cpus, self._drop = cgroups, cpus, drop
        self.pid = os.fork()
        if self.pid == 0:
            try:
                drop()
                os.close(self._orders)
                _sit(cgroups, cpus, parent, orders, failed)
            finally:
                os._exit(127)
        os.close(orders)
        os.close(failed)

    def become(self, program: Program) -> int:
        """Start the program and return its pid, which is also its process group and session.

        Raises
        ------
        SpawnError
            If any step before the program's first instruction failed; nothing is left running then.
        """
        try:
            with os.fdopen(self._orders, "wb") as pipe:
                pipe.write(json.dumps(asdict(program)).encode() + b"\n")
        except BrokenPipeError:  # it was killed while it waited, and nothing was executed
            os.close(self._failure)
            os.waitpid(self.pid, 0)
            return Seat(self.cgroups, self._cpus, self._drop).become(program)
        with os.fdopen(self._failure, "rb") as pipe:
            failure = pipe.read()
        if failure:
            os.waitpid(self.pid, 0)
            raise SpawnError(json.loads(failure))
        return self.pid


def _sit(cgroups: Sequence[str], cpus: Sequence[int], parent: int, orders: int, failed: int) -> None:
    """In the child: wait for the program and become it; returns only if that cannot be."""
    step, program = "", None
    try:
        os.setsid()
        die_with_parent(parent)
        trouble = _settle(cgroups, cpus)
        with os.fdopen(orders, "rb") as pipe:
            line = pipe.readline()
        if not line.endswith(b"\n"):
            return
        program = Program(**json.loads(line))
        if trouble is not None:
            step, error = trouble
            raise error
        step = "its output cannot be written"
        output = os.open(program.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        step = f"its working directory {program.cwd!r} cannot be entered"
        os.chdir(program.cwd)
        step = ""
        _restore_signals()
        os.execvpe(program.argv[0], program.argv, program.env)
    except BaseException as error:  # noqa: BLE001 - the parent says it, this process only ends
        os.write(failed, json.dumps(_sentence(program, step, error)).encode())


def _settle(cgroups: Sequence[str], cpus: Sequence[int]) -> "Optional[tuple[str, OSError]]":
    """Join; what failed, and why, is told once there is a program to tell it of."""
    step = "its control group refused it"
    try:
        for cgroup in cgroups:
            with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write("0")
        step = "its CPUs are not there"
        if cpus:
            os.sched_setaffinity(0, cpus)
    except OSError as error:
        return step, error
    return None


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _sentence(program: Optional[Program], step: str, error: BaseException) -> str:
    why = getattr(error, "strerror", None) or str(error)
    if step or program is None:
        step = step or "it could not be prepared"
        return f"The program was not started: {step} ({why})."
    if isinstance(error, FileNotFoundError):
        return f"The command {program.argv[0]!r} was not found; check its name and the job's PATH."
    if isinstance(error, PermissionError):
        return f"The command {program.argv[0]!r} may not be executed; check its mode and its first line."
    return f"The command {program.argv[0]!r} could not be executed: {why}."
