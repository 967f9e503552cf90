"""What grows is cut back: old jobs, events and logs, blobs that nothing refers to, stale uploads.

Each step is small and safe to be killed in: the store forgets first, files go after, and files that the
store does not know are found again by the next round.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time

from .api.jobs import deleted
from .rooms import Rooms
from .store import StoreError, blobs, events, jobs, spending, views

__all__ = ["Retention"]

_log = logging.getLogger("footplate.retention")
_EVERY = 600.0  # seconds between rounds
_AT_ONCE = 500
_LONGEST_PERIOD = 400 * 86400.0  # of a budget, and a month


class Retention:
    """The loop that cuts back, in the background, one small transaction at a time."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._keep = rooms.settings.retention
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round comes after a while, not at start-up."""
        self._task = asyncio.create_task(self._for_ever(), name="retention")

    async def stop(self) -> None:
        """End the loop between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.round()
            except (StoreError, OSError) as error:
                _log.warning("cutting back failed and is tried again later: %s", error)

    async def round(self, now: float | None = None) -> None:
        """Cut everything back once, as of ``now`` in unix seconds."""
        now = time.time() if now is None else now
        await self._old_jobs(now)
        await self._old_events(now)
        await self._rooms.database.write(lambda t: spending.forget_before(t, now - _LONGEST_PERIOD))
        await self._files_of_nobody(now)
        await self._unused_blobs()
        await asyncio.to_thread(self._rooms.blobs.remove_stale_uploads, self._keep.blobs)

    async def _old_jobs(self, now: float) -> None:
        while True:
            async with self._rooms.database.read() as connection:
                old = await jobs.ended_before(connection, now - self._keep.jobs)
            if not old:
                return
            for job in old:
                await deleted(self._rooms, job, None)

    async def _old_events(self, now: float) -> None:
        moment = now - self._keep.events
        deleted_some = True
        while deleted_some:  # one small transaction after another: others write in between
            deleted_some = bool(await self._rooms.database.write(lambda t: events.delete_before(t, moment)))

    async def _files_of_nobody(self, now: float) -> None:
        """Logs past their time, and logs, metrics and checkpoints whose job is gone."""
        rooms = self._rooms
        found = await asyncio.to_thread(
            rooms.logs.attempts
        )  # before the store is read: newer ones are not judged
        reported = await asyncio.to_thread(rooms.metrics.jobs)
        kept = await rooms.control.kept()
        async with rooms.database.read() as connection:
            attempts = await views.attempt_ids(connection)
            known = await jobs.existing(connection, [*reported, *kept])
        rooms.control.forget("", kept - known)
        for attempt in found:
            ended = attempts.get(attempt, 0.0)
            if ended is not None and ended < now - self._keep.logs:
                await asyncio.to_thread(rooms.logs.remove, attempt)
        for job in reported:
            if job not in known:
                rooms.metrics.remove(job)

    async def _unused_blobs(self) -> None:
        rooms = self._rooms
        while True:
            async with rooms.database.read() as connection:
                unused = await blobs.sweepable(connection, time.time(), _AT_ONCE)
            if not unused:
                return
            async with rooms.blobs.sweeping(unused):
                gone = await rooms.database.write(functools.partial(blobs.forget, digests=unused))
                await asyncio.to_thread(rooms.blobs.remove, gone)
            rooms.kept_trees.clear()
            if not gone:
                return
