"""Processes as /proc shows them: who descends from whom, who carries a folder's mark, what they use.

Pids are reused, so nothing here signals a remembered pid without comparing its start time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

from .folder import MARK

__all__ = [
    "Identity",
    "Usage",
    "become_subreaper",
    "boot_id",
    "children",
    "descendants",
    "die_with_parent",
    "end_marked",
    "identity",
    "kill",
    "marked",
    "name_process",
    "oom_kills",
    "reap",
    "resident",
    "sharing",
    "usage",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Identity:
    """A process for ever: its pid, and field 22 of its stat line, the ticks after boot of its start."""

    pid: int
    start_time: int


@dataclass(frozen=True)
class Usage:
    """CPU seconds used by living processes and what they reaped; bytes resident."""

    cpu: float
    rss: int


def become_subreaper() -> None:
    """Let orphans below this process become its children instead of init's."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent(parent: int) -> None:
    """Be killed when the parent is; called in a child just forked from ``parent``."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


def name_process(name: str) -> None:
    """What ``ps -o comm`` and ``top`` show: a fork has its parent's command line."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def reap() -> Iterator[Tuple[int, int]]:
    """Bury every child that has ended, orphans handed to this process too: pid and wait status of each."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def boot_id() -> str:
    """Changes with every start of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _stat(pid: int) -> Optional[List[str]]:
    """The fields of /proc/<pid>/stat after the name: state first, then ppid, pgrp, session."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is the program's own choice and may hold spaces and parentheses.
    return text[text.rindex(b")") + 2 :].decode("ascii").split()


def identity(pid: int) -> Optional[Identity]:
    """Who has this pid now; None if nobody, or only a corpse that waits to be reaped."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else Identity(pid, int(fields[19]))


def _all_pids() -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid: int) -> List[int]:
    """Direct children of a process, corpses included."""
    try:
        found: List[int] = []
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found.extend(int(child) for child in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        if not os.path.exists(f"/proc/{pid}"):
            return []
        found = [other for other in _all_pids() if (_stat(other) or ["", "-1"])[1] == str(pid)]
    return found


def descendants(pid: int, without: Iterable[int] = ()) -> List[int]:
    """Everything below a process, itself not included, nor ``without`` and what is below those."""
    left_out = set(without)
    found: List[int] = []
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in left_out:
                left_out.add(child)
                found.append(child)
                waiting.append(child)
    return found


def marked(folder: str) -> List[int]:
    """Living processes, whoever their parent, that were started with this folder in their environment."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for pid in _all_pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue  # gone meanwhile, or another user's: not ours to end
    return found


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def end_marked(folder: str, spare: Iterable[int] = (), patience: float = 30.0) -> bool:
    """SIGKILL every process of a folder until none is left; False if some did not go in ``patience`` s."""
    spared: Set[int] = {os.getpid(), *spare}
    deadline = time.monotonic() + patience
    while True:
        alive = [pid for pid in marked(folder) if pid not in spared and identity(pid) is not None]
        if not alive:
            return True
        if time.monotonic() > deadline:
            return False
        kill(alive)
        time.sleep(0.005)


def resident(pids: Iterable[int]) -> int:
    """Bytes in memory, pages that are shared counted once for each: an upper bound, cheap."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            continue
    return total


def sharing(pids: Iterable[int]) -> int:
    """Bytes in memory that cannot be dropped, shared pages counted once in all: exact, and dearer.

    Anonymous and shared-memory pages; pages of mapped files are the kernel's cache and go when needed.
    """
    total = 0
    for pid in pids:
        fields = _rollup(pid)
        if "Pss_Anon" in fields:
            total += fields["Pss_Anon"] + fields.get("Pss_Shmem", 0)
        else:
            total += fields.get("Pss", 0)
    return total


def _rollup(pid: int) -> Dict[str, int]:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return {"Pss": resident([pid])}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}


def usage(pids: Iterable[int]) -> Usage:
    """What processes have used so far."""
    cpu, rss = 0, 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            cpu += sum(int(ticks) for ticks in fields[11:15])
            rss += int(fields[21]) * _PAGE
    return Usage(cpu / _TICK, rss)


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot, in this memory domain."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
