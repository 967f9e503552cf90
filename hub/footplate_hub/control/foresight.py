"""ETAs in the service: given from the last pass, stored, and held against what came true.

Nothing here is in the way of a pass or of an answer: what was given waits in memory for the next round of the
loop, which stores it, looks which jobs have started or ended meanwhile, and learns from both. The store says
the same after a restart.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from footplate_spec import Eta, EtaAccuracy, Reason, ReasonCode

from ..queue import eta as queue_eta
from ..queue.honesty import Outcome
from ..queue.model import Blocked, Plan, Snapshot, Workload
from ..store import Database, StoreError, etas
from ..store.etas import Given
from .board import Board

__all__ = ["Foresight"]

log = logging.getLogger(__name__)
_ROUND = 5.0  # seconds between rounds
_FRESH = 10.0  # seconds that a forecast is given again
_SMALL = 200  # jobs waiting and running, up to which a forecast is made while somebody waits for the answer
_REMEMBERED = 1000  # outcomes from which accuracy is counted
_LEARNED = 5000  # endings that are read at once


class Foresight:
    """What the service foretells.

    Parameters
    ----------
    board
        Says the names of jobs.
    """

    def __init__(self, database: Database, board: Board) -> None:
        self._database = database
        self._board = board
        self._forecaster = queue_eta.Forecaster()
        self._last: tuple[Snapshot, Plan] | None = None
        self._forecast: tuple[float, queue_eta.Forecast] | None = None
        self._new = False  # whether a pass was made since the forecast
        self._one = asyncio.Lock()  # who holds it may look ahead in a thread, or learn
        self._rounds = asyncio.Lock()  # two at a time would store half each, and learn one start twice
        self._pending: list[Given] = []
        self._given: set[str] = set()  # waiting jobs that have a range
        self._outcomes: list[Given] = []
        self._seen = 0.0
        self._begun = False

    def note(self, snapshot: Snapshot, plan: Plan) -> None:
        """A pass was made."""
        self._last = (snapshot, plan)
        self._new = True

    def eta(self, workload: Workload) -> Eta | None:
        """Give a range, or say why none is known; None as long as there is no forecast."""
        if self._due() and not self._one.locked() and self._size() <= _SMALL:
            self._note_forecast(self._play())
        if self._forecast is None:
            return None
        now, forecast = self._forecast
        found = forecast.of(workload)
        if found.middle is not None:
            self._remember(workload.id, found, now)
        return _answer(found)

    async def prospect(self, workload: Workload) -> Eta | None:
        """When one would start that does not wait yet, behind those who do; not stored."""
        if self._last is None:
            return None
        snapshot, plan = self._last
        reason = Reason(code=ReasonCode.PENDING_EVALUATION, message="")
        asked = replace(plan, blocked=(*plan.blocked, Blocked.because((workload,), reason)))
        forecaster = queue_eta.Forecaster(self._forecaster.durations, self._forecaster.errors)
        async with self._one:
            names, now = _Names(self._board), time.time()
            forecast = await asyncio.to_thread(forecaster.forecast, snapshot, asked, now, names)
        return _answer(forecast.of(workload))

    def _due(self) -> bool:
        old = self._forecast is None or self._forecast[0] < time.time() - _FRESH
        return self._last is not None and (self._new or old)

    def _size(self) -> int:
        return len(self._board.jobs)

    def _play(self) -> Callable[[], tuple[float, queue_eta.Forecast]]:
        """Everything that a forecast needs, taken now; calling it may be done in a thread."""
        assert self._last is not None
        snapshot, plan = self._last
        names, now = _Names(self._board), time.time()
        self._new = False
        return lambda: (now, self._forecaster.forecast(snapshot, plan, now, names))

    def _note_forecast(self, play: Callable[[], tuple[float, queue_eta.Forecast]]) -> None:
        self._forecast = play()

    async def _refresh(self) -> None:
        """Look ahead anew, apart from the loop that answers people."""
        if not self._due():
            return
        async with self._one:
            await asyncio.to_thread(self._note_forecast, self._play())

    def _remember(self, job: str, eta: queue_eta.Eta, now: float) -> None:
        assert eta.low is not None
        assert eta.middle is not None
        assert eta.high is not None
        self._given.add(job)
        self._pending.append(Given(job, now, eta.low, eta.middle, eta.high, eta.basis))

    # The loop

    async def run(self) -> None:
        """Store, settle and learn, for ever."""
        while True:
            try:
                await self.round()
            except StoreError as error:
                log.warning("ETAs were not stored and are tried again: %s", error)
            await asyncio.sleep(_ROUND)

    async def round(self) -> None:
        """Bring the store and what is learned in step."""
        async with self._rounds:
            await self._round()

    async def _round(self) -> None:
        if not self._begun:
            async with self._database.read() as connection:
                self._learn(await etas.settled(connection, _REMEMBERED))
            self._begun = True
        await self._foretell()
        pending, self._pending = self._pending, []
        try:
            if pending:
                await self._database.write(lambda t: etas.save_given(t, pending))
        except StoreError:
            self._pending = pending + self._pending
            raise
        async with self._database.read() as connection:
            started = await etas.started_since_given(connection)
            ended = await etas.ended_since(connection, self._seen, _LEARNED)
        if started:
            came = {row: given.started for row, given in started.items() if given.started is not None}
            await self._database.write(lambda t: etas.settle(t, came))
            self._learn(list(started.values()))
        async with self._one:
            for job in ended:
                self._seen = max(self._seen, job.ended)
                self._forecaster.durations.add(job.group, job.owner, job.name, job.time_limit, job.ran)

    async def _foretell(self) -> None:
        """Give every job among the first in line one range, so that there is something to learn from."""
        if self._last is None:
            return
        self._given = {job for job in self._given if self._board.waits(job)}
        if self._last[1].blocked:
            await self._refresh()
        if self._forecast is not None:
            now, forecast = self._forecast
            for job, found in forecast.first().items():
                if found.middle is not None and job not in self._given and self._board.waits(job):
                    self._remember(job, found, now)

    def _learn(self, outcomes: Sequence[Given]) -> None:
        for row in outcomes:
            assert row.started is not None
            self._forecaster.errors.add(
                Outcome(
                    max(row.low - row.given, 0.0),
                    max(row.middle - row.given, 0.0),
                    max(row.high - row.given, 0.0),
                    row.started - row.given,
                )
            )
        self._outcomes = (self._outcomes + list(outcomes))[-_REMEMBERED:]

    # What people ask

    async def accuracy(self) -> EtaAccuracy:
        """How well it went so far."""
        async with self._database.read() as connection:
            given, still = await etas.count(connection)
        verdicts = Counter(_verdict(row) for row in self._outcomes)
        return EtaAccuracy(
            given=given + len(self._pending),
            open=still + len(self._pending),
            settled=len(self._outcomes),
            inside=verdicts["inside"],
            early=verdicts["early"],
            late=verdicts["late"],
            median_error=_median([abs((row.started or 0.0) - row.middle) for row in self._outcomes]),
            median_width=_median([row.high - row.low for row in self._outcomes]),
        )


class _Names(Mapping[str, str]):
    """Of jobs and attempts by id; of those who wait only the first are ever asked for."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __getitem__(self, id_: str) -> str:
        live = self._board.attempts.get(id_) or self._board.jobs.get(id_)
        if live is None:
            raise KeyError(id_)
        return live.spec.name

    def __iter__(self) -> Iterator[str]:
        return itertools.chain(self._board.jobs, self._board.attempts)

    def __len__(self) -> int:
        return len(self._board.jobs) + len(self._board.attempts)


def _verdict(row: Given) -> str:
    started = row.started or 0.0
    return "early" if started < row.low else "late" if started > row.high else "inside"


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _answer(found: queue_eta.Eta) -> Eta:
    return Eta(
        low=_moment(found.low),
        middle=_moment(found.middle),
        high=_moment(found.high),
        basis=found.basis,
        sentence=found.sentence,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
