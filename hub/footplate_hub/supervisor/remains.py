"""What is left of ended processes: zombies are buried, and strays of this platform's dev machines are ended.

A process is known by a mark in its environment, never by a remembered number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Collection
from pathlib import Path

import psutil

__all__ = ["bury", "end_fork_server", "end_marked"]


def bury(own: Collection[int]) -> None:
    """Reap orphans that were handed to us, but not our own children, whose end their `Child` awaits.

    A killed hub's dev machines land here; as zombies they would look alive to the next hub.
    """
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return  # the next look finds what is behind it
            os.waitpid(ended.si_pid, os.WNOHANG)


async def end_fork_server(service: Path, seconds: float = 2.0) -> None:
    """Ask the fork server of the service that has ended to end at once, not ten idle seconds later.

    Keepers, which look like it to anybody else, stay: they hold the running jobs.
    """
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(service / "run" / "fork.sock")
            writer.write(b'{"id": 0, "do": "end"}\n')
            await reader.read()
            writer.close()


async def end_marked(variable: str, value: str, seconds: float = 5.0) -> int:
    """End every process with this variable in its environment; gently first. Returns how many there were."""
    found = _marked(variable, value)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _marked(variable, value):  # noqa: ASYNC110 - other users' ends send no event
        await asyncio.sleep(0.1)
    for process in _marked(variable, value):
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(found)


def _marked(variable: str, value: str) -> list[psutil.Process]:
    found = []
    # Not process_iter(): it remembers, and will not signal a process that has the number of a remembered one.
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            if process.environ().get(variable) == value:
                found.append(process)
    return found
