"""Stores why jobs wait whenever the reason is another one, apart from the path of admissions."""

from __future__ import annotations

import asyncio
import logging
import time

from footplate_spec import EventKind, Reason

from ..queue.model import Blocked, Plan, Shape
from ..store import Database, StoreError, Transaction, attempts
from .board import Board
from .lines import WaitingLine

__all__ = ["Explanations"]

log = logging.getLogger(__name__)
_EVERY = 2.0  # seconds: a line whose reason swings is stored no more often


class Explanations:
    """What passes said, on the board at once and in the store soon."""

    def __init__(self, database: Database, board: Board) -> None:
        self._database = database
        self._board = board
        self._storing: asyncio.Task[None] | None = None

    def note(self, plan: Plan) -> None:
        """Let the board know what a pass said."""
        by_line: dict[tuple[str, Shape], list[Blocked]] = {}
        for blocked in plan.blocked:
            first = blocked.workloads[0]
            by_line.setdefault((first.group, first.shape), []).append(blocked)
        for key, said in by_line.items():
            if key in self._board.lines:
                self._board.lines[key].note(said)

    def store_new(self) -> None:
        """Store reasons whose code is new."""
        if self._storing is not None and not self._storing.done():
            return
        due = time.monotonic() - _EVERY
        lines = [line for line in self._board.lines.values() if line.unexplained and line.explained_at < due]
        if lines:
            self._storing = asyncio.create_task(self._store(lines), name="explain")

    async def _store(self, lines: list[WaitingLine]) -> None:
        told: dict[str, Reason] = {}
        for line in lines:
            line.explained_at = time.monotonic()
            for job in list(line.unexplained):
                live = self._board.jobs.get(job)
                reason = self._board.reason(live) if live is not None else None
                if reason is not None:
                    told[job] = reason
                    line.unexplained.discard(job)

        async def unit(t: Transaction) -> None:
            waiting = {job: reason for job, reason in told.items() if self._board.waits(job)}
            texts = {id(reason): reason.model_dump_json() for reason in waiting.values()}
            await attempts.save_reasons(t, {job: texts[id(reason)] for job, reason in waiting.items()})
            for job, reason in waiting.items():
                t.record(
                    EventKind.JOB_EXPLAINED,
                    job,
                    group=self._board.jobs[job].life.job.group,
                    data={"code": reason.code.value, "message": reason.message},
                )

        try:
            await self._database.write(unit)
        except StoreError as error:
            log.warning("reasons were not stored: %s", error)
            for job in told:
                live = self._board.jobs.get(job)
                line_now = self._board.line_of(live) if live is not None else None
                if line_now is not None:
                    line_now.unexplained.add(job)
