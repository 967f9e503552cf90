"""What runs, as columns, brought in step with each snapshot: the room it takes and the quota it uses.

An attempt that is the same object as in the pass before is the same attempt.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .budgets import Budgets
from .endings import Endings, Holdings
from .model import GroupModel, Place, Running
from .nodes import Ids, Mask, Nodes, Room, vector
from .orders.use import FIRST, MILLISECONDS, weight
from .quota import Quotas, lineage
from .standing import Standing
from .timeline import Timeline

__all__ = ["Occupied"]


class Occupied:
    """Attempts on some nodes, under some groups' limits; both stay the same while this lives."""

    def __init__(self, nodes: Nodes, groups: Mapping[str, GroupModel], running: tuple[Running, ...]) -> None:
        self._nodes = nodes
        self._free: Room = nodes.capacity.copy()
        self._quotas = Quotas(groups)
        self._places = {
            p: n for n, p in enumerate(dict.fromkeys(p for g in groups.values() for p in g.quotas))
        }
        self._groups: dict[str, int] = {}
        self._names: list[str] = []  # the same, by number
        self._owners: dict[str, int] = {}
        self._ids: Ids = np.zeros(0, dtype=np.int64)
        self.attempts: NDArray[np.object_] = np.zeros(0, dtype=object)
        self._numbers: NDArray[np.float64] = np.zeros((0, 9))
        # end, limit, priority, may be stopped, stops, group, owner, GPUs, started
        self.changed: set[str] = set()  # owners of what came or went; whoever looks takes them out
        self._attempt: Ids = np.zeros(0, dtype=np.int64)  # of each placement: the number of its attempt
        self._rows: Ids = np.zeros(0, dtype=np.int64)  # -1 for nodes that are gone
        self._place: Ids = np.zeros(0, dtype=np.int64)  # -1 where no quota limits it
        self._amounts: Room = np.zeros((0, 3), dtype=np.int64)
        self.weights = {name: weight(group) for name, group in groups.items()}
        self.update(running)

    def update(self, running: tuple[Running, ...]) -> None:
        """Let attempts end and begin."""
        ids = np.fromiter(map(id, running), dtype=np.int64, count=len(running))
        if len(ids) == len(self._ids) and (ids == self._ids).all():
            return
        both = min(len(ids), len(self._ids))
        # Most keep their places: only what lies behind the first difference is compared.
        first = int(np.append(self._ids[:both] != ids[:both], True).argmax())
        gone = np.zeros(len(self._ids), np.bool_)
        gone[first:] = ~np.isin(self._ids[first:], ids[first:], assume_unique=True)
        new = np.flatnonzero(~np.isin(ids[first:], self._ids[first:], assume_unique=True))
        self._leave(gone)
        self._add([running[i] for i in (new + first).tolist()])

    def _leave(self, gone: Mask) -> None:
        if not gone.any():
            return
        for attempt in self.attempts[gone]:
            self._quotas.release(attempt.group, attempt.owner, attempt.placements)
            self.changed.add(attempt.owner)
        theirs = gone[self._attempt]
        known = theirs & (self._rows >= 0)
        np.add.at(self._free, self._rows[known], self._amounts[known])
        self._attempt, self._rows = (np.cumsum(~gone) - 1)[self._attempt[~theirs]], self._rows[~theirs]
        self._place, self._amounts = self._place[~theirs], self._amounts[~theirs]
        self._ids, self.attempts = self._ids[~gone], self.attempts[~gone]
        self._numbers = self._numbers[~gone]

    def _add(self, attempts: list[Running]) -> None:
        if not attempts:
            return
        found = []
        for number, attempt in enumerate(attempts, len(self.attempts)):
            self._quotas.take(attempt.group, attempt.owner, attempt.placements)
            self.changed.add(attempt.owner)
            if attempt.group not in self._groups:
                self._groups[attempt.group] = len(self._names)
                self._names.append(attempt.group)
            for placement in attempt.placements:
                row = self._nodes.index.get((placement.cluster, placement.node), -1)
                place = self._places.get((placement.cluster, placement.flavor), -1)
                found.append((number, row, place, *vector(placement.need)))
        table = np.array(found, dtype=np.int64).reshape(len(found), 6)
        known = table[table[:, 1] >= 0]
        np.subtract.at(self._free, known[:, 1], known[:, 3:])
        self._attempt = np.concatenate([self._attempt, table[:, 0]])
        self._rows = np.concatenate([self._rows, table[:, 1]])
        self._place = np.concatenate([self._place, table[:, 2]])
        self._amounts = np.concatenate([self._amounts, table[:, 3:]])
        column = np.empty(len(attempts), dtype=object)
        column[:] = attempts
        self.attempts = np.concatenate([self.attempts, column])
        self._ids = np.concatenate([self._ids, np.fromiter(map(id, attempts), np.int64, len(attempts))])
        self._numbers = np.concatenate(
            [
                self._numbers,
                [
                    (
                        np.nan if a.ends is None else a.ends,
                        a.time_limit or np.inf,
                        a.priority,
                        a.preemptible and not a.stopping,
                        a.stopping,
                        self._groups[a.group],
                        self._owners.setdefault(a.owner, len(self._owners)),
                        sum(placement.need.gpu for placement in a.placements),
                        a.started,
                    )
                    for a in attempts
                ],
            ]
        )

    def standing(self, now: float, groups: list[str], budgets: Budgets) -> Standing:
        """What a pass begins with; ``groups`` will be asked for."""
        for place in self._nodes.pools:  # what is found out here need not be found out by every copy
            self._quotas.bounds(place, groups)
            self._quotas.reclaimable(place, groups)
        ends = self._numbers[:, 0]
        ends = np.where(np.isnan(ends), now + self._numbers[:, 1], np.maximum(ends, now))
        attempt, known = self._attempt, self._rows >= 0
        timeline = Timeline(self._nodes, (ends[attempt[known]], self._rows[known], self._amounts[known]))
        group, owner, gpus = self._numbers[:, 5:8].astype(np.int64).T
        held = Holdings(
            groups=self._names,
            owners=self._owners,
            places=self._places,
            ends=ends,
            group=group,
            owner=owner,
            gpus=gpus,
            attempt=attempt,
            place=self._place,
            amount=self._amounts,
        )
        quotas, free = self._quotas.copy(), self._free.copy()
        standing = Standing(self._nodes, quotas, free, timeline, Endings(held), budgets=budgets, now=now)
        standing.stopping = self.attempts[self._numbers[:, 4] > 0].tolist()
        return standing

    def young(self, now: float) -> dict[str, int]:
        """`orders.young` of what runs."""
        _, limits, *_, groups, _, gpus, started = self._numbers.T
        left = np.minimum(limits, FIRST) - (now - started)
        mine = np.flatnonzero(left > 0)
        owed = np.rint(gpus[mine] * left[mine] * MILLISECONDS)
        sums = np.bincount(groups[mine].astype(np.int64), owed, minlength=len(self._names))
        return {self._names[n]: int(sums[n]) for n in np.unique(groups[mine].astype(np.int64)).tolist()}

    @property
    def preemptible(self) -> bool:
        """Whether anything may be stopped for others."""
        return bool((self._numbers[:, 3] > 0).any())

    def stoppable(self, quotas: Quotas, places: list[Place], *, below: int) -> Room:
        """What those hold who might be stopped for somebody: of a lower priority, or beyond their own."""
        may = self._numbers[:, 3] > 0
        lower = may & (self._numbers[:, 2] < below)
        held = np.zeros_like(self._free)
        group = self._numbers[:, 5].astype(np.int64)
        for place in places:
            pool = self._nodes.pools[place]
            over = quotas.over_nominal(place, self._names)
            chosen = lower | (may & over[group])
            those = chosen[self._attempt] & (self._rows >= pool.start) & (self._rows < pool.stop)
            np.add.at(held, self._rows[those], self._amounts[those])
        return held

    def lowest(self, groups: list[str]) -> NDArray[np.float64]:
        """The lowest priority of what may be stopped in each of these groups and those below it."""
        own = np.full(len(self._groups), np.inf)
        may = self._numbers[:, 3] > 0
        np.minimum.at(own, self._numbers[may, 5].astype(np.int64), self._numbers[may, 2])
        found: dict[str, float] = {}
        for group, number in self._groups.items():
            for holder in lineage(group):
                found[holder] = min(own[number], found.get(holder, np.inf))
        return np.array([found.get(group, np.inf) for group in groups])
