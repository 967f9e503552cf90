"""A whole platform: ``footplate up`` in a folder of its own, stopped afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["FOOTPLATE", "Platform", "free_port", "platform", "wait_until"]

FOOTPLATE = str(Path(sys.executable).with_name("footplate"))


@dataclass(frozen=True)
class Platform:
    """A running platform and how to speak to it as its person does."""

    folder: Path
    url: str
    token: str

    def client(self) -> httpx.Client:
        """A connection with the person's token; paths are those of docs/protocol.md §1."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"token {self.token}"}, timeout=120)

    def environment(self) -> dict[str, str]:
        """What a kernel or a command needs to find the platform."""
        return {**os.environ, "FOOTPLATE_DIR": str(self.folder)}

    def pid(self, child: str) -> int | None:
        """The process of ``service``, ``hub`` or ``traefik``; none while it is being started again."""
        status = json.loads((self.folder / "status.json").read_text())
        pid: int | None = status[child]["pid"]
        return pid


def free_port() -> int:
    """A port at which eight in a row are free now."""
    for first in range(21000, 29000, 16):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + 8):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no eight free ports in a row between 21000 and 29000")


@contextlib.contextmanager
def platform(settings: str = "") -> Iterator[Platform]:
    """Start a platform, give it, stop it, remove its folder.

    Parameters
    ----------
    settings
        Text of its ``footplate.yaml``.
    """
    folder = Path(tempfile.mkdtemp(prefix="footplate-test-"))
    if settings:
        (folder / "footplate.yaml").write_text(settings)
    up = [FOOTPLATE, "up", "--detach", "--dir", str(folder), "--port", str(free_port())]
    try:
        subprocess.run(up, check=True, stdout=subprocess.DEVNULL, timeout=120)
        profile = json.loads((folder / "client.json").read_text())
        yield Platform(folder, profile["url"], Path(profile["token_file"]).read_text().strip())
    finally:
        subprocess.run([FOOTPLATE, "down", "--dir", str(folder)], check=False, timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(done, limit: float = 600, every: float = 0.05) -> None:
    """Ask ``done()`` until it says yes.

    Raises
    ------
    TimeoutError
        After ``limit`` seconds.
    """
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not done in {limit} s")
        time.sleep(every)
