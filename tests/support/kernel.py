"""A real kernel, spoken to as a front end does."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "Ran", "kernel"]


@dataclass
class Ran:
    """What a cell showed."""

    stdout: str = ""
    stderr: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    traceback: str = ""


class Kernel:
    """A running kernel with the magics loaded."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, while_running: Callable[[Ran], bool] | None = None, limit: float = 60) -> Ran:
        """Run a cell to its end. ``while_running`` sees what was shown so far and says when to interrupt."""
        request = self.client.execute(code)
        ran, end, interrupted = Ran(), time.monotonic() + limit, False
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            if message["parent_header"].get("msg_id") != request:
                continue
            self._take(ran, message["msg_type"], message["content"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return ran
            if while_running is not None and not interrupted and while_running(ran):
                interrupted = True
                self.manager.interrupt_kernel()

    @staticmethod
    def _take(ran: Ran, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            setattr(ran, content["name"], getattr(ran, content["name"]) + content["text"])
        elif kind in {"display_data", "execute_result"}:
            ran.shown.append(content["data"])
        elif kind == "update_display_data":
            ran.updates.append(content["data"])
        elif kind == "error":
            ran.error = f"{content['ename']}: {content['evalue']}"
            ran.traceback = "\n".join(content["traceback"])

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@contextlib.contextmanager
def kernel(folder: Path, variables: Mapping[str, str]) -> Iterator[Kernel]:
    """A kernel in a folder, with these variables besides one's own."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env={**os.environ, **variables})
    running = Kernel(manager)
    try:
        yield running
    finally:
        running.close()
