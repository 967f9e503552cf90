"""Into the background: the supervisor goes on in its own session, and the caller waits until it is ready."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from ..supervisor.errors import UpError
from ..supervisor.folder import Lock
from ..supervisor.platform import Platform

__all__ = ["detach"]

_READY = b"ready"


def detach(platform: Platform, lock: Lock) -> None:
    """Fork the supervisor off, with the lock, and return when everything answers.

    Raises
    ------
    UpError
        If it ends before it is ready; its log says why.
    """
    log = platform.folder.log / "supervisor.log"
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _supervise(platform, lock, log, theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb") as pipe:
            said = pipe.read()
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    if said != _READY:
        os.waitpid(pid, 0)
        raise UpError(said.decode() or f"the platform ended while it was starting; {log} says why")


def _supervise(platform: Platform, lock: Lock, log: Path, ready: int) -> NoReturn:
    from ..supervisor.supervise import Supervisor

    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((null, 0), (written, 1), (written, 2)):
        os.dup2(descriptor, target)
    lock.write_pid()
    code = 1

    def on_ready() -> None:
        os.write(ready, _READY)
        os.close(ready)

    try:
        asyncio.run(Supervisor(platform, on_ready).run())
        code = 0
    except UpError as error:
        os.write(ready, str(error).encode())
    except BaseException:  # noqa: BLE001 - a forked copy must never return to the caller's code
        sys.excepthook(*sys.exc_info())
    finally:
        lock.release()
        os._exit(code)
