"""What stands in a pass: the room that is free, what is kept for those ahead, and the quotas of both.

A reservation keeps nodes of a pool (one cluster's nodes of one flavor) from its start on. Who ends before
it may use all that is free now; who would run on past it may use only what it leaves over, of the nodes and
of the quotas. A closed pool is kept entirely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from .model import Amount, Place, Placement, Reservation, Running, Workload
from .nodes import Ids, Nodes, Room, vector
from .quota import Quotas
from .timeline import Timeline, end_of
from .ways import Option

__all__ = ["Standing"]

_OPEN = np.int64(2**62)


class Standing:
    """Room and quotas while one pass goes on; both only ever shrink."""

    def __init__(self, nodes: Nodes, quotas: Quotas, running: Iterable[Running], now: float) -> None:
        self._nodes = nodes
        self._now = now
        self.free: Room = nodes.capacity.copy()
        self.late: Room | None = None  # for those who run on past a reservation
        self._spare: Room | None = None  # what the reservations leave over at their starts
        self.quotas = quotas
        self.quotas_late: Quotas | None = None
        self.timeline = Timeline(nodes)
        self.starts: dict[Place, float] = {}
        self.closed: set[Place] = set()
        for attempt in running:
            rows, amounts = self._rows(attempt.placements)
            np.subtract.at(self.free, rows, amounts)
            self.timeline.add(end_of(attempt, now), attempt.placements)

    def end(self, workload: Workload) -> float:
        """When it has ended at the latest, if it starts now."""
        return self._now + workload.time_limit if workload.time_limit else math.inf

    def reserved(self, option: Option) -> bool:
        """Whether somebody ahead has reserved what an option uses."""
        return any(place in self.starts or place in self.closed for place in option.places)

    def short(self, option: Option, end: float) -> bool:
        """Whether what ends then is gone before any reservation that the option touches starts."""
        return all(end <= self.starts.get(place, math.inf) for place in option.places)

    def room(self, option: Option, end: float) -> Room | None:
        """What those may use who end then; None where nobody may use anything."""
        if any(place in self.closed for place in option.places):
            return None
        if self.late is None or self.short(option, end):
            return self.free
        late = [p for p in option.places if end > self.starts.get(p, math.inf)]
        if len(late) == len(option.places):
            return self.late
        room = self.free.copy()
        for place in late:
            room[self._nodes.pools[place]] = self.late[self._nodes.pools[place]]
        return room

    def kept_quota(self, group: str, option: Option, asked: Mapping[Place, Amount], end: float) -> bool:
        """Whether quota that is there now is kept for a reservation."""
        if self.quotas_late is None or self.short(option, end):
            return False
        return not self.quotas_late.allows(group, asked)

    def kept_person(self, group: str, owner: str, gpus: int, end: float) -> bool:
        """Whether what the person may still have is kept for a reservation of theirs."""
        if self.quotas_late is None or end <= min(self.starts.values(), default=math.inf):
            return False
        return not self.quotas_late.allows_person(group, owner, gpus)

    def take(self, workload: Workload, option: Option, placements: tuple[Placement, ...]) -> None:
        """Let one start."""
        end = self.end(workload)
        rows, amounts = self._rows(placements)
        np.subtract.at(self.free, rows, amounts)
        self.timeline.add(end, placements)
        self.quotas.take(workload.group, workload.owner, placements)
        if self.late is None or self._spare is None:
            return
        if self.quotas_late is not None and not all(
            end <= self.starts.get(p, -math.inf) for p in option.places
        ):
            self.quotas_late.take(workload.group, workload.owner, placements)
        for place in option.places:
            if end > self.starts.get(place, math.inf):
                inside = np.isin(rows, np.arange(*self._nodes.pools[place].indices(len(self._nodes))))
                np.subtract.at(self._spare, rows[inside], amounts[inside])
        touched = np.unique(rows)
        self.late[touched] = np.minimum(self.free[touched], self._spare[touched])

    def reserve(self, reservation: Reservation, option: Option, then: Room, workload: Workload) -> None:
        """Keep nodes from a time on; ``then`` is the room at that time."""
        if self.late is None or self._spare is None:
            self.late = self.free.copy()
            self._spare = np.full_like(self.free, _OPEN)
        rows, amounts = self._rows(reservation.placements)
        for place in option.places:
            pool = self._nodes.pools[place]
            self.starts[place] = reservation.start
            self._spare[pool] = then[pool]
        np.subtract.at(self._spare, rows, amounts)
        for place in option.places:
            pool = self._nodes.pools[place]
            self.late[pool] = np.minimum(self.free[pool], self._spare[pool])
        if self.quotas_late is None:
            self.quotas_late = self.quotas.copy()
        self.quotas_late.take(workload.group, workload.owner, reservation.placements)

    def close(self, place: Place) -> None:
        """Keep all of a pool."""
        self.closed.add(place)

    def _rows(self, placements: Iterable[Placement]) -> tuple[Ids, Room]:
        rows, amounts = [], []
        for placement in placements:
            row = self._nodes.index.get((placement.cluster, placement.node))
            if row is not None:  # a node that was taken out of the configuration still runs to the end
                rows.append(row)
                amounts.append(vector(placement.need))
        return np.array(rows, dtype=np.int64), np.array(amounts, dtype=np.int64).reshape(len(rows), 3)
