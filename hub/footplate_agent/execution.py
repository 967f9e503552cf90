"""One execution of the user's program, from its claim to what it leaves behind.

Time is the monotonic clock, passed in as ``now``. The whole tree is ended, never only its root: first as
asked (SIGTERM, and time to write a checkpoint), then with SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Iterable, List, Optional

from . import processes
from .folder import ExitRecord, jot
from .spawn import Program, Seat
from .watch import LogLimit, memory_excess, oom_count

__all__ = ["Execution"]

_WATCH_EVERY = 0.5
_LEFTOVER_GRACE = 1.0  # multiprocessing's resource tracker and the like end by themselves, and clean up
_SWEEP_PATIENCE = 10.0


def _gigabytes(amount: int) -> str:
    return f"{amount / 2**30:.2f} GiB"


class Execution:
    """A program that runs.

    Parameters
    ----------
    seat
        The child that becomes the program.
    memory
        Bytes that its tree may hold where no control group limits it; None: not watched.
    time_limit, grace
        Seconds that it may run, and seconds between SIGTERM and SIGKILL.

    Raises
    ------
    SpawnError
        If the program could not be executed.
    """

    def __init__(
        self,
        number: int,
        program: Program,
        seat: Seat,
        *,
        time_limit: Optional[float],
        grace: float,
        memory: Optional[int],
        log_limit: int,
        started: float,
    ) -> None:
        self.record = ExitRecord(number, started=started)
        self._seat = seat
        self._grace = grace
        self._memory = memory
        self._log = LogLimit(program.output, log_limit)
        self._oom_before = oom_count(seat.cgroups)
        self._killed_before = processes.oom_kills()
        self._kill_at: Optional[float] = None
        self._root_ended = False
        self._swept = False
        self.pid = seat.become(program)
        self._began = time.monotonic()
        self._watch_at = self._began + _WATCH_EVERY
        self._limit_at: Optional[float] = None
        self.limit(time_limit)

    def limit(self, seconds: Optional[float]) -> None:
        """Set how long the program may run, counted from its start."""
        self._limit_at = None if seconds is None else self._began + seconds

    def stop(self, reason: str, grace: float, now: float) -> None:
        """Ask the tree to end, and end it after ``grace`` s. Asking again can only shorten the time."""
        if self.record.stopped is None and not self._root_ended:
            self.record.stopped = reason
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)
        kill_at = now + grace
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def root_ended(self, status: int, now: float) -> None:
        """Take the wait status of the program itself; what it left behind gets a moment."""
        self._root_ended = True
        self.record.ended = time.time()
        if os.WIFSIGNALED(status):
            self.record.signal = os.WTERMSIG(status)
        else:
            self.record.exit_code = os.WEXITSTATUS(status)
        self._find_oom()
        if self.record.stopped is None:
            self._kill_at = now + _LEFTOVER_GRACE

    def next_look(self) -> Optional[float]:
        """When `look` has something to do at the latest."""
        times = [self._kill_at] if self._root_ended else [self._kill_at, self._watch_at, self._limit_at]
        return min((at for at in times if at is not None), default=None)

    def look(self, now: float, spare: Iterable[int]) -> bool:
        """Do what is due; True once the program and all that it started are gone."""
        if self._root_ended:
            return self._leftovers_gone(now, spare)
        if self._limit_at is not None and now >= self._limit_at:
            self._limit_at = None
            if self.record.stopped is None:
                self.stop("time_limit", self._grace, now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._signal_group(signal.SIGKILL)
            processes.kill([self.pid])
        if now >= self._watch_at:
            self._watch_at = now + _WATCH_EVERY
            self._watch(spare)
        return False

    def _watch(self, spare: Iterable[int]) -> None:
        self._enforce_log_limit()
        if self._memory is None or self.record.oom:
            return
        tree = processes.descendants(os.getpid(), spare)
        held = memory_excess(tree, self._memory)
        if held is not None:
            self.record.oom = True
            self.record.message = (
                f"The program held {_gigabytes(held)} of memory, more than the "
                f"{_gigabytes(self._memory)} that the job asked for."
            )
            self._signal_group(signal.SIGKILL)
            processes.kill(tree)

    def _enforce_log_limit(self) -> None:
        try:
            self._log.enforce()
        except OSError as error:
            jot(f"log limit: {error}")  # a full disk; it is tried again at the next look

    def _leftovers_gone(self, now: float, spare: Iterable[int]) -> bool:
        left = _alive(spare)
        if left and self.record.stopped is None and not self._swept:
            self._swept = True
            for pid in left:
                _signal(pid, signal.SIGTERM)
        if left and self._kill_at is not None and now >= self._kill_at:
            deadline = now + _SWEEP_PATIENCE
            while left and time.monotonic() < deadline:
                # A group dies in one step, so what forks faster than it is listed dies too.
                if any(_group(pid) == self.pid for pid in left):
                    self._signal_group(signal.SIGKILL)
                processes.kill(left)
                time.sleep(0.002)
                _reap_all_but(spare)
                left = _alive(spare)
            if left:
                self._kill_at = time.monotonic() + _SWEEP_PATIENCE
        if not left:
            self._enforce_log_limit()
        return not left

    def _find_oom(self) -> None:
        if self.record.oom:
            return
        if oom_count(self._seat.cgroups) > self._oom_before:
            # Only a death by SIGKILL, or one reported by a shell or a parent, is the kernel's doing.
            self.record.oom = self.record.signal == signal.SIGKILL or bool(self.record.exit_code)
        elif self.record.signal == signal.SIGKILL and self.record.stopped is None:
            self.record.oom = processes.oom_kills() > self._killed_before
        if self.record.oom:
            self.record.message = "The kernel ended the program because its memory was used up."

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in the group
            os.killpg(self.pid, number)


def _group(pid: int) -> Optional[int]:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _alive(spare: Iterable[int]) -> List[int]:
    return [pid for pid in processes.descendants(os.getpid(), spare) if processes.identity(pid) is not None]


def _reap_all_but(spare: Iterable[int]) -> None:
    spared = set(spare)
    for pid in processes.children(os.getpid()):
        if pid not in spared:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
