"""Whose turn it is, while a pass admits.

Those who are ordered together form a domain: everyone by default, or those of a cluster or a group that has a
policy of its own. A domain has as many turns as it has members, and each comes where one of them would come
by rank; whom it sends is decided by its own order.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model import Snapshot, Workload
from .orders import Key, Order, Use, fifo, order_named
from .policies import domain

__all__ = ["Members", "Sequence", "arrange", "in_order"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Who belongs where.

    Parameters
    ----------
    domains, groups
        Of every row, by number.
    orders
        Of each domain.
    names
        Of each group.
    """

    domains: Ids
    groups: Ids
    orders: Seq[Order]
    names: Seq[str]


class Sequence:
    """Hands out rows one by one.

    Parameters
    ----------
    rows
        Those to be considered, ascending; their numbers are their ranks.
    """

    def __init__(self, rows: Ids, members: Members, use: Use) -> None:
        self._domains: list[_Ranked | _Keyed] = []
        for number, mine in _by_domain(rows, members).items():
            if number < 0:
                self._domains.append(_Ranked(mine))
            else:
                self._domains.append(_Keyed(mine, members, members.orders[number], use))

    def next(self) -> int | None:
        """The row whose turn it is; it does not come again."""
        if len(self._domains) == 1:
            return self._domains[0].take()
        turns = [(rank, queue) for queue in self._domains if (rank := queue.turn()) is not None]
        return min(turns, key=lambda turn: turn[0])[1].take() if turns else None

    def narrow(self, rows: NDArray[np.bool_]) -> None:
        """Leave out all others from here on; ``rows`` says it of every row."""
        for queue in self._domains:
            queue.narrow(rows)


def arrange(rows: Ids, members: Members, use: Use) -> Ids:
    """The order in which rows would be handed out if nothing were admitted."""
    arranged = rows.copy()
    for number, mine in _by_domain(rows, members).items():
        if number >= 0:
            present, group = np.unique(members.groups[mine], return_inverse=True)
            keys = [members.orders[number](members.names[one], use) for one in present.tolist()]
            place = {key: i for i, key in enumerate(sorted(set(keys)))}
            of_group = np.array([place[key] for key in keys], dtype=np.int64)
            arranged[np.searchsorted(rows, mine)] = mine[np.lexsort((mine, of_group[group]))]
    return arranged


def in_order(
    workloads: Iterable[Workload], snapshot: Snapshot, clusters: Seq[str], use: Use
) -> list[Workload]:
    """A few workloads in the order in which a pass would consider them.

    Parameters
    ----------
    clusters
        All that have nodes, in order.
    """
    by_rank = sorted(workloads, key=lambda workload: workload.rank)
    domains = [domain(snapshot, w.group, w.shape.clusters or clusters) for w in by_rank]
    names = list(dict.fromkeys(name for name, _ in domains))
    orders = {name: order_named(policy.order) for name, policy in domains}
    groups = list(dict.fromkeys(workload.group for workload in by_rank))
    members = Members(
        np.array([names.index(name) for name, _ in domains], dtype=np.int64),
        np.array([groups.index(workload.group) for workload in by_rank], dtype=np.int64),
        [orders[name] for name in names],
        groups,
    )
    return [by_rank[row] for row in arrange(np.arange(len(by_rank)), members, use).tolist()]


def _by_domain(rows: Ids, members: Members) -> dict[int, Ids]:
    """Rows of each domain; -1 is for all that go by rank alone."""
    keyed = np.array([order is not fifo.key for order in members.orders], dtype=np.bool_)
    number = np.where(keyed, np.arange(len(keyed)), -1)[members.domains[rows]]
    return {int(which): rows[number == which] for which in np.unique(number)}


class _Rows:
    """Rows of which some are left out."""

    def __init__(self, rows: Ids) -> None:
        self.rows = rows
        self.live = bytearray(b"\x01" * len(rows))
        self._view = np.frombuffer(self.live, dtype=np.bool_)

    def narrow(self, rows: NDArray[np.bool_]) -> None:
        self._view &= rows[self.rows]


class _Run:
    """A part of some rows, ascending, of which the first is taken."""

    def __init__(self, of: _Rows, begin: int = 0, end: int | None = None) -> None:
        self._of = of
        self._at = begin
        self._end = len(of.rows) if end is None else end

    def first(self) -> int | None:
        at = self._of.live.find(1, self._at, self._end)
        if at < 0:
            return None
        self._at = at
        return int(self._of.rows[at])

    def drop(self) -> None:
        self._at += 1


class _Ranked:
    """A domain that goes by rank alone."""

    def __init__(self, rows: Ids) -> None:
        self._rows = _Rows(rows)
        self._run = _Run(self._rows)

    def turn(self) -> int | None:
        return self._run.first()

    def take(self) -> int | None:
        row = self._run.first()
        self._run.drop()
        return row

    def narrow(self, rows: NDArray[np.bool_]) -> None:
        self._rows.narrow(rows)


class _Keyed:
    """A domain whose groups go by the keys of an order.

    Whoever is left out takes a turn along, though perhaps not its own; there is always one for those left.
    Keys and the rows that are first only grow, so what lies in the heap is at worst too early.
    """

    def __init__(self, rows: Ids, members: Members, order: Order, use: Use) -> None:
        self._by_rank, self._of_turns = _Rows(rows), _Rows(rows)
        self._left, self._turns = _Run(self._by_rank), _Run(self._of_turns)
        self._order, self._use = order, use
        groups = members.groups
        by_group = rows[np.argsort(groups[rows], kind="stable")]
        self._by_group = _Rows(by_group)
        begins = np.flatnonzero(np.diff(groups[by_group], prepend=-1))
        self._runs = [
            (members.names[int(groups[by_group[begin]])], _Run(self._by_group, begin, end))
            for begin, end in itertools.pairwise([*begins.tolist(), len(rows)])
        ]
        self._heap: list[tuple[Key, int, int]] = [
            (order(name, use), run.first() or 0, number) for number, (name, run) in enumerate(self._runs)
        ]
        heapq.heapify(self._heap)

    def turn(self) -> int | None:
        left, turn = self._left.first(), self._turns.first()
        return turn if left is not None and turn is not None else left

    def take(self) -> int | None:
        while self._heap:
            key, row, number = self._heap[0]
            name, run = self._runs[number]
            first = run.first()
            if first is None:
                heapq.heappop(self._heap)
                continue
            now = self._order(name, self._use)
            if (now, first) != (key, row):
                heapq.heapreplace(self._heap, (now, first, number))
                continue
            run.drop()
            self._by_rank.live[int(np.searchsorted(self._by_rank.rows, first))] = 0
            if self._turns.first() is not None:
                self._turns.drop()
            return first
        return None

    def narrow(self, rows: NDArray[np.bool_]) -> None:
        for kept in (self._of_turns, self._by_rank, self._by_group):
            kept.narrow(rows)
