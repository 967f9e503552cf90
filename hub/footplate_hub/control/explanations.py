"""Stores why jobs wait whenever the reason is another one, apart from the path of admissions.

A pass leaves the code of every job as a number; only whose number is another than before is looked at here,
and only for them a sentence is made.
"""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np

from footplate_spec import EventKind, Reason

from ..queue.nodes import Ids
from ..queue.verdicts import Verdicts
from ..store import Database, StoreError, Transaction, attempts
from .board import Board

__all__ = ["Explanations"]

log = logging.getLogger(__name__)
_EVERY = 2.0  # seconds: the reason of a job that swings is stored no more often
_CHUNK = 128  # jobs a transaction
_AT_ONCE = 16  # sentences that are made before others have their turn
_NONE = -1


class Explanations:
    """What passes said, on the board at once and in the store soon."""

    def __init__(self, database: Database, board: Board) -> None:
        self._database = database
        self._board = board
        self._storing: asyncio.Task[None] | None = None
        self._numbering: object = None
        self._told: Ids = np.zeros(0, dtype=np.int64)  # the code of each workload by its number
        self._due: dict[str, None] = {}  # jobs whose stored reason may have another code, in order
        self._stored: dict[str, float] = {}  # jobs, and when, of late

    def note(self, said: Verdicts) -> None:
        """Let the board know what a pass said."""
        before, self._board.said = self._board.said, said
        end = int(said.numbers.max(initial=_NONE)) + 1
        if said.numbering is self._numbering:
            more = max(0, end - len(self._told))
            self._told = np.append(self._told, np.full(more, _NONE, dtype=np.int64))
        else:
            known = {w.id: c for w, c in zip(before.workloads, before.codes, strict=True)} if before else {}
            self._numbering, self._told = said.numbering, np.full(end, _NONE, dtype=np.int64)
            self._told[said.numbers] = [known.get(w.id, _NONE) for w in said.workloads]
        new = np.flatnonzero(self._told[said.numbers] != said.codes)
        self._told[said.numbers[new]] = said.codes[new]
        self._due.update((workload.id, None) for workload in said.workloads[new])

    def store_new(self) -> None:
        """Store reasons whose code is new."""
        if self._due and (self._storing is None or self._storing.done()):
            self._storing = asyncio.create_task(self._store(), name="explain")

    async def _store(self) -> None:
        while ready := self._ready():
            told = await self._told_of(ready)
            try:
                await self._database.write(lambda t, told=told: self._write(t, told))  # type: ignore[misc]
            except StoreError as error:
                log.warning("reasons were not stored: %s", error)
                self._due.update(dict.fromkeys(ready))
                return
            self._stored.update(dict.fromkeys(told, time.monotonic()))

    def _ready(self) -> list[str]:
        """The next that were not stored just now; they are not due any more."""
        late = time.monotonic() - _EVERY
        self._stored = {job: when for job, when in self._stored.items() if when > late}
        ready, gone = [], []
        for job in self._due:
            if not self._board.waits(job):
                gone.append(job)
            elif job not in self._stored:
                ready.append(job)
                if len(ready) == _CHUNK:
                    break
        for job in (*ready, *gone):
            del self._due[job]
        return ready

    async def _told_of(self, jobs: list[str]) -> dict[str, Reason]:
        told: dict[str, Reason] = {}
        for number, job in enumerate(jobs):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            live = self._board.jobs.get(job)
            reason = self._board.reason(live) if live is not None else None
            if reason is not None:
                told[job] = reason
        return told

    async def _write(self, t: Transaction, told: dict[str, Reason]) -> None:
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
