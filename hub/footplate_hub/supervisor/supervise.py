"""The supervisor: starts everything at once, keeps it running, and stops it in order.

Promises: SIGTERM and SIGINT leave nothing behind but running jobs, whose keepers the next start finds again;
SIGHUP leaves dev machines too, for an upgrade under open notebooks.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..jupyterhub.words import ACCESS, DEV_MARK, SUBMIT
from . import http
from .child import Child, become_subreaper
from .children import children, write_proxy_config
from .errors import UpError, disk_sentence
from .folder import write_whole
from .hub_api import keep_client_token, stop_dev_machines
from .logs import rotate
from .platform import PREFIX, Platform
from .remains import bury, end_fork_server, end_marked
from .status import Status

__all__ = ["Supervisor"]

_TICK = 0.1
_LOGS_EVERY = 60.0
_TRIES = 3


class Supervisor:
    """Runs one platform.

    Parameters
    ----------
    platform
        What to run; its folder's lock is held.
    on_ready
        Called once, when hub, proxy and service answer through the public port.
    """

    def __init__(self, platform: Platform, on_ready: Callable[[], None]) -> None:
        self._platform = platform
        self._on_ready = on_ready
        self._children = [Child(spec, self._say) for spec in children(platform)]
        self._status = Status(os.getpid(), platform.address, platform.multi_user, time.time())
        self._written: Status | None = None
        self._stopping = asyncio.Event()
        self._keep_dev_machines = False

    async def run(self) -> None:
        """Until a signal asks for the end."""
        become_subreaper()
        self._listen_for_signals()
        write_proxy_config(self._platform)
        keeping = [asyncio.create_task(child.keep(self._stopping)) for child in self._children]
        ready = asyncio.create_task(self._become_ready())
        looked_at_logs, problem = 0.0, None
        while not self._stopping.is_set():
            bury({child.pid for child in self._children if child.pid})
            self._tell()
            if time.monotonic() - looked_at_logs > _LOGS_EVERY:
                looked_at_logs = time.monotonic()
                self._rotate()
            if not ready.done() and (problem := self._cannot_start()):
                break
            try:
                await asyncio.wait_for(self._stopping.wait(), _TICK)
            except TimeoutError:
                continue
        ready.cancel()
        self._stopping.set()
        await self._stop(dev_machines=problem is None and not self._keep_dev_machines)
        await asyncio.gather(*keeping)
        self._platform.folder.status.unlink(missing_ok=True)
        if problem is not None:
            raise UpError(problem)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def stop(keep_dev_machines: bool) -> None:
            self._keep_dev_machines = keep_dev_machines
            self._stopping.set()

        loop.add_signal_handler(signal.SIGTERM, stop, False)
        loop.add_signal_handler(signal.SIGINT, stop, False)
        loop.add_signal_handler(signal.SIGHUP, stop, True)

    async def _become_ready(self) -> None:
        public = self._platform.ports.public
        for path in ("/hub/health", f"{PREFIX}healthz"):
            while not await self._answers(public, path):  # noqa: ASYNC110 - a port sends no event
                await asyncio.sleep(0.05)
        if not self._platform.multi_user:
            await self._keep_client()
        self._status = replace(self._status, ready=time.time())
        self._tell()
        self._on_ready()

    async def _answers(self, port: int, path: str) -> bool:
        try:
            # The browser's own way, except that a bound address other than loopback is not tried.
            return (await http.ask(port, path, timeout=2.0)).status == 200
        except OSError:
            return False

    async def _keep_client(self) -> None:
        """The command line's way in; without it everything but the command line works."""
        platform = self._platform
        try:
            await keep_client_token(platform, [ACCESS, SUBMIT])
            place = {"url": platform.service_url, "token_file": str(platform.folder.client_token)}
            write_whole(platform.folder.client, json.dumps(place, indent=2) + "\n")
        except OSError as error:
            self._say(f"the command line has no token: {error}")

    def _cannot_start(self) -> str | None:
        """A part that never comes up is for a person to mend; later ends are not, since it ran once."""
        for child in self._children:
            if child.restarts >= _TRIES:
                return f"the {child.spec.name} cannot start: {child.why}; {_last_line(child.spec.log)}"
        return None

    async def _stop(self, *, dev_machines: bool) -> None:
        platform = self._platform
        self._say("stopping" if dev_machines else "stopping; dev machines stay")
        if dev_machines:
            try:
                await stop_dev_machines(platform)
            except OSError as error:
                self._say(f"the hub did not stop its dev machines ({error}); ending their processes")
            await end_marked(DEV_MARK, str(platform.folder.path))
        for child in self._children:
            await child.stop()
            if child.spec.name == "service" and not platform.multi_user:
                await end_fork_server(platform.folder.service)
        bury({child.pid for child in self._children if child.pid})

    def _tell(self) -> None:
        """Write the status when it changed; a full disk is said, and is no reason to stop."""
        status = replace(self._status, children=Status.of(self._children))
        if status == self._written:
            return
        try:
            status.write(self._platform.folder)
            self._status = replace(self._status, trouble=None)
            self._written = replace(status, trouble=None)
        except OSError as error:
            trouble = disk_sentence(error, self._platform.folder.path)
            if trouble != self._status.trouble:
                self._status = replace(self._status, trouble=trouble)
                self._say(f"{trouble}; what runs goes on")

    def _rotate(self) -> None:
        try:
            rotate(self._platform.folder.log)
        except OSError as error:
            self._say(f"logs could not be rotated: {error.strerror}")

    def _say(self, sentence: str) -> None:
        sys.stderr.write(f"{time.strftime('%F %T')} {sentence}\n")
        sys.stderr.flush()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"the last line of {log} is: {said[:300]}"
