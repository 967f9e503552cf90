"""What the queue will do next, roughly and fast: those first in line, against what is free in each pool.

A pool is a cluster's nodes of one flavor, taken together: where on them a job fits is not asked, so that a
thousand jobs take milliseconds. Order, reservation by time limits and backfill are those of the pass; what
the jobs really take is what the caller says.
"""

from __future__ import annotations

import bisect
import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model import Place

__all__ = ["Busy", "Line", "Pools", "starts"]

# With so many that run, ends are taken together that lie so many seconds apart, and reservations are thought
# over after so many ends that could let them begin sooner.
_CROWD, _TICK, _PATIENCE = 2000, 60.0, 16

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pools:
    """Places by number.

    Parameters
    ----------
    free
        places × (cpu, memory, gpu); may be negative, where nodes are away.
    backfill
        Whether any may pass, by place.
    caps, used
        limits × (cpu, memory, gpu): quotas, and what counts against them now.
    """

    places: tuple[Place, ...]
    free: _Ints
    backfill: tuple[bool, ...]
    caps: _Ints
    used: _Ints


@dataclass(frozen=True)
class Busy:
    """What holds a pool.

    Parameters
    ----------
    pool, need
        Of each part: an attempt that holds two pools has two parts.
    limit
        Seconds from now until its time limit ends it; infinite for services.
    limits
        Rows of ``Pools.caps`` that it counts against.
    """

    pool: list[int]
    need: list[tuple[int, int, int]]
    limit: list[float]
    limits: list[tuple[int, ...]]


@dataclass(frozen=True)
class Line:
    """Those who wait, in order.

    Parameters
    ----------
    need
        waiting × (cpu, memory, gpu).
    allowed
        waiting × places.
    home
        The place where each gets its reservation.
    limit
        Seconds; infinite for services.
    limits
        waiting × places × depth: rows of ``Pools.caps``, the last row being no limit.
    """

    need: _Ints
    allowed: _Bools
    home: _Ints
    limit: _Floats
    limits: _Ints


def starts(pools: Pools, busy: Busy, ends: list[float], line: Line, durations: list[float]) -> list[float]:
    """Seconds from now until each starts, infinite where none of this frees enough.

    Parameters
    ----------
    ends
        Seconds until each part of ``busy`` really ends.
    durations
        What each of the line really takes.
    """
    return _Forward(pools, busy, ends, line, durations).run()


class _Forward:
    def __init__(
        self, pools: Pools, busy: Busy, ends: list[float], line: Line, durations: list[float]
    ) -> None:
        self._line, self._durations = line, durations
        self._backfill = pools.backfill
        self._free: list[tuple[int, int, int]] = [tuple(row) for row in pools.free.tolist()]
        self._caps, self._used = pools.caps, pools.used.copy()
        self._limited = len(pools.caps) > 1
        count = len(durations)
        self._starts = [math.inf] * count
        self._left = count
        self._alive = [line.allowed[:, p].copy() for p in range(len(pools.places))]
        self._heads = [line.allowed[:, p] & (line.home == p) for p in range(len(pools.places))]
        self._needs = [np.ascontiguousarray(line.need[:, r]) for r in range(3)]
        self._need: list[tuple[int, int, int]] = [tuple(row) for row in line.need.tolist()]
        self._limits: list[tuple[int, ...]] = list(busy.limits)
        # (end, pool, part); and by pool, in order of time limits, (limit, part).
        self._parts = list(busy.need)
        self._bounds = list(busy.limit)
        self._events = [
            (end, pool, part)
            for part, (end, pool) in enumerate(zip(ends, busy.pool, strict=True))
            if end < math.inf
        ]
        heapq.heapify(self._events)
        # By pool: whom the reservation is for, when it starts, and what it then leaves over.
        self._reserved: list[tuple[int, float, tuple[int, int, int]] | None] = [None] * len(pools.places)
        crowded = len(self._events) > _CROWD
        self._tick = _TICK if crowded else 0.0
        self._patience = _PATIENCE if crowded else 1
        self._sooner = [0] * len(pools.places)
        self._by_limit: list[list[tuple[float, int]]] = [[] for _ in pools.places]
        for part, (limit, pool) in enumerate(zip(busy.limit, busy.pool, strict=True)):
            if limit < math.inf:
                self._by_limit[pool].append((limit, part))
        for parts in self._by_limit:
            parts.sort()

    def run(self) -> list[float]:
        for pool in range(len(self._free)):
            self._admit(pool, 0.0)
        while self._events and self._left:
            now = self._events[0][0] + self._tick
            touched = set()
            while self._events and self._events[0][0] <= now:
                _, pool, part = heapq.heappop(self._events)
                self._release(pool, part)
                touched.add(pool)
            # A quota that is freed in one pool counts there alone: others need not look.
            for pool in touched:
                self._admit(pool, now)
        return self._starts

    def _release(self, pool: int, part: int) -> None:
        self._free[pool] = _plus(self._free[pool], self._parts[part])
        bound = (self._bounds[part], part)
        reserved = self._reserved[pool]
        if reserved is not None and not bound[0] <= reserved[1] < math.inf:
            # What ends before it by its limit was counted as ended. What would have ended after it lets the
            # first start sooner than was thought: with many, it is thought over only now and then.
            self._sooner[pool] += 1
            if self._sooner[pool] % self._patience == 0 or reserved[1] == math.inf:
                self._reserved[pool] = None
            else:
                spare = _plus(reserved[2], self._parts[part])
                self._reserved[pool] = (reserved[0], reserved[1], spare)
        parts = self._by_limit[pool]
        place = bisect.bisect_left(parts, bound)
        if place < len(parts) and parts[place] == bound:
            del parts[place]
        for row in self._limits[part]:
            self._used[row] -= self._parts[part]

    def _admit(self, pool: int, now: float) -> None:
        """Start whom the order, the reservation of the first and what is free allow."""
        alive, heads = self._alive[pool], self._heads[pool]
        while True:
            free = self._free[pool]
            fits: _Bools = (self._needs[2] <= free[2]) & alive & (self._needs[0] <= free[0])
            if not fits.any():
                return
            fits &= self._needs[1] <= free[1]
            waits_for_room = heads
            if self._limited:
                within = self._within(pool)
                fits &= within
                waits_for_room = heads & within
            if not fits.any():
                return
            first = int(fits.argmax())
            head = int(waits_for_room.argmax())
            if waits_for_room[head] and head < first:
                if not self._backfill[pool]:
                    return
                shadow, spare = self._reserve(pool, head, now)
                soon = now + self._line.limit <= shadow
                fits &= soon | (
                    (self._needs[2] <= spare[2]) & (self._needs[0] <= spare[0]) & (self._needs[1] <= spare[1])
                )
                if not fits.any():
                    return
                first = int(fits.argmax())
            self._start(pool, first, now)

    def _reserve(self, pool: int, head: int, now: float) -> tuple[float, tuple[int, int, int]]:
        """When the first fits by time limits, and what it then leaves over."""
        reserved = self._reserved[pool]
        if reserved is not None and reserved[0] == head:
            return reserved[1], reserved[2]
        cpu, memory, gpu = self._free[pool]
        need = self._need[head]
        shadow, spare = math.inf, (0, 0, 0)
        for limit, part in self._by_limit[pool]:
            row = self._parts[part]
            cpu += row[0]
            memory += row[1]
            gpu += row[2]
            if gpu >= need[2] and cpu >= need[0] and memory >= need[1]:
                shadow, spare = max(limit, now), (cpu - need[0], memory - need[1], gpu - need[2])
                break
        self._reserved[pool] = (head, shadow, spare)
        return shadow, spare

    def _start(self, pool: int, index: int, now: float) -> None:
        need = self._need[index]
        self._starts[index] = now
        self._left -= 1
        for alive in self._alive:
            alive[index] = False
        for heads in self._heads:
            heads[index] = False
        self._free[pool] = _plus(self._free[pool], (-need[0], -need[1], -need[2]))
        part = len(self._parts)
        self._parts.append(need)
        rows: tuple[int, ...] = ()
        if self._limited:
            rows = tuple(row for row in self._line.limits[index, pool].tolist() if row < len(self._caps) - 1)
            for row in rows:
                self._used[row] += need
        self._limits.append(rows)
        bound = now + float(self._line.limit[index])
        self._bounds.append(bound)
        reserved = self._reserved[pool]
        if reserved is not None and bound > reserved[1]:
            spare = _plus(reserved[2], (-need[0], -need[1], -need[2]))
            self._reserved[pool] = (reserved[0], reserved[1], spare)
        if bound < math.inf:
            bisect.insort(self._by_limit[pool], (bound, part))
        end = now + self._durations[index]
        if end < math.inf:
            heapq.heappush(self._events, (end, pool, part))

    def _within(self, pool: int) -> _Bools:
        """Whom no quota keeps back."""
        room = self._caps - self._used
        fits = self._line.need[:, None, :] <= room[self._line.limits[:, pool]]
        allowed: _Bools = np.all(fits, axis=(1, 2))
        return allowed


def _plus(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])
