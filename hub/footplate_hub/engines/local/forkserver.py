"""The service's side of a fork server: one connection, numbered questions, and ends as they happen.

The connection is kept while the engine runs, since a fork server that nobody talks to ends itself. When
it breaks (the fork server was killed), the next one is started and asked for everything that is there:
keepers do not depend on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ..base import EngineError

__all__ = ["Connect", "ForkServer", "Refusal"]

log = logging.getLogger(__name__)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]
_LARGEST_LINE = 64 * 2**20
_AGAIN_FIRST, _AGAIN_LAST = 0.05, 5.0
LIMIT = _LARGEST_LINE


class Refusal(Exception):  # noqa: N818 - a fork server's "no", to be dealt with by the engine
    """The fork server will not; the message says why."""


class ForkServer:
    """One person's fork server.

    Parameters
    ----------
    connect
        Connects, starting the fork server where none answers.
    on_seen
        Called with a replica's folder (``<attempt>/<role>-<index>``) and whether its keeper lives: for
        everything there is after each connection, and whenever a keeper ends.
    """

    def __init__(self, connect: Connect, on_seen: Callable[[str, bool], None]) -> None:
        self._connect = connect
        self._on_seen = on_seen
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._streams: Streams | None = None
        self._opening = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._alive: set[str] = set()
        self._closed = False

    async def open(self) -> None:
        """Connect now, so that the first start need not wait."""
        async with self._opening:
            if self._streams is not None or self._closed:
                return
            streams = await self._connect()
            self._streams = streams
            self._reader = asyncio.create_task(self._read(streams), name="fork-server")
            before, self._alive = self._alive, set()
            for replica in (await self._ask("list"))["replicas"]:
                if replica["alive"]:
                    self._alive.add(replica["dir"])
                self._on_seen(replica["dir"], bool(replica["alive"]))
            for gone in before - self._alive:
                self._on_seen(gone, False)

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask, and wait for the answer; once more if the fork server died over it.

        Raises
        ------
        Refusal
            If the fork server refuses.
        EngineError
            If no fork server can be reached.
        """
        for last in (False, True):
            try:
                await self.open()
                if do == "start":
                    self._alive.add(fields["dir"])
                return await self._ask(do, **fields)
            except OSError as error:
                if last:
                    raise EngineError(f"The fork server cannot be reached: {error}.") from error
        raise AssertionError("unreachable")

    async def close(self, *, end: bool) -> None:
        """Hang up; with ``end``, the fork server ends too."""
        self._closed = True
        if end and self._streams is not None:
            with contextlib.suppress(OSError, Refusal, TimeoutError):
                await asyncio.wait_for(self._ask("end"), 2)
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._hang_up()

    async def _ask(self, do: str, **fields: Any) -> dict[str, Any]:
        if self._streams is None:
            raise ConnectionResetError("it ended")
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            writer = self._streams[1]
            writer.write(json.dumps({"id": number, "do": do, **fields}).encode() + b"\n")
            await writer.drain()
            told = await answer
        finally:
            self._asked.pop(number, None)
        if not told.get("ok"):
            raise Refusal(str(told.get("error")))
        return told

    async def _read(self, streams: Streams) -> None:
        try:
            while line := await streams[0].readline():
                self._take(json.loads(line))
        except (OSError, ValueError) as error:
            log.warning("fork server: %s", error)
        self._hang_up()
        if self._alive and not self._closed:
            self._reader = asyncio.create_task(self._open_again(), name="fork-server-again")

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("event") == "ended":
            self._alive.discard(message["dir"])
            self._on_seen(message["dir"], False)
            return
        answer = self._asked.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("it ended before it answered"))

    async def _open_again(self) -> None:
        """Keepers live whose ends are to be seen: do not wait until somebody asks."""
        pause = _AGAIN_FIRST
        while not self._closed:
            try:
                await self.open()
            except (OSError, EngineError, Refusal) as error:
                log.warning("fork server: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _AGAIN_LAST)
            else:
                return
