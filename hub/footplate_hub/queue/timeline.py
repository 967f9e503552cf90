"""When room comes free, if every attempt runs to its time limit: the bound that reservations stand on.

What never ends (a service) frees nothing. What should have ended already counts as ending now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .model import Placement, Running
from .nodes import Ids, Nodes, Room, vector

__all__ = ["Timeline", "end_of"]

Times = NDArray[np.float64]


def end_of(attempt: Running, now: float) -> float:
    """By when an attempt has ended; infinite for a service."""
    if attempt.ends is not None:
        return max(attempt.ends, now)
    return now + attempt.time_limit if attempt.time_limit else math.inf


class Timeline:
    """The ends of attempts, and what each frees.

    Parameters
    ----------
    ends
        Known from the start: when, on which node, how much.
    """

    def __init__(self, nodes: Nodes, ends: tuple[Times, Ids, Room] | None = None) -> None:
        self._nodes = nodes
        self._parts: dict[tuple[tuple[int, int], ...], tuple[Times, Ids, Ids, Ids]] = {}
        self._fresh: list[tuple[float, int, tuple[int, int, int]]] = []
        times, rows, amounts = ends or (np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 3), np.int64))
        order = np.argsort(times, kind="stable")
        order = order[: np.searchsorted(times[order], math.inf)]
        self._times, self._rows, self._amounts = times[order], rows[order], amounts[order]

    def copy(self) -> Timeline:
        """The same ends so far."""
        self._settle()
        return Timeline(self._nodes, (self._times, self._rows, self._amounts))

    def add(self, end: float, placements: Iterable[Placement]) -> None:
        """An attempt gives back its nodes at ``end``."""
        if end == math.inf:
            return
        for placement in placements:
            row = self._nodes.index.get((placement.cluster, placement.node))
            if row is not None:
                self._fresh.append((end, row, vector(placement.need)))

    def remove(self, end: float, placements: Iterable[Placement]) -> None:
        """Take back what was added."""
        if end == math.inf:
            return
        self._settle()
        for placement in placements:
            row = self._nodes.index.get((placement.cluster, placement.node))
            if row is not None:
                cpu, memory, gpu = vector(placement.need)
                self._fresh.append((end, row, (-cpu, -memory, -gpu)))

    def earliest(
        self, room: Room, pools: Sequence[slice], fits: Callable[[Room], bool], before: float = math.inf
    ) -> tuple[float, Room] | None:
        """The first time at which something fits, and the room then; None if it never does.

        Parameters
        ----------
        room
            What is free now; not changed. Outside the pools what is returned is no more than that.
        pools
            Rows that matter.
        fits
            Whether it fits; more room must never make it refuse.
        before
            From when on it is of no use.
        """
        moments, ends, cells, amounts = self._within(pools)
        low, high, begun, at = 0, int(np.searchsorted(moments, before)), 0, room
        best: tuple[float, Room] | None = None
        # Where most are of no use, the last one that is of use tells whether to look at all.
        middle = high - 1 if high < len(moments) else high // 2
        while low < high:
            then = at.copy()
            part = slice(3 * begun, 3 * ends[middle])
            np.add.at(then.reshape(-1), cells[part], amounts[part])
            if fits(then):
                best = (float(moments[middle]), then)
                high = middle
            else:
                low, begun, at = middle + 1, int(ends[middle]), then
            middle = (low + high) // 2
        return best

    def _within(self, pools: Sequence[slice]) -> tuple[Times, Ids, Ids, Ids]:
        """Moments at which something ends in some pools, how many have by then; cells, and what each gets.

        A cell is a resource of a node, three for each end.
        """
        self._settle()
        key = tuple((pool.start, pool.stop) for pool in pools)
        if key not in self._parts:
            inside = np.zeros(len(self._rows), np.bool_)
            for start, stop in key:
                inside |= (self._rows >= start) & (self._rows < stop)
            mine = np.flatnonzero(inside)
            times = self._times[mine]
            last = np.flatnonzero(np.diff(times, append=math.inf))
            cells = (3 * self._rows[mine][:, None] + np.arange(3)).reshape(-1)
            self._parts[key] = (times[last], last + 1, cells, self._amounts[mine].reshape(-1))
        return self._parts[key]

    def next_end(self, pools: Sequence[slice]) -> float | None:
        """When the next attempt there ends."""
        moments, *_ = self._within(pools)
        return float(moments[0]) if moments.size else None

    def _settle(self) -> None:
        """Sort in what was added."""
        if not self._fresh:
            return
        times = np.concatenate([self._times, [end for end, _, _ in self._fresh]])
        rows = np.concatenate([self._rows, [row for _, row, _ in self._fresh]]).astype(np.int64)
        amounts = np.concatenate([self._amounts, [amount for _, _, amount in self._fresh]]).astype(np.int64)
        order = np.argsort(times, kind="stable")
        self._times, self._rows, self._amounts = times[order], rows[order], amounts[order]
        self._fresh = []
        self._parts.clear()
