"""How a turn is taken: decided, stored, then seen by everybody. The one place where lives change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from footplate_spec import EventKind

from .board import Board, LiveJob
from .course import settle
from .life import Life, Turn
from .ranks import complete, places
from .recorder import Recorder

__all__ = ["Turns"]

_CHANGES_WHAT_RUNS = {
    EventKind.JOB_STARTED.value,
    EventKind.JOB_EXTENDED.value,
    EventKind.JOB_EDITED.value,
}
Follow = Callable[[LiveJob, Life], None]


class Turns:
    """Takes turns.

    Parameters
    ----------
    follow
        Called with a job and its life before, once a turn is stored and on the board.
    """

    def __init__(self, board: Board, recorder: Recorder, follow: Follow) -> None:
        self._board = board
        self._recorder = recorder
        self._follow = follow

    async def take(self, live: LiveJob, decide: Callable[[Turn], None]) -> None:
        """Decide a job's next turn under its lock, and store it.

        Raises
        ------
        StoreError
            If it could not be stored: then nothing has changed.
        """
        # A caller that goes away must not leave what is stored and what is remembered apart.
        await asyncio.shield(asyncio.ensure_future(self._take(live, decide)))

    async def _take(self, live: LiveJob, decide: Callable[[Turn], None]) -> None:
        async with live.lock:
            turn = Turn(live.life, live.spec, time.time())
            decide(turn)
            settle(turn, self._board.usable)
            if not turn.change.empty:
                await self._recorder.save(turn.change)
                self.stored(live, turn)

    def stored(self, live: LiveJob, turn: Turn) -> None:
        """Let a stored turn be seen. The caller holds the job's lock."""
        before, live.life = live.life, turn.after
        after = live.life
        if after.job.stopping != before.job.stopping:
            live.stopping_since = time.monotonic() if after.job.stopping else None
        self._board.sync(live)
        if any(what.kind in _CHANGES_WHAT_RUNS for what in turn.happenings):
            self._board.began(live)
        if _concerns_agents(before, after):
            live.notify()
        self._follow(live, before)


def _concerns_agents(before: Life, after: Life) -> bool:
    if before.job is not after.job or before.attempt is not after.attempt:
        return True
    if [r.execution for r in before.replicas.values()] != [r.execution for r in after.replicas.values()]:
        return True
    if len(after.replicas) == 1:
        return False
    return complete(before.replicas) != complete(after.replicas) or places(before.replicas) != places(
        after.replicas
    )
