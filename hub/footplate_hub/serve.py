"""``python -m footplate_hub.serve``: the service as a process of its own.

One service a data folder, held by a lock that the system drops with the process. The folder is the
service's alone: keys, secrets and everybody's code lie there.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn

from . import heap
from .app import create_app
from .engines import EngineError, check_engines
from .engines.local.nodes import check_nodes
from .rooms import Rooms
from .settings import Settings, SettingsError, load_settings

__all__ = ["StartError", "main", "prepare"]

_PATIENCE = 5  # seconds that requests get to finish when the service is told to stop
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "uvicorn": {"level": "WARNING"},
        "tornado": {"level": "ERROR"},
        "alembic": {"level": "WARNING"},
    },
}


class StartError(Exception):
    """The service cannot start; the message is one sentence for the owner."""


def prepare(data: Path) -> int:
    """Make the data folder private and take it for this process; the lock's descriptor.

    Raises
    ------
    StartError
        If others may look into the folder, or another service has it.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = data.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise StartError(
                f"{data} holds keys and everybody's code, so it must be this user's alone: "
                f"chmod 700 {data}, and let its owner be the user that the service runs as"
            )
        lock = os.open(data / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"{data} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StartError(f"another service already uses {data}") from None
    return lock


class _Server(uvicorn.Server):
    """Ends what would not end by itself, people's streams and agents' waits, before it waits for the rest."""

    def __init__(self, config: uvicorn.Config, rooms: Rooms) -> None:
        super().__init__(config)
        self._rooms = rooms

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop: streams first, then the rest."""
        self._rooms.bus.close()
        self._rooms.control.hang_up()
        await super().shutdown(sockets)


def run(settings: Settings) -> bool:
    """Serve until a signal; whether it started."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.bind_host,
        port=settings.bind_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,  # paths and headers hold what does not belong in a log
        log_config=_LOGGING,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
        timeout_keep_alive=75,
        backlog=4096,
    )
    server = _Server(config, app.state.rooms)
    server.run()
    return server.started


def main() -> None:
    """Start with ``footplate.yaml`` and the environment; exit status 2 says that it cannot."""
    os.umask(0o077)
    try:
        settings = load_settings()
        check_nodes(settings.clusters)
        check_engines(settings.clusters)
        prepare(settings.data)
    except (SettingsError, EngineError, StartError) as error:
        sys.exit(_refused(str(error)))
    heap.watch()
    if not run(settings):
        sys.exit(1)
    logging.shutdown()


def _refused(sentence: str) -> int:
    sys.stderr.write(f"footplate: {sentence}\n")
    return 2


if __name__ == "__main__":
    main()
