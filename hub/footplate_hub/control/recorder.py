"""Writes the turns of many jobs together: what was decided while one commit went on shares the next.

A caller returns when its change is on disk, and not before: what an agent is told, or an engine asked to
do, always follows from something that is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..store import Database, StoreError, Transaction, attempts, blobs
from ..store.attempts import Change

__all__ = ["Recorder"]

log = logging.getLogger(__name__)
_LARGEST = 256
_REMOVALS_EVERY = 0.5  # seconds


@dataclass
class _Waiting:
    change: Change
    done: asyncio.Future[None]


class Recorder:
    """One task that writes, and everybody's place to wait for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue()  # None: removals are due
        self._removed: list[str] = []
        self._later: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name="recorder")

    async def stop(self) -> None:
        """Finish what was accepted."""
        if self._task is not None:
            if self._later is not None:
                self._later.cancel()
            self._waiting.put_nowait(None)
            await self._waiting.join()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def save(self, change: Change) -> None:
        """Store a change.

        Raises
        ------
        StoreError
            If the database did not take it; nothing of it was kept.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(change, done))
        await asyncio.shield(done)

    def removed(self, attempt: str) -> None:
        """Store some time that an engine holds nothing of an attempt any more: nobody waits for that."""
        if not self._removed:
            self._later = asyncio.get_running_loop().call_later(
                _REMOVALS_EVERY, self._waiting.put_nowait, None
            )
        self._removed.append(attempt)

    async def _write_for_ever(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < _LARGEST and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                if changes := [waiting for waiting in group if waiting is not None]:
                    await self._write(changes)
                if None in group:
                    await self._write_removed()
            finally:
                for _ in group:
                    self._waiting.task_done()

    async def _write(self, group: Sequence[_Waiting]) -> None:
        async def unit(t: Transaction) -> None:
            changes = [waiting.change for waiting in group]
            await attempts.save(t, changes)
            for change in changes:
                await _refer(t, change)

        try:
            await self._database.write(unit)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            if len(group) > 1:  # one change that cannot be stored must not keep others from it
                for waiting in group:
                    await self._write([waiting])
                return
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
            return
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _write_removed(self) -> None:
        gone, self._removed = self._removed, []
        if not gone:
            return
        try:
            await self._database.write(lambda t: attempts.mark_removed(t, gone))
        except StoreError as error:
            log.warning("removals were not stored; they are repeated: %s", error)
            for attempt in gone:
                self.removed(attempt)


async def _refer(t: Transaction, change: Change) -> None:
    """Keep a result's blobs, as far as the job's owner has them: a digest alone opens nothing."""
    result = change.job.result if change.job_changed else None
    if result is None:
        return
    named = {payload.digest for payload in result.outputs.values()}
    if result.files is not None:
        named.add(result.files)
    if named:
        theirs = await blobs.owned(t.connection, change.job.owner, named)
        await blobs.refer(t, change.job.id, theirs)
