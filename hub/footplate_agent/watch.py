"""What the keeper looks at while a program runs: its memory, and how much it has written.

The log limit keeps the head and the tail. The program writes its file itself, so the middle is given
back to the disk by punching a hole: offsets stay what they were. The gap is announced, synced, *before*
the hole exists, so a reader that checks the announcement after reading never takes zeros for text.
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import Iterable, List, Optional, Sequence, Tuple

from .folder import write_atomic
from .processes import resident, sharing

__all__ = ["LogLimit", "cgroup_paths", "memory_excess", "oom_count", "read_gap"]

_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_BLOCK = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def memory_excess(pids: Iterable[int], limit: int) -> Optional[int]:
    """Bytes that processes hold, if they hold more than ``limit``."""
    found = list(pids)
    if resident(found) <= limit:
        return None
    held = sharing(found)
    return held if held > limit else None


def oom_count(cgroups: Sequence[str]) -> int:
    """How many processes of these control groups were killed for memory so far."""
    total = 0
    for cgroup in cgroups:
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(os.path.join(cgroup, name), encoding="ascii") as file:
                    lines = file.read().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def _gap_path(log: str) -> str:
    return log + ".gap"


def read_gap(log: str) -> Optional[Tuple[int, int]]:
    """The bytes ``[a, b)`` of a log that were dropped, if any."""
    try:
        with open(_gap_path(log), encoding="ascii") as file:
            start, end = json.load(file)
    except FileNotFoundError:
        return None
    return int(start), int(end)


class LogLimit:
    """Holds one log to ``limit`` bytes on the disk: its first half and its last.

    Parameters
    ----------
    log
        The file, which its program appends to.
    limit
        Bytes; 0: no limit.
    """

    def __init__(self, log: str, limit: int) -> None:
        self._log = log
        self._limit = limit
        self._head = -(-limit // 2 // _BLOCK) * _BLOCK
        self.problem = ""

    def enforce(self) -> None:
        """Give back what is over the limit by now."""
        if not self._limit or self.problem:
            return
        try:
            size = os.stat(self._log).st_size
        except FileNotFoundError:
            return
        end = (size - self._limit // 2) // _BLOCK * _BLOCK
        gap = read_gap(self._log)
        # A sixteenth of slack, so that a steady writer does not cost a synced write each time.
        if end - (gap[1] if gap else self._head) <= self._limit // 16 or size <= self._limit:
            return
        write_atomic(_gap_path(self._log), json.dumps([self._head, end]).encode())
        self._punch(self._head, end)

    def _punch(self, start: int, end: int) -> None:
        descriptor = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        try:
            offset, length = ctypes.c_longlong(start), ctypes.c_longlong(end - start)
            if _libc.fallocate(descriptor, _PUNCH_HOLE, offset, length) != 0:
                self.problem = (
                    f"this file system cannot drop a log's middle: {os.strerror(ctypes.get_errno())}"
                )
        finally:
            os.close(descriptor)


def cgroup_paths(value: object) -> List[str]:
    """``start.json``'s ``cgroup``: one path, several (a hierarchy each), or none."""
    if isinstance(value, str):
        return [value] if value else []
    return [str(path) for path in value] if isinstance(value, list) else []
