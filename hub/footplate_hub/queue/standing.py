"""What stands in a pass: the room that is free, what is kept for those ahead, and the quotas of both.

There are three views of both room and quotas, each no more than the one before (of budgets the first two):

- what is free now;
- what is open: less what is kept for those for whom others are being stopped;
- what is open to who runs late, on past the start of a reservation: no more than it leaves over then.

A reservation holds for its pools (a cluster's nodes of one flavor); a closed pool is kept entirely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .budgets import Budgets
from .endings import Endings
from .foreseen import Foreseen
from .model import Amount, Place, Placement, Reservation, Running, Workload
from .nodes import Ids, Nodes, Room, vector
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

    def __init__(
        self,
        nodes: Nodes,
        quotas: Quotas,
        free: Room,
        timeline: Timeline,
        endings: Endings,
        *,
        budgets: Budgets,
        now: float,
    ) -> None:
        self._nodes = nodes
        self._now = now
        self.free: Room = free
        self.open: Room = free
        self.late: Room = free
        self._spare: Room | None = None  # what reservations leave over at their starts
        self._reserved: Room | None = None
        self._coming: Room | None = None  # what those who stop free, less what is kept for their sake
        self._kept: Room | None = None
        self._kept_for: list[tuple[Workload, tuple[Placement, ...], Sequence[Running]]] = []
        self.ahead: list[Workload] = []  # for whom something is kept, in turn
        self.quotas = quotas
        self.quotas_open = quotas
        self.budgets = self.budgets_open = budgets
        self.foreseen: Foreseen | None = None  # quotas, once something is reserved
        self.timeline = timeline
        self._endings = endings
        self.starts: dict[Place, float] = {}
        self.closed: set[Place] = set()
        self.stopping: list[Running] = []
        self.changed: set[Place] = set()  # pools; whoever looks takes them out
        self.changes = 0
        self.started: set[str] = set()  # owners of what started; whoever looks takes them out

    def without_reservations(self) -> Standing:
        """A copy in which nothing is kept for anybody."""
        timeline, endings = self.timeline.copy(), self._endings.copy()
        for workload, placements, victims in self._kept_for:
            timeline.remove(self.end(workload), placements)
            endings.remove(self.end(workload), workload.group, workload.owner, placements)
            for victim in victims:
                endings.add(end_of(victim, self._now), victim.group, victim.owner, victim.placements)
        quotas, budgets = self.quotas.copy(), self.budgets.copy()
        other = Standing(
            self._nodes, quotas, self.free.copy(), timeline, endings, budgets=budgets, now=self._now
        )
        other.stopping = list(self.stopping)
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

    def kept_quota(self, group: str, asked: Mapping[Place, Amount], end: float) -> bool:
        """Whether quota that is there now is kept for those ahead."""
        if self.quotas_open is not self.quotas and not self.quotas_open.allows(group, asked):
            return True
        return self.foreseen is not None and not self.foreseen.allows(group, asked, end)

    def kept_person(self, group: str, owner: str, gpus: int, end: float) -> bool:
        """Whether what the person may still have is kept for workloads of theirs ahead."""
        if self.quotas_open is not self.quotas and not self.quotas_open.allows_person(group, owner, gpus):
            return True
        return self.foreseen is not None and not self.foreseen.allows_person(group, owner, gpus, end)

    # What changes it

    def take(self, workload: Workload, option: Option, placements: tuple[Placement, ...]) -> None:
        """Let one start."""
        self.started.add(workload.owner)
        end = self.end(workload)
        rows, amounts = self._rows(placements)
        np.subtract.at(self.free, rows, amounts)
        self.timeline.add(end, placements)
        self._endings.add(end, workload.group, workload.owner, placements)
        self.quotas.take(workload.group, workload.owner, placements)
        if self.quotas_open is not self.quotas:
            self.quotas_open.take(workload.group, workload.owner, placements)
        if self.foreseen is not None:
            self.foreseen.take(workload.group, workload.owner, placements, end)
        self.budgets.take(workload.group, placements, workload.time_limit)
        if self.budgets_open is not self.budgets:
            self.budgets_open.take(workload.group, placements, workload.time_limit)
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
        if self._spare is None or self._reserved is None:
            self._spare = np.full_like(self.free, _ALL)
            self._reserved = np.zeros_like(self.free)
            self.late = self.open.copy()
        for place in option.places:
            pool = self._nodes.pools[place]
            self.starts[place] = reservation.start
            self._spare[pool] = then[pool]
        rows, amounts = self._rows(reservation.placements)
        np.subtract.at(self._spare, rows, amounts)
        np.add.at(self._reserved, rows, amounts)
        for place in option.places:
            self._look_again(self._nodes.pools[place])
        if self.foreseen is None:
            self.foreseen = Foreseen(self.quotas_open, self._now)
        self.foreseen.reserve(reservation, workload, self.quotas_open, self._endings)
        self._keep_budget(workload, reservation.placements)
        self._note(option.places)

    def close(self, place: Place, workload: Workload) -> None:
        """Keep all of a pool."""
        self._keeps_for(workload)
        self.closed.add(place)
        self._note([place])

    def _keeps_for(self, workload: Workload) -> None:
        if not self.ahead or self.ahead[-1] is not workload:
            self.ahead.append(workload)

    def _keep_budget(self, workload: Workload, placements: tuple[Placement, ...]) -> None:
        """Let nobody behind it spend what it will need."""
        if self.budgets:
            if self.budgets_open is self.budgets:
                self.budgets_open = self.budgets.copy()
            self.budgets_open.take(workload.group, placements, workload.time_limit)

    def keep(self, workload: Workload, placements: tuple[Placement, ...], victims: Sequence[Running]) -> None:
        """Keep nodes for one for whom others stop, from now on."""
        self._keeps_for(workload)
        coming = self.coming
        if self._kept is None:
            self._kept = np.zeros_like(self.free)
            self.open, self.quotas_open = self.free.copy(), self.quotas.copy()
            if self._spare is None:
                self.late = self.open
        end, group, owner = self.end(workload), workload.group, workload.owner
        rows, amounts = self._rows(placements)
        np.subtract.at(coming, rows, amounts)
        np.add.at(self._kept, rows, amounts)
        touched = [rows]
        for victim in victims:
            rows, amounts = self._rows(victim.placements)
            np.add.at(coming, rows, amounts)
            touched.append(rows)
            self.quotas_open.release(victim.group, victim.owner, victim.placements)
            self._endings.remove(end_of(victim, self._now), victim.group, victim.owner, victim.placements)
            if self.foreseen is not None:
                self.foreseen.release(victim)
        self.quotas_open.take(group, owner, placements)
        self._endings.add(end, group, owner, placements)
        if self.foreseen is not None:  # it does not start at once, so may well end later
            self.foreseen.take(group, owner, placements, math.inf)
        self._keep_budget(workload, placements)
        self.timeline.add(end, placements)
        self._kept_for.append((workload, placements, victims))
        self._leave_over(placements, victims)
        self._look_again(np.unique(np.concatenate(touched)))
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

    def to_come(self) -> Room:
        """What there will be once those who stop are gone, less all that is kept for those ahead."""
        room: Room = self.free + self.coming
        return room if self._reserved is None else room - self._reserved

    def to_reserve(self) -> Room:
        """What there is for a reservation before anything else has ended; those who stop may take long."""
        return self.free if self._kept is None else self.free - self._kept

    def _note(self, places: Iterable[Place]) -> None:
        self.changed.update(places)
        self.changes += 1

    def _leave_over(self, placements: Iterable[Placement], victims: Iterable[Running]) -> None:
        """What is kept for one for whom others stop is not left over by reservations either."""
        if self._spare is None:
            return
        still = [
            placement
            for victim in victims
            for placement in victim.placements
            if end_of(victim, self._now) > self.starts.get((placement.cluster, placement.flavor), math.inf)
        ]
        more = np.zeros_like(self._spare)
        rows, amounts = self._rows(still)
        np.add.at(more, rows, amounts)
        rows, amounts = self._rows(placements)
        np.subtract.at(more, rows, amounts)
        self._spare += np.minimum(more, 0)  # what is open only ever shrinks

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
