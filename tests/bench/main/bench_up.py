"""How long the platform takes to be ready, beside JupyterHub alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from bench.report import Result
from support.platform import FOOTPLATE, free_port

ROUNDS = 5


def up_ready() -> Iterator[Result]:
    """From the command until hub and service answer through the proxy; p50 of 5, alternating."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(_hub_alone())
        ours.append(_up())
    value, baseline = statistics.median(ours), statistics.median(bare)
    yield Result(
        "up_ready_p50",
        value,
        "s",
        "within 1 s of the hub's own start",
        value - baseline <= 1,
        "jupyterhub alone, with the same proxy",
        baseline,
    )


def _up() -> float:
    folder, port = Path(tempfile.mkdtemp(prefix="footplate-bench-")), free_port()
    try:
        began = time.monotonic()
        subprocess.run(
            [FOOTPLATE, "up", "--detach", "--dir", str(folder), "--port", str(port)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        _answers(f"http://127.0.0.1:{port}/hub/health")
        _answers(f"http://127.0.0.1:{port}/services/footplate/healthz")
        return time.monotonic() - began
    finally:
        subprocess.run([FOOTPLATE, "down", "--dir", str(folder)], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def _hub_alone() -> float:
    folder, port = Path(tempfile.mkdtemp(prefix="jupyterhub-bench-")), free_port()
    (folder / "config.py").write_text(
        "c = get_config()\n"
        f"c.JupyterHub.bind_url = 'http://127.0.0.1:{port}'\n"
        f"c.JupyterHub.hub_port = {port + 1}\n"
        "c.JupyterHub.proxy_class = 'traefik_file'\n"
        f"c.TraefikProxy.traefik_api_url = 'http://127.0.0.1:{port + 3}'\n"
        "c.TraefikProxy.traefik_api_password = 'bench'\n"
        "c.JupyterHub.authenticator_class = 'shared-password'\n"
        "c.SharedPasswordAuthenticator.user_password = 'at-least-eight'\n"
        "c.Authenticator.allow_all = True\n"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        hub = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", "config.py"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _answers(f"http://127.0.0.1:{port}/hub/health")
        return time.monotonic() - began
    finally:
        proxy = psutil.Process(hub.pid).children(recursive=True)  # sessions of their own
        hub.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs([psutil.Process(hub.pid), *proxy], timeout=10)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        hub.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str, limit: float = 60) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.02)


BENCHES = (up_ready,)
