"""Writes the turns of many jobs together: what was decided while one commit went on shares the next.

A caller returns when its change is on disk, and not before: what an agent is told, or an engine asked to
do, always follows from something that is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..store import Database, Transaction, attempts, blobs
from ..store.attempts import Change

__all__ = ["Recorder"]

_LARGEST = 256


@dataclass
class _Waiting:
    change: Change | None
    removed: str | None
    done: asyncio.Future[None]


class Recorder:
    """One task that writes, and everybody's place to wait for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name="recorder")

    async def stop(self) -> None:
        """Finish what was accepted."""
        if self._task is not None:
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
        await self._put(change, None)

    async def removed(self, attempt: str) -> None:
        """Store that an engine holds nothing of an attempt any more."""
        await self._put(None, attempt)

    async def _put(self, change: Change | None, removed: str | None) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(change, removed, done))
        await asyncio.shield(done)

    async def _write_for_ever(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < _LARGEST and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                await self._write(group)
            finally:
                for _ in group:
                    self._waiting.task_done()

    async def _write(self, group: Sequence[_Waiting]) -> None:
        async def unit(t: Transaction) -> None:
            changes = [waiting.change for waiting in group if waiting.change is not None]
            await attempts.save(t, changes)
            for change in changes:
                await _refer(t, change)
            if gone := [waiting.removed for waiting in group if waiting.removed is not None]:
                await attempts.mark_removed(t, gone)

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
