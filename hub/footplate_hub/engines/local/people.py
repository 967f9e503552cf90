"""Whose processes replicas are: everybody's this service's own user's, or each person's own.

With a launcher, a person's replicas, caches and checkpoints are in a folder of their own (0700) that the
launcher makes, and their fork server runs as them. Without one, all of it is in the data folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from footplate_hub.settings import Settings

from ..base import EngineError
from .forkserver import LIMIT, ForkServer, Streams

__all__ = ["Home", "Launched", "OwnUser", "People"]

_LONGEST_SOCKET_PATH = 80  # of 107, less what the fork server appends while it binds
_PATIENCE = 20.0


@dataclass(frozen=True)
class Home:
    """Where a person's replicas, cached content and checkpoints are."""

    replicas: Path
    cache: Path
    checkpoints: Path
    server: ForkServer


class People(Protocol):
    """Finds the home of a job's owner."""

    async def start(self) -> None:
        """Get ready for the first job."""

    async def home(self, owner: str) -> Home:
        """The owner's home, with a fork server that answers."""

    async def confine(self, owner: str, name: str, cpu: int, memory: int) -> list[str] | None:
        """Control groups that hold a replica to its share, made if need be; None where there are none."""

    async def release(self, owner: str, name: str) -> None:
        """Remove the control groups of a replica that has ended."""

    async def stop(self) -> None:
        """Let go; fork servers end, replicas run on."""


def _clean_environment() -> dict[str, str]:
    """What a process that outlives the service is given: nothing that is secret, nothing that is odd."""
    kept = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "USER")
    return {name: os.environ[name] for name in kept if name in os.environ}


def socket_path(folder: Path) -> Path:
    """A path below the kernel's limit: in ``folder``, else in a private folder for temporary files."""
    wanted = folder / "fork.sock"
    if len(os.fsencode(wanted)) <= _LONGEST_SOCKET_PATH:
        return wanted
    private = Path("/tmp") / f"footplate-{os.getuid()}"  # noqa: S108 - made 0700 and checked below
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or not private.is_dir() or private.is_symlink():
        raise EngineError(f"{private} belongs to somebody else; remove it, or use a shorter data folder.")
    return private / f"{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}.sock"


class OwnUser:
    """Everything runs as this service's user.

    Parameters
    ----------
    cgroups
        Makes control groups, where the machine lets us.
    """

    def __init__(self, settings: Settings, cgroups: Any, on_seen: Callable[[str, bool], None]) -> None:
        self._data = settings.data
        self._cgroups = cgroups
        self._socket = socket_path(settings.data / "run")
        self._home = Home(
            replicas=settings.data / "replicas",
            cache=settings.data / "cache",
            checkpoints=settings.storage_path / "checkpoints",
            server=ForkServer(self._connect, on_seen),
        )

    async def start(self) -> None:
        """Warm the fork server."""
        for folder in (self._home.replicas, self._home.cache, self._home.checkpoints, self._data / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._home.server.open()

    async def home(self, owner: str) -> Home:
        """The same for everybody."""
        return self._home

    async def confine(self, owner: str, name: str, cpu: int, memory: int) -> list[str] | None:
        """Control groups of a replica."""
        made: list[str] | None = self._cgroups.make(name, cpu, memory) if self._cgroups else None
        return made

    async def release(self, owner: str, name: str) -> None:
        """Remove them."""
        if self._cgroups:
            self._cgroups.remove(name)

    async def stop(self) -> None:
        """End the fork server."""
        await self._home.server.close(end=True)

    async def _connect(self) -> Streams:
        process: subprocess.Popen[bytes] | None = None
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                streams = await asyncio.open_unix_connection(str(self._socket), limit=LIMIT)
            except (FileNotFoundError, ConnectionRefusedError):
                if process is None:
                    process = self._spawn()
                if process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                    where = self._data / "run" / "fork.log"
                    raise EngineError(f"The fork server does not start; {where} says why.") from None
                await asyncio.sleep(0.005)
            else:
                check_peer(streams[1].get_extra_info("socket"), os.getuid())
                return streams

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._data / "run" / "fork.log").open("ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "footplate_agent.forkserver"),
                    *("--socket", str(self._socket), "--root", str(self._home.replicas)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_clean_environment(),
                start_new_session=True,
            )


def check_peer(connection: Any, uid: int) -> None:
    """Refuse to talk to a process that is not this user's."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != uid:
        connection.close()
        raise EngineError("The fork server's socket was taken over by another user.", again=False)


class Launched:
    """Each person's replicas run as that person, started through the root launcher."""

    def __init__(self, settings: Settings, on_seen: Callable[[str, bool], None]) -> None:
        assert settings.launcher is not None
        self._launcher = settings.launcher
        self._on_seen = on_seen
        self._homes: dict[str, Home] = {}
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Nothing is started before its owner has a job."""

    async def home(self, owner: str) -> Home:
        """The owner's home, made and served by the launcher."""
        async with self._one_at_a_time:
            if owner not in self._homes:
                root = Path((await self._ask({"do": "folder", "user": owner}))[0]["folder"])
                self._homes[owner] = Home(
                    replicas=root / "replicas",
                    cache=root / "cache",
                    checkpoints=root / "checkpoints",
                    server=ForkServer(lambda: self._connect(owner), self._on_seen),
                )
            return self._homes[owner]

    async def confine(self, owner: str, name: str, cpu: int, memory: int) -> list[str] | None:
        """Control groups of a replica, which its owner may join and may not change."""
        asked = {"do": "cgroup", "user": owner, "name": name, "cpu": cpu, "memory": memory}
        return (await self._ask(asked))[0]["paths"] or None

    async def release(self, owner: str, name: str) -> None:
        """Remove them."""
        await self._ask({"do": "cgroup", "user": owner, "name": name, "cpu": 0, "memory": 0})

    async def stop(self) -> None:
        """End the fork servers."""
        for home in self._homes.values():
            await home.server.close(end=True)

    async def _connect(self, owner: str) -> Streams:
        answer, descriptors = await self._ask({"do": "connect", "user": owner})
        if len(descriptors) != 1:
            raise EngineError("The launcher handed over no connection.")
        connection = socket.socket(fileno=descriptors[0])
        check_peer(connection, int(answer["uid"]))
        connection.setblocking(False)
        return await asyncio.open_unix_connection(sock=connection, limit=LIMIT)

    async def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        return await asyncio.to_thread(_ask_launcher, self._launcher, message)


def _ask_launcher(path: Path, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(message).encode() + b"\n")
            data, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
            while not data.endswith(b"\n"):
                more = connection.recv(65536)
                if not more:
                    raise EngineError("The launcher hung up before it answered.")
                data += more
        except OSError as error:
            raise EngineError(f"The launcher cannot be reached: {error}.") from error
    answer = json.loads(data)
    if not answer.get("ok"):
        raise EngineError(str(answer.get("error")), again=bool(answer.get("again")))
    return answer, list(descriptors)
