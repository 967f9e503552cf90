"""Runs a tool (git, pip, a set-up script) that may take long: with a limit, and until someone says stop."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Dict, List, Optional

from .failure import Stopped

__all__ = ["Finished", "run_tool"]

_LOOK_EVERY = 0.05
_TAIL = 64 * 1024


@dataclass(frozen=True)
class Finished:
    """How a tool ended, and the end of what it said."""

    code: int
    output: str
    timed_out: bool = False

    def last_lines(self, count: int = 4) -> str:
        """The last lines that say something, joined to one."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return " / ".join(lines[-count:])


def run_tool(
    argv: List[str],
    env: Dict[str, str],
    cwd: str,
    stop: threading.Event,
    time_limit: Optional[float] = None,
) -> Finished:
    """Run to the end.

    Raises
    ------
    Stopped
        If ``stop`` was set meanwhile; the tool and its children are gone then.
    OSError
        If it cannot be executed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that a stop reaches its children too
        )
        deadline = None if time_limit is None else time.monotonic() + time_limit
        timed_out = False
        pause = 0.001
        while process.poll() is None:
            timed_out = deadline is not None and time.monotonic() > deadline
            if timed_out or stop.is_set():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            # A short tool is noticed at once, a long one costs nothing.
            stop.wait(pause)
            pause = min(pause * 2, _LOOK_EVERY)
        if stop.is_set():
            raise Stopped
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _TAIL))
        return Finished(process.returncode, output.read().decode("utf-8", "replace"), timed_out)
