"""The replica folder: the one truth that keeper and agent share, and that survives them both.

Everything that must be true after a SIGKILL is a file here, written whole under another name, synced and
renamed. ``started-N`` is the exception: it is created exclusively, which is what makes an execution happen
at most once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

__all__ = ["MARK", "ExitRecord", "ReplicaFolder", "jot", "parse_directory", "write_atomic"]

MARK = "FOOTPLATE_REPLICA_DIR"
_DIRECTORY = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?/[a-z0-9](?:[a-z0-9-]{0,50}[a-z0-9])?-[0-9]{1,6}"
)
_RESERVE = 64 * 1024
# Somebody who only looks whether the lock is free holds it for microseconds.
_LOCK_TRIES = 10
_LOCK_PAUSE = 0.01


def parse_directory(name: object) -> str:
    """``<attempt>/<role>-<index>``, or a `ValueError`: the name comes over a socket and becomes a path."""
    if not isinstance(name, str) or _DIRECTORY.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a replica's folder; it reads <attempt>/<role>-<index>")
    return name


def jot(text: str) -> None:
    """A line for ``agent.log``. On a full disk it is lost: a note must not end who makes it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text.rstrip()}\n")
        sys.stderr.flush()


def write_atomic(path: str, data: bytes, mode: int = 0o600, sync: bool = True) -> None:
    """Write a file whole or not at all; with ``sync`` it is on the disk, name included, on return."""
    fresh = f"{path}.{os.getpid()}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb", closefd=True) as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.rename(fresh, path)
    except BaseException:
        _forget(fresh)
        raise
    if sync:
        _sync_directory(os.path.dirname(path))


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class ExitRecord:
    """How one execution ended, as ``exit-N.json`` keeps it.

    Parameters
    ----------
    ran
        Whether the user's program was executed.
    lost
        The keeper that watched it died; nobody knows how the program ended.
    message
        What the keeper or the agent knows beyond the numbers, for a person.
    cause
        Code of the first cause where the agent ended the execution before its program started.
    """

    execution: int
    exit_code: Optional[int] = None
    signal: Optional[int] = None
    stopped: Optional[str] = None
    ran: bool = True
    lost: bool = False
    started: Optional[float] = None
    ended: Optional[float] = None
    oom: bool = False
    message: str = ""
    cause: Optional[str] = None


class ReplicaFolder:
    """Names and truths of one replica's folder.

    Parameters
    ----------
    path
        ``<replicas root>/<attempt>/<role>-<index>``; made absolute, since processes are found by it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.work = self.file("work")
        self.result = self.file("result")
        self.output = self.file("output")
        self.call = self.file("call")
        self.secrets = self.file("secrets")
        self._lock: Optional[int] = None

    def file(self, name: str) -> str:
        """The path of ``name`` in the folder."""
        return os.path.join(self.path, name)

    def log(self, execution: int) -> str:
        """Where execution N's output stands."""
        return self.file(f"output-{execution}")

    def metrics(self, execution: int) -> str:
        """Where execution N's ``footplate.report`` lines stand."""
        return self.file(f"metrics-{execution}")

    def read_start(self) -> Dict[str, Any]:
        """What to run.

        Raises
        ------
        OSError, ValueError
            If ``start.json`` is not there or not JSON.
        """
        with open(self.file("start.json"), encoding="utf-8") as file:
            start = json.load(file)
        if not isinstance(start, dict):
            raise ValueError("start.json holds no object")  # noqa: TRY004 - a file, not an argument
        return start

    def sync_start(self) -> None:
        """Put ``start.json`` on the disk: what started must be able to say what it was."""
        with open(self.file("start.json"), "rb") as file:
            os.fsync(file.fileno())

    def take_lock(self) -> bool:
        """Become this folder's keeper, unless it has one. Held until this process ends."""
        descriptor = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for attempt in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if attempt < _LOCK_TRIES - 1:
                    time.sleep(_LOCK_PAUSE)
            else:
                self._lock = descriptor
                return True
        os.close(descriptor)
        return False

    def drop_lock(self) -> None:
        """Close the inherited lock in a forked child, so that it does not outlive the keeper."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def locked(self) -> bool:
        """Whether a keeper lives here."""
        try:
            descriptor = os.open(self.file("lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def mark_started(self, execution: int, now: float) -> bool:
        """Claim execution N for ever; False if it was claimed or has ended before."""
        if os.path.exists(self._exit_path(execution)):
            return False
        try:
            descriptor = os.open(
                self._started_path(execution), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({"started": now}).encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.path)
        return True

    def started(self, execution: int) -> bool:
        """Whether execution N was ever started."""
        return os.path.exists(self._started_path(execution))

    def started_at(self, execution: int) -> Optional[float]:
        """Unix time of execution N's start, where its mark says so."""
        try:
            with open(self._started_path(execution), encoding="utf-8") as file:
                return float(json.load(file)["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # killed between the mark and its content: that it exists is what counts

    def executions(self) -> List[int]:
        """Numbers of all executions that were started or have ended, in order."""
        numbers = set()
        for name in os.listdir(self.path):
            match = re.fullmatch(r"(?:started-([0-9]+))|(?:exit-([0-9]+)\.json)", name)
            if match is not None:
                numbers.add(int(match[1] or match[2]))
        return sorted(numbers)

    def write_exit(self, record: ExitRecord) -> None:
        """Record an end, synced. The first record stands: an execution ends once."""
        if self.read_exit(record.execution) is None:
            write_atomic(self._exit_path(record.execution), json.dumps(record.__dict__).encode())

    def read_exit(self, execution: int) -> Optional[ExitRecord]:
        """How execution N ended, or None while it has not."""
        try:
            with open(self._exit_path(execution), encoding="utf-8") as file:
                fields = json.load(file)
        except FileNotFoundError:
            return None
        known = ExitRecord.__dataclass_fields__
        return ExitRecord(**{name: value for name, value in fields.items() if name in known})

    def read_notes(self) -> Dict[str, Any]:
        """The agent's own notes; losing them costs time, never truth."""
        try:
            with open(self.file("agent.json"), encoding="utf-8") as file:
                notes = json.load(file)
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def write_notes(self, notes: Dict[str, Any]) -> None:
        """Replace the agent's notes, if the disk takes them."""
        try:
            write_atomic(self.file("agent.json"), json.dumps(notes).encode(), sync=False)
        except OSError as error:
            jot(f"agent.json: {error}")

    def reserve(self) -> None:
        """Keep room on the disk, so that an end can be recorded even where a program filled it."""
        with open(self.file("reserve"), "wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, _RESERVE)

    def use_reserve(self) -> None:
        """Give the room back."""
        _forget(self.file("reserve"))

    def _started_path(self, execution: int) -> str:
        return self.file(f"started-{execution}")

    def _exit_path(self, execution: int) -> str:
        return self.file(f"exit-{execution}.json")
