"""What stands in a pass: the room that is free, what is kept for those ahead, and the quotas of both.

There are three views of both room and quotas, each no more than the one before:

- what is free now;
- what is open: less what is kept for those for whom others are being stopped;
- what is open to who runs late, on past the start of a reservation: no more than it leaves over then.

A reservation holds for its pools (a cluster's nodes of one flavor); a closed pool is kept entirely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .model import Amount, Place, Placement, Reservation, Running, Workload
from .nodes import Ids, Mask, Nodes, Room, vector
from .quota import Quotas
from .timeline import Timeline, end_of
from .ways import Option

__all__ = ["Standing"]

_ALL = np.int64(2**62)


class Standing:
    """Room and quotas while one pass goes on; what is free only ever shrinks.

    Parameters
    ----------
    quotas
        With the use of what runs; counted on from here.
    """

    def __init__(self, nodes: Nodes, quotas: Quotas, running: Iterable[Running], now: float) -> None:
        self._nodes = nodes
        self._now = now
        self.free: Room = nodes.capacity.copy()
        self.open: Room = self.free
        self.late: Room = self.free
        self._spare: Room | None = None  # what reservations leave over at their starts
        self._coming: Room | None = None  # what those who stop free, less what is kept for their sake
        self._kept: Room | None = None
        self._kept_for: list[tuple[float, tuple[Placement, ...]]] = []
        self.ahead: list[Workload] = []  # for whom something is kept, in turn
        self.quotas = quotas
        self.quotas_open = quotas
        self.quotas_late = quotas
        self.timeline = Timeline(nodes)
        self.starts: dict[Place, float] = {}
        self.closed: set[Place] = set()
        self.reserved_nodes: Mask = np.zeros(len(nodes), np.bool_)
        self.stopping: list[Running] = []
        self.changed: set[Place] = set()  # pools; whoever looks takes them out
        self.changes = 0
        self.started: set[str] = set()  # owners of what started; whoever looks takes them out
        for attempt in running:
            rows, amounts = self._rows(attempt.placements)
            np.subtract.at(self.free, rows, amounts)
            self.timeline.add(end_of(attempt, now), attempt.placements)
            if attempt.stopping:
                self.stopping.append(attempt)

    @classmethod
    def over(
        cls,
        nodes: Nodes,
        quotas: Quotas,
        free: Room,
        timeline: Timeline,
        stopping: list[Running],
        *,
        now: float,
    ) -> Standing:
        """The same from what is known of all that runs; room and quotas are changed from here on."""
        standing = cls(nodes, quotas, (), now)
        standing.free = standing.open = standing.late = free
        standing.timeline = timeline
        standing.stopping = stopping
        return standing

    def without_reservations(self) -> Standing:
        """A copy in which nothing is kept for anybody."""
        other = Standing(self._nodes, self.quotas.copy(), (), self._now)
        other.free = other.open = other.late = self.free.copy()
        other.stopping = list(self.stopping)
        other.timeline = self.timeline.copy()
        for end, placements in self._kept_for:
            other.timeline.remove(end, placements)
        return other

    def end(self, workload: Workload) -> float:
        """When it has ended at the latest, if it starts now."""
        return self._now + workload.time_limit if workload.time_limit else math.inf

    # What is open to whom

    @property
    def keeps(self) -> bool:
        """Whether anything is kept for anybody."""
        return bool(self.starts or self.closed) or self.open is not self.free

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
        late = [place for place in option.places if end > self.starts.get(place, math.inf)]
        if not late:
            return self.open
        if len(late) == len(option.places):
            return self.late
        room = self.open.copy()
        for place in late:
            room[self._nodes.pools[place]] = self.late[self._nodes.pools[place]]
        return room

    def kept_quota(self, group: str, option: Option, asked: Mapping[Place, Amount], end: float) -> bool:
        """Whether quota that is there now is kept for those ahead."""
        quotas = self.quotas_open if self.short(option, end) else self.quotas_late
        return quotas is not self.quotas and not quotas.allows(group, asked)

    def kept_person(self, group: str, owner: str, gpus: int, end: float) -> bool:
        """Whether what the person may still have is kept for workloads of theirs ahead."""
        late = end > min(self.starts.values(), default=math.inf)
        quotas = self.quotas_late if late else self.quotas_open
        return quotas is not self.quotas and not quotas.allows_person(group, owner, gpus)

    # What changes it

    def take(self, workload: Workload, option: Option, placements: tuple[Placement, ...]) -> None:
        """Let one start."""
        self.started.add(workload.owner)
        end = self.end(workload)
        rows, amounts = self._rows(placements)
        np.subtract.at(self.free, rows, amounts)
        self.timeline.add(end, placements)
        gone_before = all(end <= self.starts.get(place, -math.inf) for place in option.places)
        for quotas in self._views(late=not gone_before):
            quotas.take(workload.group, workload.owner, placements)
        if self._spare is not None:
            for place in option.places:
                if end > self.starts.get(place, math.inf):
                    pool = self._nodes.pools[place]
                    inside = (rows >= pool.start) & (rows < pool.stop)
                    np.subtract.at(self._spare, rows[inside], amounts[inside])
        self._look_again(np.unique(rows))
        self._note(option.places)

    def reserve(self, reservation: Reservation, option: Option, then: Room, workload: Workload) -> None:
        """Keep nodes from a time on; ``then`` is the room at that time."""
        self._keeps_for(workload)
        if self._spare is None:
            self._spare = np.full_like(self.free, _ALL)
            self.late = self.open.copy()
            self.quotas_late = self.quotas_open.copy()
        rows, amounts = self._rows(reservation.placements)
        self.reserved_nodes[rows] = True
        for place in option.places:
            pool = self._nodes.pools[place]
            self.starts[place] = reservation.start
            self._spare[pool] = then[pool]
        np.subtract.at(self._spare, rows, amounts)
        for place in option.places:
            self._look_again(self._nodes.pools[place])
        self.quotas_late.take(workload.group, workload.owner, reservation.placements)
        self._note(option.places)

    def close(self, place: Place, workload: Workload) -> None:
        """Keep all of a pool."""
        self._keeps_for(workload)
        self.closed.add(place)
        self._note([place])

    def _keeps_for(self, workload: Workload) -> None:
        if not self.ahead or self.ahead[-1] is not workload:
            self.ahead.append(workload)

    def keep(self, workload: Workload, placements: tuple[Placement, ...], victims: Sequence[Running]) -> None:
        """Keep nodes for one for whom others stop, from now on."""
        self._keeps_for(workload)
        coming = self.coming
        if self._kept is None:
            self._kept = np.zeros_like(self.free)
            self.open = self.free.copy()
            late, self.quotas_open = self.quotas_late, self.quotas.copy()
            if late is self.quotas:
                self.late, self.quotas_late = self.open, self.quotas_open
        touched = []
        for victim in victims:
            rows, amounts = self._rows(victim.placements)
            np.add.at(coming, rows, amounts)
            touched.append(rows)
            for quotas in self._views()[1:]:
                quotas.release(victim.group, victim.owner, victim.placements)
        rows, amounts = self._rows(placements)
        np.subtract.at(coming, rows, amounts)
        np.add.at(self._kept, rows, amounts)
        for quotas in self._views()[1:]:
            quotas.take(workload.group, workload.owner, placements)
        self.timeline.add(self.end(workload), placements)
        self._kept_for.append((self.end(workload), placements))
        self._look_again(np.unique(np.concatenate([*touched, rows])))
        gone = (placement for victim in victims for placement in victim.placements)
        self._note((placement.cluster, placement.flavor) for placement in (*placements, *gone))

    # What will be

    @property
    def coming(self) -> Room:
        """What those who stop will free, less what is kept of it."""
        if self._coming is None:
            self._coming = np.zeros_like(self.free)
            for attempt in self.stopping:
                rows, amounts = self._rows(attempt.placements)
                np.add.at(self._coming, rows, amounts)
        return self._coming

    def to_reserve(self) -> Room:
        """What there is for a reservation before anything else has ended; those who stop may take long."""
        return self.free if self._kept is None else self.free - self._kept

    def _note(self, places: Iterable[Place]) -> None:
        self.changed.update(places)
        self.changes += 1

    def _views(self, *, late: bool = True) -> list[Quotas]:
        """The quotas, each once."""
        views = [self.quotas]
        if self.quotas_open is not self.quotas:
            views.append(self.quotas_open)
        if late and self.quotas_late is not self.quotas_open:
            views.append(self.quotas_late)
        return views

    def _look_again(self, rows: Ids | slice) -> None:
        """Bring the other views in step with what is free."""
        if self.open is not self.free:
            self.open[rows] = self.free[rows] + np.minimum(self.coming[rows], 0)
        if self._spare is not None:
            self.late[rows] = np.minimum(self.open[rows], self._spare[rows])

    def _rows(self, placements: Iterable[Placement]) -> tuple[Ids, Room]:
        rows, amounts = [], []
        for placement in placements:
            row = self._nodes.index.get((placement.cluster, placement.node))
            if row is not None:  # a node that was taken out of the configuration still runs to the end
                rows.append(row)
                amounts.append(vector(placement.need))
        return np.array(rows, dtype=np.int64), np.array(amounts, dtype=np.int64).reshape(len(rows), 3)
