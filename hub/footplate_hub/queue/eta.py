"""When those who wait will start: a range that holds four times out of five, with what it rests on.

The first thousand are played forward over running ends and learned durations; those behind them share the
pace that this shows. What cannot be known is said to be unknown. Nothing here is ever read by a reservation.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from footplate_spec.reasons import ReasonCode

from . import forward
from .durations import Durations
from .honesty import Errors
from .model import Place, Plan, Running, Snapshot, Workload
from .orders import Key, Use, order_named
from .policies import domain
from .pools import Fleet, Held, World

__all__ = ["FIRST", "Eta", "Forecast", "Forecaster"]

FIRST = 1000
_GRACE = 60.0
_WORK = 6000  # jobs, waiting and running, that one forecast plays forward in all its futures together
_MOST_FUTURES = 7

Basis = Literal["history", "limits", "pace", "unknown"]

# Whoever waits for one of these starts when something else ends; all else is for people to change.
_PLAYED = {
    code
    for name in (
        "WAITING_FOR_QUOTA",
        "BORROWING_LIMIT_REACHED",
        "WAITING_FOR_PREEMPTED_WORKLOADS",
        "WAITING_FOR_CAPACITY",
        "TOPOLOGY_PLACEMENT_FAILED",
        "RESERVED_FOR_AHEAD",
        "PENDING_EVALUATION",
    )
    if (code := getattr(ReasonCode, name, None)) is not None
}


@dataclass(frozen=True, slots=True)
class Eta:
    """When a workload will start.

    Parameters
    ----------
    low, middle, high
        Unix seconds: one in ten starts before the range, one in ten after it. None where it is not known.
    basis
        ``history``: learned durations; ``limits``: time limits and a guess, nothing having ended yet;
        ``pace``: from how fast those ahead start; ``unknown``.
    sentence
        The same in words.
    """

    low: float | None
    middle: float | None
    high: float | None
    basis: Basis
    sentence: str


class Forecaster:
    """What is learned from one pass to the next.

    Parameters
    ----------
    durations, errors
        May be shared and go on learning.
    """

    def __init__(self, durations: Durations | None = None, errors: Errors | None = None) -> None:
        self.durations = durations or Durations()
        self.errors = errors or Errors()
        self._held: dict[str, tuple[Running, Held]] = {}
        self._fleet: Fleet | None = None

    def forecast(
        self, snapshot: Snapshot, plan: Plan, now: float, names: Mapping[str, str] | None = None
    ) -> Forecast:
        """Foretell for all who stay.

        Parameters
        ----------
        snapshot, plan
            What a pass saw and decided.
        names
            Job names by id, for histories; may be absent.
        """
        return Forecast(self, snapshot, plan, now, names or {})

    def fleet(self, snapshot: Snapshot) -> Fleet:
        """The nodes; counted once as long as they are the same."""
        fleet = self._fleet
        if fleet is None or fleet.nodes is not snapshot.nodes or fleet.clusters != snapshot.clusters:
            fleet = self._fleet = Fleet(snapshot.nodes, snapshot.clusters)
        return fleet

    def held(self, attempt: Running) -> Held:
        """What an attempt holds of each place; counted once as long as it is the same attempt."""
        known = self._held.get(attempt.id)
        if known is not None and known[0] is attempt:
            return known[1]
        sums: dict[Place, list[int]] = {}
        for placement in attempt.placements:
            row = sums.setdefault((placement.cluster, placement.flavor), [0, 0, 0])
            row[0] += placement.need.cpu
            row[1] += placement.need.memory
            row[2] += placement.need.gpu
        parts = [(place, (row[0], row[1], row[2])) for place, row in sums.items()]
        self._held[attempt.id] = (attempt, parts)
        return parts

    def forget(self, running: Iterable[Running]) -> None:
        """Keep what is known of these only."""
        ids = {attempt.id for attempt in running}
        if len(self._held) > 2 * len(ids) + 64:
            self._held = {id_: held for id_, held in self._held.items() if id_ in ids}


class Forecast:
    """One pass, played forward. Ranges are made when they are asked for."""

    def __init__(
        self, forecaster: Forecaster, snapshot: Snapshot, plan: Plan, now: float, names: Mapping[str, str]
    ) -> None:
        self._forecaster, self._plan, self._now, self._names = forecaster, plan, now, names
        self._snapshot = snapshot
        self._use = Use(snapshot.groups, snapshot.running, now)
        self._keys: dict[tuple[str, tuple[str, ...]], Key] = {}
        self._reserved = {reservation.workload: reservation.start for reservation in plan.reserve}
        self._waiting = tuple(itertools.islice(self._in_order(), FIRST + 1))
        self._rest = len(self._waiting) > FIRST
        self._waiting = self._waiting[:FIRST]
        self._number = {workload.id: n for n, workload in enumerate(self._waiting)}
        self._running = self._attempts(snapshot)
        forecaster.forget(self._running)
        self._world = World(
            forecaster.fleet(snapshot),
            snapshot,
            self._running,
            [forecaster.held(attempt) for attempt in self._running],
            self._waiting,
        )
        self._waits = self._play() if self._waiting else np.empty(0)
        self._learned = forecaster.durations.of("").whose != ""

    def of(self, workload: Workload) -> Eta:
        """The range of one that waits."""
        if workload.waits is not None:
            return _waits_for(workload.waits.code)
        number = self._number.get(workload.id)
        if number is not None:
            wait = float(self._waits[number])
            if math.isinf(wait):
                return _unknown("nothing that runs and has a time limit frees enough for it")
            return self._range(workload, wait, "history" if self._learned else "limits")
        reason = self._plan.reasons.get(workload.id)
        if reason is None:
            return _unknown("it does not wait in this pass")
        if reason.code not in _PLAYED:
            return _waits_for(reason.code)
        pace = self._pace(workload)
        return (
            _unknown("nobody ahead is known to start")
            if pace is None
            else self._range(workload, pace, "pace")
        )

    def first(self) -> dict[str, Eta]:
        """The ranges of the first thousand."""
        return {workload.id: self.of(workload) for workload in self._waiting}

    def _in_order(self) -> Iterator[Workload]:
        """All whom something that ends lets start, in the order in which a pass considers them."""
        lines = [blocked.workloads for blocked in self._plan.blocked if blocked.reason.code in _PLAYED]
        return heapq.merge(*lines, key=self._turn)

    def _turn(self, workload: Workload) -> tuple[Key, tuple[int, int, float, str]]:
        key = (workload.group, workload.shape.clusters)
        if key not in self._keys:
            clusters = workload.shape.clusters or tuple(self._snapshot.clusters)
            _, policy = domain(self._snapshot, workload.group, clusters)
            self._keys[key] = order_named(policy.order)(workload.group, self._use)
        return self._keys[key], workload.rank

    def _attempts(self, snapshot: Snapshot) -> list[Running]:
        """What runs once the plan is carried out."""
        stopped = {preemption.running for preemption in self._plan.preempt}
        running = [replace(r, stopping=True) if r.id in stopped else r for r in snapshot.running]
        for admission in self._plan.admit:
            workload = admission.workload
            running.append(
                Running(
                    id=workload.id,
                    group=workload.group,
                    placements=admission.placements,
                    ends=self._now + workload.time_limit if workload.time_limit else None,
                    time_limit=workload.time_limit,
                    started=self._now,
                    owner=workload.owner,
                )
            )
        return running

    def _play(self) -> NDArray[np.float64]:
        """The median of several futures."""
        size = len(self._waiting) + len(self._running)
        futures = max(1, min(_MOST_FUTURES, _WORK // size))
        # Stratified, so that few futures still see short and long durations; seeded, so that a forecast of
        # one pass is always the same.
        chance = np.random.default_rng(size)
        ends = self._ends(chance, futures)
        durations = self._durations(chance, futures)
        busy = self._world.busy([self._bound(attempt) for attempt in self._running])
        owner = self._world.owners
        played = [
            forward.starts(
                self._world.pools,
                busy,
                [ends[f][attempt] for attempt in owner],
                self._world.line,
                durations[f],
            )
            for f in range(futures)
        ]
        return np.median(np.array(played), axis=0) if futures > 1 else np.array(played[0])

    def _ends(self, chance: np.random.Generator, futures: int) -> list[list[float]]:
        columns = []
        for attempt in self._running:
            bound = self._bound(attempt)
            if attempt.stopping:
                columns.append([min(_GRACE, bound)] * futures)
            elif math.isinf(bound):
                columns.append([math.inf] * futures)
            else:
                limit = attempt.time_limit or bound
                history = self._forecaster.durations.of(
                    attempt.group, attempt.owner, self._names.get(attempt.id, "")
                )
                elapsed = limit - bound
                columns.append(history.remaining(elapsed, limit, _stratified(chance, futures)).tolist())
        return [list(row) for row in zip(*columns, strict=True)] or [[] for _ in range(futures)]

    def _durations(self, chance: np.random.Generator, futures: int) -> list[list[float]]:
        columns = []
        for workload in self._waiting:
            if not workload.time_limit:
                columns.append([math.inf] * futures)
                continue
            history = self._forecaster.durations.of(
                workload.group, workload.owner, self._names.get(workload.id, "")
            )
            columns.append(history.remaining(0.0, workload.time_limit, _stratified(chance, futures)).tolist())
        return [list(row) for row in zip(*columns, strict=True)]

    def _bound(self, attempt: Running) -> float:
        """Seconds until its limit ends it."""
        if attempt.ends is not None:
            return max(attempt.ends - self._now, 0.0)
        return float(attempt.time_limit) if attempt.time_limit else math.inf

    def _pace(self, workload: Workload) -> float | None:
        """Wait of one behind the first thousand: by place in line, at the pace of those who were played."""
        known = self._waits[np.isfinite(self._waits)]
        if known.size == 0:
            return None
        turn = self._turn(workload)
        ahead = sum(
            bisect.bisect_left(blocked.workloads, turn, key=self._turn)
            for blocked in self._plan.blocked
            if blocked.reason.code in _PLAYED
        )
        return float(np.quantile(known, 0.95)) * (ahead + 1) / len(self._waiting)

    def _range(self, workload: Workload, wait: float, basis: Basis) -> Eta:
        low, high = self._forecaster.errors.around(wait)
        reserved = self._reserved.get(workload.id)
        if reserved is not None:  # it starts no later, whatever was learned
            high = min(high, max(reserved - self._now, 0.0))
            low, wait = min(low, high), min(wait, high)
        words = {
            "history": "from what runs now and how long such jobs took",
            "limits": "from time limits, as no job has ended yet from which to learn",
            "pace": "from the pace of those ahead",
            "unknown": "",
        }[basis]
        wait = min(max(wait, low), high)
        return Eta(self._now + low, self._now + wait, self._now + high, basis, words)


def _waits_for(code: str) -> Eta:
    return _unknown(f"it waits for something that no running job ends ({code})")


def _unknown(why: str) -> Eta:
    return Eta(None, None, None, "unknown", f"not known: {why}")


def _stratified(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """One draw from each of ``count`` equal parts of 0 to 1, in random order."""
    return (chance.permutation(count) + chance.random(count)) / count
