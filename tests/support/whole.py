"""The whole platform but for JupyterHub, as one process that may be killed: service, loops, engine, agents.

``python -m support.whole`` is the service's own program; only who a token belongs to is a stand-in
(``token-ada``). `Whole` starts it, kills it and ends what it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Whole", "whole"]

NODES = [
    {"name": "node-1", "flavor": "gpu", "cpu": 4, "memory": "8Gi", "gpu": 4, "declared": True},
    {"name": "node-2", "flavor": "cpu", "cpu": 4, "memory": "8Gi"},
]
GROUPS = [{"name": "research/vision", "quotas": [{"flavor": "gpu", "gpu": 2}], "max_time_limit": "48h"}]


class Whole:
    """A platform in a folder.

    Parameters
    ----------
    settings
        Those of ``footplate.yaml``.
    """

    def __init__(self, data: Path, settings: Mapping[str, Any]) -> None:
        self.data = data
        self._settings = {"clusters": [{"name": "local", "nodes": NODES}], "groups": GROUPS, **settings}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/services/footplate/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service and wait until it answers."""
        settings = {
            "FOOTPLATE_DATA": str(self.data),
            "FOOTPLATE_BIND_PORT": str(self.port),
            "FOOTPLATE_URL": self.url,
            "PYTHONPATH": str(Path(__file__).parent.parent),
        } | {f"FOOTPLATE_{name.upper()}": json.dumps(value) for name, value in self._settings.items()}
        base = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        with (self.data.parent / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.whole"],
                env={**base, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}healthz", trust_env=False).is_success:
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.data.parent / "service.log").read_text()[-4000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL the service; what it started goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the service, and whatever it left running from its folder."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)
        for pid in self._left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left(self) -> list[int]:
        """Processes that carry this folder in their words or their environment."""
        mark, found = str(self.data).encode(), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                    if mark in told:
                        found.append(int(folder.name))
        return found


@contextlib.contextmanager
def whole(folder: Path, **settings: Any) -> Iterator[Whole]:
    """A platform until the block ends."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    running = Whole(data, settings)
    try:
        running.start()
        yield running
    finally:
        running.stop()


if __name__ == "__main__":
    from footplate_hub import app, serve
    from support.service import ADA, BOB, EVE, KAY, ROOT, FakeIdentity

    app.HubIdentity = lambda *_: FakeIdentity(ADA, BOB, EVE, KAY, ROOT)  # type: ignore[assignment, misc]
    sys.exit(serve.main())
