"""A platform for the tests of ``tests/hub`` and ``tests/browser``: ``footplate up`` in a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from .platform import FOOTPLATE, wait_until

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from visit import CellError, Kernel, Ran, VisitError, Visitor, run_cell  # noqa: E402

__all__ = [
    "FOOTPLATE",
    "SCRIPTS",
    "CellError",
    "Home",
    "Kernel",
    "Ran",
    "VisitError",
    "Visitor",
    "free_port",
    "home",
    "run_cell",
    "seconds_until",
    "wait_until",
]


def free_port() -> int:
    """The first of eight free ports in a row, somewhere else for each of several test runs at a time."""
    while True:
        first = random.randrange(10_000, 20_000, 8)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + 8):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class Home:
    """A person's home folder with a platform in it, run as ``env -i HOME PATH`` would.

    Parameters
    ----------
    path
        The home; the platform's folder is ``.footplate`` in it.
    command, more, user
        The command line, further variables, and the user whose home it is where that is not ours.
    """

    def __init__(
        self, path: Path, command: str = FOOTPLATE, more: Mapping[str, str] = {}, user: str | None = None
    ) -> None:
        self.path = path
        self.user = user
        self.data = path / ".footplate"
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {"HOME": str(path), "PATH": "/usr/local/bin:/usr/bin:/bin", **more}
        self._command = command

    def footplate(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [self._command, *words], env=self.environment, capture_output=True, text=True, check=check,
            timeout=120, cwd=more.pop("cwd", self.path), **self._as(), **more,
        )  # fmt: skip

    def _as(self) -> dict[str, Any]:
        """The ordinary user whose home this is, if it is not ours."""
        return {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}

    def up(self, *words: str) -> str:
        """Start the platform in the background; its login link."""
        done = self.footplate("up", "--detach", "--json", "--port", str(self.port), *words, check=False)
        assert done.returncode == 0, done.stderr + self.log("service") + self.log("hub")
        return json.loads(done.stdout)["link"]

    def in_foreground(self, *words: str) -> subprocess.Popen[str]:
        """Start the platform as our own child, and wait until it has printed its link."""
        process = subprocess.Popen(
            [self._command, "up", "--json", "--port", str(self.port), *words],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["link"]
        return process

    def down(self, *words: str) -> None:
        """Stop it."""
        self.footplate("down", *words)

    def link(self, *words: str) -> str:
        """Another login link."""
        return json.loads(self.footplate("open", "--json", *words).stdout)["link"]

    def visitor(self) -> Visitor:
        """A browser that is logged in."""
        visitor = Visitor(self.address)
        visitor.log_in(self.link())
        return visitor

    def status(self) -> dict[str, Any]:
        """What the supervisor says."""
        return json.loads((self.data / "status.json").read_text())

    def pid(self, child: str) -> int:
        """The process of a child, or of the supervisor."""
        return int(self.status()[child]["pid"] or 0)

    def kill(self, *children: str) -> None:
        """SIGKILL, and wait until the supervisor has started others."""
        before = {child: self.pid(child) for child in children}
        for pid in before.values():
            os.kill(pid, 9)
        for child, pid in before.items():
            wait_until(lambda child=child, pid=pid: self.pid(child) not in {0, pid}, limit=30)

    def log(self, name: str) -> str:
        """Text of a log."""
        file = self.data / "log" / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def answers(self, path: str) -> bool:
        """Whether a page answers with 200."""
        try:
            return httpx.get(self.address + path, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> dict[str, list[int]]:
        """Every living process of this platform by kind, found by its command line and environment."""
        found: dict[str, list[int]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words, variables = " ".join(process.cmdline()), process.environ()
                if not words or variables.get("HOME") != str(self.path):
                    continue
                kind = next((kind for mark, kind in _KINDS.items() if mark in words), words[:60])
                found.setdefault(kind, []).append(process.pid)
        return {kind: sorted(pids) for kind, pids in found.items()}

    def end_everything(self) -> None:
        """Leave nothing behind, jobs included."""
        self.footplate("down", check=False)
        wait_until(lambda: not self._kill_all(), limit=30)

    def _kill_all(self) -> bool:
        pids = [pid for pids in self.processes().values() for pid in pids]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return bool(pids)


_KINDS = {
    "ipykernel": "kernel",
    "jupyterhub.singleuser": "machine",
    "start jupyterhub -f": "hub",
    "footplate_hub.serve": "service",
    "footplate_hub.launcher": "launcher",
    "traefik": "traefik",
    "forkserver": "fork server",
    "footplate up": "supervisor",
}


@contextlib.contextmanager
def home(**more: Any) -> Iterator[Home]:
    """A home with a platform that may be started; everything in it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="fp-"))
    found = Home(folder, **more)
    if found.user:
        shutil.chown(folder, found.user, found.user)
    try:
        yield found
    finally:
        found.end_everything()
        shutil.rmtree(folder, ignore_errors=True)


def seconds_until(done: Callable[[], bool], limit: float = 60) -> float:
    """How long ``done()`` says no; errors on the way count as no."""
    began = time.monotonic()

    def asked() -> bool:
        try:
            return done()
        except (OSError, VisitError, httpx.HTTPError, KeyError, ValueError):
            return False

    wait_until(asked, limit=limit)
    return time.monotonic() - began
