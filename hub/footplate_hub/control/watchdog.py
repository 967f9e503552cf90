"""Looks after what no event would tell: a stop that nobody obeys, an agent that never speaks, a full disk."""

from __future__ import annotations

import asyncio
import logging
import time

from footplate_spec import REPLICA_FINAL, Cause, CauseCode, ReplicaState

from ..store import Database, StoreError, attempts
from .board import Board, LiveJob
from .dispatcher import Dispatcher
from .reconciler import Reconciler
from .silence import fenced

__all__ = ["Watchdog"]

log = logging.getLogger(__name__)
_EVERY = 1.0
_STOP_MARGIN = 30.0  # seconds after its grace in which a stopped process must have been reported
_STOP_UNBEGUN = 2.0  # the same where no agent has spoken: nothing is there to be saved
_FIRST_WORD = 300.0  # seconds in which an agent must have spoken once
_COMPARE_EVERY = 60.0


class Watchdog:
    """A loop of slow looks; nothing that must be quick depends on it."""

    def __init__(
        self, database: Database, board: Board, dispatcher: Dispatcher, reconciler: Reconciler
    ) -> None:
        self._database = database
        self._board = board
        self._dispatcher = dispatcher
        self._reconciler = reconciler
        self._compared = time.monotonic()
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(_EVERY)
            now = time.monotonic()
            if self._dispatcher.disk_low is not None:
                self._dispatcher.wake()
            self._board.spending.renew(time.time())
            if self._board.spending.renewed:
                self._board.spending.renewed = False
                self._dispatcher.wake()  # those wait for it whom a budget stopped
            self._dispatcher.explanations.store_new()
            if not self._database.sqlite:
                self._dispatcher.poll()  # other services take in jobs, too
            waiting = self._reconciler.waiting
            self._since = {
                attempt: now if attempt in waiting else self._since.get(attempt, now)
                for attempt in self._board.running
            }
            for attempt in list(self._board.running):
                live = self._board.attempts.get(attempt)
                if live is not None:
                    await self._fence(live, now)
                    self._look_at(live, attempt, now)
            if now - self._compared > _COMPARE_EVERY:
                self._compared = now
                await self._compare()

    async def _fence(self, live: LiveJob, now: float) -> None:
        for key, (holder, cause) in fenced(live, now).items():
            assert live.life.attempt is not None, "somebody holds a replica of it"
            log.warning("%s %s-%d: %s", live.id, *key, cause.message)
            await self._reconciler.fence(live, live.life.attempt.cluster, key, holder, cause)

    def _look_at(self, live: LiveJob, attempt: str, now: float) -> None:
        grace = live.spec.recovery.checkpoint_grace + _STOP_MARGIN
        stopping = 0.0 if live.stopping_since is None else now - live.stopping_since
        if stopping > grace:
            message = "It was told to stop and did not; it was killed."
        elif stopping > _STOP_UNBEGUN and all(
            row.state in REPLICA_FINAL or row.state is ReplicaState.PENDING
            for row in live.life.replicas.values()
        ):
            message = "It was told to stop before it began."
        elif now - self._since[attempt] > _FIRST_WORD and any(
            row.state is ReplicaState.PENDING and row.execution == 1 and key not in live.heard
            for key, row in live.life.replicas.items()
            if row.state not in REPLICA_FINAL
        ):
            message = (
                f"Its agent did not say a word in {_FIRST_WORD:g} s; agent.log in its folder may say why."
            )
        else:
            return
        log.warning("%s: %s", attempt, message)
        cause = Cause(code=CauseCode.PLATFORM_FAULT, message=message)
        self._reconciler.give_up(live, cause, again=True)

    async def _compare(self) -> None:
        """Waiting jobs that no event told of: there are none, unless something is broken."""
        try:
            async with self._database.read() as connection:
                ids = await attempts.queued(connection)
                missed = await attempts.read_jobs(connection, ids - self._board.jobs.keys())
        except StoreError as error:
            log.warning("the store was not compared: %s", error)
            return
        for row in missed:
            log.warning("%s waits, and nobody had told", row.id)
            await self._dispatcher.take_in(row)
        if missed:
            self._dispatcher.wake()
