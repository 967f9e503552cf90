"""When those who wait will start: a range that holds four times out of five, with what it rests on.

The first thousand are played forward over running ends and learned durations; those behind them share the
pace that this shows. What cannot be known is said to be unknown. Nothing here is ever read by a reservation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from footplate_spec.reasons import ReasonCode

from . import forward
from .durations import Durations, Whose
from .honesty import Errors
from .model import Place, Plan, Running, Snapshot, Workload
from .orders import Key, Use, order_named, young
from .policies import domain
from .pools import Fleet, Held, World

__all__ = ["FIRST", "Eta", "Forecast", "Forecaster"]

FIRST = 1000
_GRACE = 60.0
_WORK = 2500  # jobs, waiting and running, that one forecast plays forward in all its futures together
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
        self._use = Use(snapshot.groups, young(snapshot.running, now))
        self._keys: dict[tuple[str, tuple[str, ...]], Key] = {}
        self._columns: tuple[NDArray[Any], ...] = (np.empty(0),) * 4
        self._turns: dict[Key, int] = {}
        self._reserved = {reservation.workload: reservation.start for reservation in plan.reserve}
        self._waiting = self._first()
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
        code = self._codes.get(workload.id)
        if code is None:
            return _unknown("it does not wait in this pass")
        if code not in _PLAYED:
            return _waits_for(code)
        pace = self._pace(workload)
        return (
            _unknown("nobody ahead is known to start")
            if pace is None
            else self._range(workload, pace, "pace")
        )

    def first(self) -> dict[str, Eta]:
        """The ranges of the first thousand."""
        return {workload.id: self.of(workload) for workload in self._waiting}

    @cached_property
    def _codes(self) -> dict[str, ReasonCode]:
        return {workload.id: blocked.code for blocked in self._plan.blocked for workload in blocked.workloads}

    def _first(self) -> list[Workload]:
        """Those whom something that ends lets start, in the order in which a pass considers them."""
        lines = (blocked.workloads for blocked in self._plan.blocked if blocked.code in _PLAYED)
        waiting = list(itertools.chain.from_iterable(lines))
        if len(waiting) > FIRST:  # columns sort tens of thousands faster than tuples; ids only part equals
            known = self._keys
            for workload in {(w.group, w.shape.clusters): w for w in waiting}.values():
                self._key(workload)
            keys = [known[w.group, w.shape.clusters] for w in waiting]
            turns = {key: turn for turn, key in enumerate(sorted(set(keys)))}
            self._columns = (
                np.array([workload.place for workload in waiting]),
                np.array([-workload.priority for workload in waiting]),
                np.array([not workload.owed for workload in waiting]),
                np.array([turns[key] for key in keys]),
            )
            self._turns = turns
            waiting = [waiting[row] for row in np.lexsort(self._columns)[:FIRST].tolist()]
        return sorted(waiting, key=self._turn)

    def _turn(self, workload: Workload) -> tuple[Key, tuple[int, int, float, str]]:
        return self._key(workload), workload.rank

    def _key(self, workload: Workload) -> Key:
        whose = (workload.group, workload.shape.clusters)
        key = self._keys.get(whose)
        if key is None:
            clusters = workload.shape.clusters or tuple(self._snapshot.clusters)
            _, policy = domain(self._snapshot, workload.group, clusters)
            key = self._keys[whose] = order_named(policy.order)(workload.group, self._use)
        return key

    def _attempts(self, snapshot: Snapshot) -> list[Running]:
        """What runs once the plan is carried out."""
        stopped = {preemption.running for preemption in self._plan.preempt}
        running = [replace(r, stopping=True) if r.id in stopped else r for r in snapshot.running]
        return running + [admission.running(self._now) for admission in self._plan.admit]

    def _play(self) -> NDArray[np.float64]:
        """The median of several futures."""
        size = len(self._waiting) + len(self._running)
        futures = max(1, min(_MOST_FUTURES, _WORK // size))
        # Seeded, so that a forecast of one pass is always the same.
        chance = np.random.default_rng(size)
        bounds = [self._bound(attempt) for attempt in self._running]
        ends = self._ends(bounds, chance, futures)
        durations = self._durations(chance, futures)
        busy = self._world.busy(bounds)
        owner = self._world.owners
        played = [
            forward.starts(
                self._world.pools, busy, ends[owner, f].tolist(), self._world.line, durations[:, f].tolist()
            )
            for f in range(futures)
        ]
        waits: NDArray[np.float64] = np.median(np.array(played), axis=0)
        return waits

    def _ends(self, bounds: list[float], chance: np.random.Generator, futures: int) -> NDArray[np.float64]:
        """Seconds until running attempts really end: attempts × futures."""
        bound = np.array(bounds).reshape(-1, 1)
        limits = np.array([r.time_limit or b for r, b in zip(self._running, bounds, strict=True)])
        finite = np.where(np.isfinite(limits), limits, 0.0)
        whose = [(r.group, r.owner, self._names.get(r.id, "")) for r in self._running]
        elapsed = np.maximum(finite - np.where(np.isfinite(bound[:, 0]), bound[:, 0], 0.0), 0.0)
        drawn = self._draw(whose, elapsed, finite, chance, futures)
        stopping = np.array([r.stopping for r in self._running], np.bool_).reshape(-1, 1)
        by_itself = np.where(np.isfinite(bound), drawn, np.inf)
        return np.where(stopping, np.minimum(_GRACE, bound), by_itself)

    def _durations(self, chance: np.random.Generator, futures: int) -> NDArray[np.float64]:
        """Seconds that those who wait will take: waiting × futures."""
        limits = np.array([float(w.time_limit) for w in self._waiting])
        whose = [(w.group, w.owner, self._names.get(w.id, "")) for w in self._waiting]
        drawn = self._draw(whose, np.zeros(len(limits)), limits, chance, futures)
        took: NDArray[np.float64] = np.where(limits[:, None] > 0, drawn, np.inf)
        return took

    def _draw(
        self,
        whose: list[Whose],
        elapsed: NDArray[np.float64],
        limits: NDArray[np.float64],
        chance: np.random.Generator,
        futures: int,
    ) -> NDArray[np.float64]:
        if not whose:
            return np.empty((0, futures))
        # One draw from each equal part of 0 to 1, in random order: few futures still see short and long.
        parts = chance.permuted(np.tile(np.arange(futures), (len(whose), 1)), axis=1)
        chances = (parts + chance.random((len(whose), futures))) / futures
        return self._forecaster.durations.remaining(whose, elapsed, limits, chances)

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
        ahead = np.zeros(len(self._columns[0]), np.bool_)
        mine = (
            workload.place,
            -workload.priority,
            not workload.owed,
            self._turns.get(self._key(workload), len(self._turns)),
        )
        for column, value in zip(self._columns, mine, strict=True):  # the last decides first
            ahead = (column < value) | ((column == value) & ahead)
        return float(np.quantile(known, 0.95)) * (int(ahead.sum()) + 1) / len(self._waiting)

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
