"""Whose process is this: answered by command and environment, never by a remembered number.

After a reboot, or in a container, a stored process number may be anybody's; and a zombie answers ``kill -0``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

import psutil

__all__ = ["carries", "end_all", "marked"]


def carries(pid: int, mark: Mapping[str, str]) -> bool:
    """Whether a living process has these variables in its environment."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and mark.items() <= process.environ().items()
    except (psutil.Error, OSError):  # gone, or another user's
        return False


def marked(mark: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Every living process with these variables in its environment."""
    # Not process_iter(): it remembers, and will not signal a process that has the number of a remembered one.
    for pid in psutil.pids():
        if carries(pid, mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield psutil.Process(pid)


def end_all(mark: Mapping[str, str], seconds: float = 5.0) -> int:
    """End every process with this mark; gently first. Blocks; returns how many there were."""
    found = list(marked(mark))
    for process in found:
        _send(process, kill=False)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(marked(mark)):
        time.sleep(0.05)
    for process in marked(mark):
        _send(process, kill=True)
    return len(found)


def _send(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.Error:  # it ended by itself, which is what we want
        return
