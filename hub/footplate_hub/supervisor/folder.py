"""The data folder: where everything of one platform lies, and who may look at it.

Promises: a file that matters is whole or absent, whenever the process is killed; a folder of one person is
private (0700), one of a server for several people can be passed through but not listed (0711).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..keys import read_or_make
from .errors import UpError, disk_sentence

__all__ = ["DataFolder", "Lock", "write_whole"]

_PRIVATE = 0o700
_PASSABLE = 0o711


def write_whole(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step: readers see the old text or the new one."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


@dataclass(frozen=True)
class DataFolder:
    """The map of one platform's folder.

    Parameters
    ----------
    path
        Absolute; made by `create`.
    """

    path: Path

    @property
    def platform(self) -> Path:
        """What is kept between two starts: mode, ports, person."""
        return self.path / "platform.json"

    @property
    def status(self) -> Path:
        """What the running supervisor says about itself; worth something only while the lock is held."""
        return self.path / "status.json"

    @property
    def client(self) -> Path:
        """Where the command line finds the service and its token."""
        return self.path / "client.json"

    @property
    def client_token(self) -> Path:
        """The command line's token."""
        return self.path / "client_token"

    @property
    def login(self) -> Path:
        """Hashes of the login links that nobody has used yet."""
        return self.path / "login"

    @property
    def log(self) -> Path:
        """One log a child, one a dev machine."""
        return self.path / "log"

    @property
    def hub(self) -> Path:
        """The hub's database and secrets."""
        return self.path / "hub"

    @property
    def proxy(self) -> Path:
        """Traefik's configuration and the routes that the hub writes."""
        return self.path / "proxy"

    @property
    def service(self) -> Path:
        """The service's own folder (its ``data`` setting)."""
        return self.path / "service"

    @property
    def run(self) -> Path:
        """Sockets."""
        return self.path / "run"

    @property
    def users(self) -> Path:
        """The replicas of each person, on a server for several people."""
        return self.path / "users"

    def create(self, *, shared: bool) -> None:
        """Make what is missing, and refuse a folder that others can look into.

        Parameters
        ----------
        shared
            For several people: their processes pass through the folder to what is theirs.

        Raises
        ------
        UpError
            If it cannot be made or is not private enough.
        """
        allowed = _PASSABLE if shared else _PRIVATE
        try:
            if not self.path.exists():
                self.path.mkdir(mode=_PRIVATE, parents=True)
            found = self.path.stat()
            if found.st_uid != os.geteuid():
                raise UpError(f"{self.path} belongs to another user; choose a folder of your own with --dir")
            if stat.S_IMODE(found.st_mode) & ~allowed:
                raise UpError(
                    f"{self.path} holds secrets and others can look into it; "
                    f"run: chmod {allowed:o} {self.path}"
                )
            self.path.chmod(allowed)
            for part in (self.login, self.log, self.hub, self.proxy, self.service):
                part.mkdir(mode=_PRIVATE, exist_ok=True)
            for part in (self.run, self.users) if shared else ():
                part.mkdir(mode=_PRIVATE, exist_ok=True)
                part.chmod(_PASSABLE)
        except OSError as error:
            raise UpError(disk_sentence(error, self.path)) from None

    def secret(self, name: str) -> str:
        """A secret of the platform's own parts, made once and kept.

        Running dev machines and the proxy's routes hold what was derived from it, so it never changes.
        """
        return read_or_make(self.hub / name, lambda: secrets.token_hex(32).encode()).decode().strip()


class Lock:
    """Held by the one supervisor of a folder, as long as its process lives.

    Parameters
    ----------
    folder
        Whose lock.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._file = folder.path / "lock"
        self._held: IO[str] | None = None

    def take(self) -> bool:
        """Whether the lock could be taken."""
        held = os.fdopen(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return False
        self._held = held
        return True

    def write_pid(self) -> None:
        """Name the holder, for `holder`; after a fork, by the process that stays."""
        assert self._held is not None
        self._held.truncate(0)
        self._held.write(str(os.getpid()))
        self._held.flush()

    def release(self) -> None:
        """Give it back; a holder that is killed gives it back too."""
        if self._held is not None:
            self._held.truncate(0)
            self._held.close()
            self._held = None

    def holder(self) -> int | None:
        """Process id of the supervisor that runs now, or None."""
        try:
            file = self._file.open("r+")
        except FileNotFoundError:
            return None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
            return None
