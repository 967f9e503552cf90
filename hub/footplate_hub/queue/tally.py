"""How many replicas a pool has room for, of every need at once: one table instead of one look a shape.

A pool is one cluster's nodes of one flavor. What is asked of it is a need, the nodes that may be used, and a
topology; equal asks of different shapes are one row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .nodes import Ids, Mask, Nodes, Room

__all__ = ["PoolTally"]

_MANY = 2**31 - 1
_AT_ONCE = 2**21  # cells of the table that are worked on together
_STATES = 3  # of the nodes, whose numbers are kept: free, open and late
_TOPOLOGIES = ("any", "node", "rack")

Counts = NDArray[np.int64]


class PoolTally:
    """The asks of one pool; the first time that it is asked for numbers, no more can be added."""

    def __init__(self, nodes: Nodes, pool: slice) -> None:
        self.pool = pool
        self._racks = nodes.domains[0][pool]
        self._needs: dict[tuple[int, int, int], int] = {}
        self._classes: dict[int, int] = {}
        self._masks: list[Mask] = []
        self._asks: dict[tuple[int, int, int], int] = {}
        self._stacked: Mask | None = None
        self._known: list[tuple[Room, int, tuple[Counts, Counts]]] = []  # room, asks, and what was counted

    def ask(self, need: tuple[int, int, int], number: int, mask: Mask, topology: str) -> int:
        """The number of an ask; ``number`` tells equal masks."""
        if number not in self._classes:
            self._classes[number] = len(self._masks)
            self._masks.append(mask[self.pool])
            self._stacked = None
        key = (
            self._needs.setdefault(need, len(self._needs)),
            self._classes[number],
            _TOPOLOGIES.index(topology),
        )
        return self._asks.setdefault(key, len(self._asks))

    def __len__(self) -> int:
        return len(self._asks)

    def room(self, room: Room) -> tuple[Counts, Counts]:
        """What there is room for in a state of the nodes.

        Returns
        -------
        array, array
            Of each ask, how many replicas: in all, on one node or in one rack. And of each ask, the CPU,
            memory and GPUs that are left on all nodes that it may use.
        """
        inside = room[self.pool]
        for known, asks, found in self._known:
            if asks == len(self._asks) and np.array_equal(known, inside):
                return found
        if self._stacked is None or len(self._rows) != len(self._asks):
            self._stack()
        counts = np.zeros(len(self._asks), dtype=np.int64)
        for with_gpus in (False, True):
            mine = np.flatnonzero(self._has_gpu == with_gpus)
            if mine.size:
                self._fill(counts, mine, inside)
        found = counts, self._sums(inside)
        self._known = [(inside.copy(), len(self._asks), found), *self._known[: _STATES - 1]]
        return found

    def _sums(self, room: Room) -> Counts:
        """The few that a mask leaves out are subtracted, or the few that it leaves are added."""
        sums = np.zeros((len(self._masks), 3), dtype=np.int64)
        for column in range(3):
            left = np.append(np.maximum(room[:, column], 0), 0)
            for few, begins, where, sign in self._few:
                if few.size:
                    found = sign * np.add.reduceat(left[np.append(where, -1)], begins)
                    found[np.diff(begins, append=len(where)) == 0] = 0
                    sums[few, column] = found if sign > 0 else found + left.sum()
        return sums[self._rows[:, 1]] if len(self._rows) else sums[:0]

    def _stack(self) -> None:
        self._stacked = np.array(self._masks, dtype=np.bool_).reshape(len(self._masks), len(self._racks))
        share = self._stacked.sum(axis=1) * 2 > self._stacked.shape[1]
        self._few = []
        for most in (True, False):
            few = np.flatnonzero(share == most)
            number, where = np.nonzero(self._stacked[few] != most)
            self._few.append((few, np.searchsorted(number, np.arange(len(few))), where, -1 if most else 1))
        self._rows: Ids = np.array(list(self._asks), dtype=np.int64).reshape(-1, 3)
        self._table: Room = np.array(list(self._needs), dtype=np.int64).reshape(-1, 3)
        self._has_gpu = self._table[self._rows[:, 0], 2] > 0

    def _fill(self, found: Counts, asks: Ids, room: Room) -> None:
        needs, of_need = np.unique(self._rows[asks, 0], return_inverse=True)
        table = self._table[needs]
        # Most nodes of a busy cluster have no room for anything; only the others are counted.
        where = np.flatnonzero((np.maximum(room, 0) >= table.min(axis=0)).all(axis=1))
        if where.size == 0 or self._stacked is None:
            return
        counts = np.full((len(needs), len(where)), _MANY, dtype=np.int64)
        for column in range(3):
            asked = np.flatnonzero(table[:, column])
            if asked.size:
                more = room[where, column][None, :] // table[asked, column][:, None]
                counts[asked] = np.minimum(counts[asked], more)
        counts = np.maximum(counts, 0).astype(np.int32)
        masks = self._stacked[:, where]
        racks = np.flatnonzero(np.diff(self._racks[where], prepend=-1))
        size = max(1, _AT_ONCE // len(where))
        for begin in range(0, len(asks), size):
            part = slice(begin, begin + size)
            cells = counts[of_need[part]] * masks[self._rows[asks[part], 1]]
            topology = self._rows[asks[part], 2]
            for kind in range(len(_TOPOLOGIES)):
                rows = np.flatnonzero(topology == kind)
                if rows.size:
                    found[asks[part][rows]] = _measure(cells[rows], _TOPOLOGIES[kind], racks)


def _measure(cells: NDArray[np.int32], topology: str, racks: Ids) -> Counts:
    """``racks``: where each begins."""
    if topology == "any":
        return np.asarray(cells.sum(axis=1, dtype=np.int64))
    if topology == "node":
        return np.asarray(cells.max(axis=1).astype(np.int64))
    return np.asarray(np.add.reduceat(cells, racks, axis=1, dtype=np.int64).max(axis=1))
